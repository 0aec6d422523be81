//! Owns: the promise that what `serve` exports is OTLP: a receiver made of the official protocol definitions takes it, by gRPC with TLS and by
//! HTTP, and finds in it what a scrape finds; what no endpoint takes is counted.
//! Must not know: how it is done.
//!
//! Runs where `TWTRACE_PYTHON` names a Python with opentelemetry-proto and grpcio; `cargo xtask install` makes one and `cargo xtask test` names it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use twtrace::engine::Tracker;
use twtrace::host::notify::Manager;
use twtrace::model::clock;
use twtrace::model::event::{Comm, Conn, Errno, Event, Kind, Process, Reason, Role, Via};
use twtrace::present::live::Upkeep;
use twtrace::present::serve::{Board, Endpoint, Exporter, Headers, Server, Service, Shared, Transport};
use twtrace::source::View as _;

const CREATED: u64 = 17;
const ENDED: u64 = 5;
const FAILED: u64 = 3;
const REFUSALS: usize = 2;
const PROGRAM: &str = "checkout-api";
const TOKEN: &str = "s3cret";

struct Receiver {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    grpc: u64,
    http: u64,
}

impl Receiver {
    fn start(python: &OsString, dir: &Path) -> Self {
        let mut command = Command::new(python);
        command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/receiver.py"));
        command.arg(REFUSALS.to_string()).args([dir.join("server.pem"), dir.join("server.key")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let (grpc, http) = (ports["grpc"].as_u64().unwrap(), ports["http"].as_u64().unwrap());
        Self { child, lines, grpc, http }
    }

    /// The first of each signal that comes from now on.
    fn taken(&mut self, transport: &str) -> (Value, Value) {
        let (mut metrics, mut logs) = (None, None);
        while metrics.is_none() || logs.is_none() {
            let line: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
            // What an exporter sent when it ended may stand before it.
            if line["transport"] != transport {
                continue;
            }
            assert_eq!(line["token"], TOKEN);
            let slot = if line["signal"] == "metrics" { &mut metrics } else { &mut logs };
            slot.get_or_insert(line["data"].clone());
        }
        (metrics.unwrap(), logs.unwrap())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A root and a server's certificate by it.
fn certify(dir: &Path) {
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let root = ["-subj", "/CN=root", "-keyout", "ca.key", "-out", "ca.pem"];
    let server = [
        "-subj",
        "/CN=server",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    for args in [[&new[..], &root, &[]].concat(), [&new[..], &server, &names].concat()] {
        let done = Command::new("openssl").args(&args).current_dir(dir).output();
        assert!(done.expect("`cargo xtask install` installs openssl").status.success(), "{args:?}");
    }
}

fn event(kind: Kind, n: u64) -> Event {
    let (saddr, daddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 9].into());
    let sport = if kind == Kind::ConnectFailed { 0 } else { 40_000 + n as u16 };
    let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport, dport: 5432 };
    let mut event = Event::new(kind, clock::mono_ns(), Some(conn));
    event.role = Role::Client;
    event.via = Some(Via::Close);
    event.owner = Some(Process {
        pid: 5_000_017,
        tid: 5_000_017,
        uid: 0,
        cgroup_id: 1,
        start_ns: 1,
        comm: Comm::new(PROGRAM),
    });
    event.reason = (kind == Kind::Ended).then_some(Reason::Expired);
    event.errno = (kind == Kind::ConnectFailed).then_some(Errno::AddrNotAvail);
    event
}

/// A trace of a script that is told over HTTP and OTLP.
struct Exported {
    server: Server,
    service: Service,
    tracker: Tracker,
    exporter: Option<Exporter>,
    /// It is looked at for as long as it is exported.
    _headers: tempfile::NamedTempFile,
}

impl Exported {
    fn begin(url: &str, transport: Transport, roots: Option<&Path>) -> Self {
        let board = Arc::new(Board::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared::new(Arc::clone(&board), None, 50).exported());
        let server = Server::start(listener, None, Arc::clone(&shared)).unwrap();
        let mut service = Service::new(board, 50, Upkeep::start().unwrap(), Manager::default(), None);
        service.wake_with(Arc::default());
        let mut tracker = Tracker::new();
        let script = [(Kind::Created, CREATED), (Kind::Ended, ENDED), (Kind::ConnectFailed, FAILED)];
        for (kind, count) in script {
            for mut event in (0..count).map(|n| event(kind, n)) {
                tracker.apply(&mut event);
                service.event(&event).unwrap();
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        writeln!(&file, "x-token: {TOKEN}").unwrap();
        let headers = Headers::read(file.path()).unwrap();
        let endpoint = Endpoint::new(url, Some(transport), roots, headers).unwrap();
        let said = Some("deployment.environment.name=test");
        let exporter = Exporter::start(endpoint, Duration::from_secs(3600), shared, said).unwrap();
        Self { server, service, tracker, exporter: Some(exporter), _headers: file }
    }

    /// Goes on while `work` does on a thread of its own.
    fn meanwhile<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let works = scope.spawn(work);
            while !works.is_finished() {
                self.service.tick(&mut self.tracker, clock::mono_ns()).unwrap();
                // poll: what a trace's thread would do is done here, by turns.
                std::thread::sleep(Duration::from_millis(5));
            }
            works.join().unwrap()
        })
    }

    fn get(&mut self, path: &str) -> String {
        let at = self.server.address();
        self.meanwhile(|| get(at, path))
    }

    /// Scrapes until all series of `name` together are as they should be.
    fn until(&mut self, name: &str, is_so: impl Fn(f64) -> bool + Sync) -> String {
        let at = self.server.address();
        self.meanwhile(|| {
            for _ in 0..1200 {
                let text = get(at, "/metrics");
                if scraped(&text).get(name).is_some_and(|sum| is_so(*sum)) {
                    return text;
                }
                // poll: what is counted meanwhile can only be asked for.
                std::thread::sleep(Duration::from_millis(50));
            }
            panic!("{name} never came to be so")
        })
    }
}

fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The sums of all series of each metric of a scrape, less what is about twtrace itself and goes on.
fn scraped(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap().to_owned();
        *sums.entry(name).or_insert(0.0) += value.parse::<f64>().unwrap();
    }
    sums
}

fn metrics(data: &Value) -> &Vec<Value> {
    data["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap()
}

fn points(metric: &Value) -> &Vec<Value> {
    let data = if metric["sum"].is_object() { &metric["sum"] } else { &metric["gauge"] };
    data["dataPoints"].as_array().unwrap()
}

/// Numbers of 64 bits are texts in JSON.
fn value(point: &Value) -> f64 {
    let text = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    text(&point["asInt"])
        .or_else(|| point["asDouble"].as_f64())
        .or_else(|| text(&point["asDouble"]))
        .unwrap_or(0.0)
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let all = of["attributes"].as_array().into_iter().flatten();
    let shown =
        |value: &Value| value.as_object().unwrap().values().next().unwrap().to_string().replace('"', "");
    all.map(|one| (one["key"].as_str().unwrap().to_owned(), shown(&one["value"]))).collect()
}

/// What a Prometheus makes of the names: dots become underscores, units and `_total` are appended.
fn back(metric: &Value) -> String {
    let mut name = metric["name"].as_str().unwrap().replace('.', "_");
    name += match metric["unit"].as_str().unwrap() {
        "s" => "_seconds",
        "By" => "_bytes",
        "1" => "_ratio",
        _ => "",
    };
    if metric["sum"]["isMonotonic"] == true { name + "_total" } else { name }
}

fn is_as_scraped(data: &Value, text: &str) {
    let scraped = scraped(text);
    let told: BTreeMap<String, f64> =
        metrics(data).iter().map(|metric| (back(metric), points(metric).iter().map(value).sum())).collect();
    // What goes on between the two.
    let moves = |name: &str| {
        ["process_", "twtrace_http_", "twtrace_otlp_", "twtrace_ring_", "twtrace_sockets_memory_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, sum) in scraped.iter().filter(|(name, _)| !moves(name) && *name != "twtrace_build_info") {
        assert_eq!(told.get(name), Some(sum), "{name}: {told:?}");
    }
}

fn is_as_made(data: &Value) {
    let resource = attributes(&data["resourceMetrics"][0]["resource"]);
    assert_eq!(resource["service.name"], "twtrace");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert!(!resource["host.name"].is_empty());
    let of = |name: &str| metrics(data).iter().find(|metric| metric["name"] == name).unwrap();
    let created = of("twtrace.destination.sockets_created");
    assert_eq!(
        (&created["unit"], &created["sum"]["aggregationTemporality"]),
        (&"{socket}".into(), &"AGGREGATION_TEMPORALITY_CUMULATIVE".into())
    );
    let of_program =
        |point: &&Value| attributes(point).get("process.executable.name").is_some_and(|name| name == PROGRAM);
    let point = points(created).iter().find(of_program).unwrap();
    let want = [
        ("destination.address", "10.0.0.9"),
        ("destination.port", "5432"),
        ("network.transport", "tcp"),
        ("network.type", "ipv4"),
        ("process.executable.name", PROGRAM),
        ("twtrace.role", "client"),
    ];
    let want: BTreeMap<String, String> = want.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!((attributes(point), value(point)), (want, CREATED as f64));
    let time = |key: &str| point[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") < time("timeUnixNano"));
    let rest = points(created).iter().find(|point| attributes(point).contains_key("otel.metric.overflow"));
    assert_eq!(rest.map(value), Some(0.0));
}

fn are_the_findings(data: &Value, findings: &str) {
    let findings: Value = serde_json::from_str(findings).unwrap();
    let findings = findings["findings"].as_array().unwrap();
    let want: Vec<(&Value, &Value)> = findings
        .iter()
        .filter(|one| one["severity"] != "fine")
        .map(|one| (&one["id"], &one["what"]))
        .collect();
    let records = data["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert!(!want.is_empty() && records.len() == want.len(), "{records:?} {want:?}");
    for (record, (id, what)) in records.iter().zip(want) {
        assert_eq!((&record["body"]["stringValue"], &record["eventName"]), (what, &"twtrace.finding".into()));
        assert_eq!(attributes(record)["twtrace.finding.id"], id.as_str().unwrap());
    }
}

fn check(exported: &mut Exported, metrics: &Value, logs: &Value) {
    is_as_made(metrics);
    // What was sent is counted a moment after it was taken.
    let text = exported.until("twtrace_otlp_findings_sent_total", |sent| sent > 0.0);
    is_as_scraped(metrics, &text);
    are_the_findings(logs, &exported.get("/findings"));
    let told = scraped(&text);
    let sent: usize = self::metrics(metrics).iter().map(|metric| points(metric).len()).sum();
    for (name, want) in
        [("up", 1), ("failures_total", REFUSALS), ("points_lost_total", 0), ("points_sent_total", sent)]
    {
        assert_eq!(told[&format!("twtrace_otlp_{name}")], want as f64, "{name}");
    }
}

#[test]
fn a_receiver_by_the_official_definitions_takes_what_a_scrape_takes() {
    let Some(python) = std::env::var_os("TWTRACE_PYTHON") else {
        eprintln!(
            "skipped: TWTRACE_PYTHON names no Python with opentelemetry-proto and grpcio (see `cargo xtask install`)"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path());
    let mut receiver = Receiver::start(&python, dir.path());
    let (grpc, http) = (receiver.grpc, receiver.http);
    let root = dir.path().join("ca.pem");
    let by_grpc = ("grpc", format!("https://127.0.0.1:{grpc}"), Transport::Grpc, Some(root.as_path()));
    let by_http = ("http", format!("http://127.0.0.1:{http}"), Transport::Http, None);
    for (word, url, transport, roots) in [by_grpc, by_http] {
        let mut exported = Exported::begin(&url, transport, roots);
        let (metrics, logs) = exported.meanwhile(|| receiver.taken(word));
        check(&mut exported, &metrics, &logs);
        exported.exporter.take().unwrap().stop().unwrap();
        exported.server.stop().unwrap();
    }
}

#[test]
fn what_nobody_takes_is_kept_until_the_end_and_then_counted_as_lost() {
    // Nobody listens there any more.
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for transport in [Transport::Grpc, Transport::Http] {
        let mut exported = Exported::begin(&format!("http://{at}"), transport, None);
        let told = scraped(&exported.until("twtrace_otlp_failures_total", |failures| failures > 0.0));
        assert_eq!((told["twtrace_otlp_up"], told["twtrace_otlp_points_lost_total"]), (0.0, 0.0));
        exported.service.ended(&exported.tracker);
        exported.exporter.take().unwrap().stop().unwrap();
        let answer = exported.get("/metrics");
        let told = scraped(&answer);
        assert!(
            told["twtrace_otlp_points_lost_total"] > 100.0 && told["twtrace_otlp_findings_lost_total"] >= 1.0,
            "{answer}"
        );
        assert_eq!(told["twtrace_otlp_points_sent_total"], 0.0);
        exported.server.stop().unwrap();
    }
}
