//! Owns: the promise of docs/sql.md: recordings of several machines become one dataset, which is appended to and holds nothing twice, and each of
//! its questions comes to the same answer in DuckDB, in ClickHouse's engine and in Polars: the right one.
//! Must not know: how they read.
//!
//! Runs where `TWTRACE_PYTHON` names a Python that has them; `cargo xtask install` makes one and `cargo xtask test` names it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use twtrace::model::event::{Comm, Conn, Errno, Event, Kind, Loss, Process, Reason, Role, Via};
use twtrace::model::identity::{Identity, Names, container_of};
use twtrace::recording::{Encoder, Head, Tail};

/// 27 November 2026, 10:00:00 UTC, in nanoseconds since 1970.
const TEN: i64 = 1_795_773_600_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
const CONTAINER: &str =
    "/kubepods.slice/cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";

/// What happens so many times, so many hours after ten.
struct Act {
    hours: u64,
    kind: Kind,
    comm: &'static str,
    role: Role,
    dport: u16,
    count: u64,
}

const fn act(hours: u64, kind: Kind, comm: &'static str, role: Role, dport: u16, count: u64) -> Act {
    Act { hours, kind, comm, role, dport, count }
}

/// Three machines; the last one goes on past midnight.
const MACHINES: [(&str, &[Act]); 3] = [
    (
        "web-1",
        &[
            act(0, Kind::Created, "checkout", Role::Client, 5432, 17),
            act(2, Kind::Created, "checkout", Role::Client, 5432, 41),
            act(2, Kind::ConnectFailed, "checkout", Role::Client, 5432, 5),
            act(3, Kind::Ended, "checkout", Role::Client, 5432, 11),
        ],
    ),
    (
        "web-2",
        &[
            act(0, Kind::Created, "checkout", Role::Client, 5432, 13),
            act(1, Kind::ConnectFailed, "checkout", Role::Client, 5432, 3),
        ],
    ),
    (
        "db",
        &[
            act(0, Kind::Created, "postgres", Role::Server, 5432, 7),
            act(0, Kind::Lost, "", Role::Unknown, 0, 1),
            act(15, Kind::Created, "postgres", Role::Server, 5432, 2),
        ],
    ),
];

fn event(act: &Act, n: u64) -> Event {
    let mono_ns = act.hours * HOUR_NS + n * 1_000_000;
    if act.kind == Kind::Lost {
        let mut lost = Event::new(Kind::Lost, mono_ns, None);
        lost.loss = Some(Box::new(Loss { created: 19, ..Loss::default() }));
        return lost;
    }
    let (saddr, daddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 9].into());
    let (sport, dport) = if act.role == Role::Server {
        (act.dport, 40_000 + n as u16)
    } else {
        (40_000 + n as u16, act.dport)
    };
    let mut event =
        Event::new(act.kind, mono_ns, Some(Conn { netns: 7, ifindex: 0, saddr, daddr, sport, dport }));
    event.role = act.role;
    event.owner =
        Some(Process { pid: 17, tid: 17, uid: 0, cgroup_id: 1, start_ns: 1, comm: Comm::new(act.comm) });
    event.via = Some(Via::Close);
    event.reason = (act.kind == Kind::Ended).then_some(Reason::Expired);
    event.lifetime_ns = (act.kind == Kind::Ended).then_some(60_000_000_000);
    event.errno = (act.kind == Kind::ConnectFailed).then_some(Errno::AddrNotAvail);
    if act.comm == "checkout" {
        let some = |text: &str| Some(text.to_owned());
        let names = Names {
            image: some("shop:17"),
            pod: some("checkout-17"),
            pod_namespace: some("shop"),
            ..Names::default()
        };
        let identity =
            Identity { container: container_of(CONTAINER), names: names.into(), ..Identity::default() };
        event.identity = Some(identity.into());
    }
    event
}

/// Records what happens at a machine, all of it or the first so many acts.
fn record(dir: &Path, host: &str, acts: &[Act]) -> PathBuf {
    let boot_id = format!("{:08x}-0000-0000-0000-000000000000", host.len());
    let head = Head { host: host.to_owned(), boot_id, wall_ns: TEN, ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    for act in acts {
        (0..act.count).for_each(|n| encoder.append(&event(act, n)));
        encoder.close_batch().unwrap();
    }
    encoder.finish(&Tail { mono_ns: 16 * HOUR_NS, ..Tail::default() }).unwrap();
    let path = dir.join(format!("{host}.twt"));
    std::fs::write(&path, encoder.bytes()).unwrap();
    path
}

fn export(from: &[&Path], to: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    command.arg("export").args(from).args(["--to", "parquet", "--partition", "host,date", "-o"]).arg(to);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

fn files(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    all.sort();
    all
}

/// The queries of the page, in order.
fn queries() -> Vec<String> {
    let page = include_str!("../../docs/sql.md");
    let blocks = page.split("```sql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().trim().to_owned()).collect()
}

/// Asks each in every engine; values come as texts and numbers.
const ASK: &str = r#"
import json, sys, chdb, duckdb, polars
files, queries = sys.argv[1] + "/**/*.parquet", json.load(sys.stdin)
connection = duckdb.connect()
view = "SELECT * REPLACE (time::TIMESTAMPTZ AT TIME ZONE 'UTC' AS time) FROM read_parquet"
connection.execute(f"CREATE VIEW events AS {view}('{files}', hive_partitioning = true)")
context = polars.SQLContext(events=polars.scan_parquet(files, hive_partitioning=True))
def plain(value):
    if value is None or isinstance(value, str): return value
    if hasattr(value, "isoformat"): return value.isoformat().replace("T", " ").split("+")[0].split(".")[0]
    return float(value)
def clickhouse(query):
    query = query.replace("FROM events", f"FROM file('{files}')") + " SETTINGS use_hive_partitioning = 1"
    rows = json.loads(str(chdb.query(query, "JSONCompact")))["data"]
    cut = lambda value: value.split(".")[0] if isinstance(value, str) and value[:4].isdigit() and "." in value and ":" in value else value
    number = lambda value: float(value) if isinstance(value, str) and value.isdigit() else value
    return [[plain(number(cut(value))) for value in row] for row in rows]
told = []
for query in queries:
    told.append({
        "duckdb": [[plain(value) for value in row] for row in connection.execute(query).fetchall()],
        "clickhouse": clickhouse(query),
        "polars": [[plain(value) for value in row] for row in context.execute(query).collect().rows()],
    })
print(json.dumps(told))
"#;

/// What each question comes to.
fn answers() -> [Value; 10] {
    [
        json!([["web-1", "checkout", 58.0], ["web-2", "checkout", 13.0], ["db", "postgres", 9.0]]),
        json!([["10.0.0.9", 5432.0, 71.0]]),
        json!([
            ["web-2", "10.0.0.1", "10.0.0.9", 5432.0, "2026-11-27 11:00:00", 3.0],
            ["web-1", "10.0.0.1", "10.0.0.9", 5432.0, "2026-11-27 12:00:00", 5.0]
        ]),
        json!([
            ["web-1", "checkout", "connect_failed", "EADDRNOTAVAIL", 5.0],
            ["web-2", "checkout", "connect_failed", "EADDRNOTAVAIL", 3.0]
        ]),
        json!([["web-1", "expired", 11.0, 60000.0]]),
        json!([["checkout", 30.0, 41.0], ["postgres", 7.0, 0.0]]),
        json!([
            ["web-1", "2026-11-27", 12.0, 0.0, 41.0],
            ["web-1", "2026-11-27", 10.0, 0.0, 17.0],
            ["web-2", "2026-11-27", 10.0, 0.0, 13.0],
            ["db", "2026-11-27", 10.0, 0.0, 7.0],
            ["db", "2026-11-28", 1.0, 0.0, 2.0]
        ]),
        json!([["db", "postgres", 5432.0, 9.0]]),
        json!([["shop", "checkout-17", "shop:17", 71.0, 2.0]]),
        json!([["db", "2026-11-27", 19.0]]),
    ]
}

/// And of the recordings in tests/data/guests: what scenario `day_of_a_guest` did on kernels 6.1, 6.12 and 7.3 is known, when it did it to the
/// second, and how long sockets lived, is what these say. Nothing was lost there, and nobody told what the container is called.
fn answers_of_guests() -> [Value; 10] {
    [
        json!([["web-1", "checkout", 58.0], ["web-2", "checkout", 20.0], ["db", "postgres", 13.0]]),
        json!([["127.0.0.9", 5432.0, 78.0]]),
        json!([
            ["web-2", "127.0.0.1", "127.0.0.9", 5432.0, "2026-11-27 11:00:05", 3.0],
            ["web-1", "127.0.0.1", "127.0.0.9", 5432.0, "2026-11-27 12:00:04", 5.0]
        ]),
        json!([
            ["web-1", "checkout", "connect_failed", "EADDRNOTAVAIL", 5.0],
            ["web-2", "checkout", "connect_failed", "EADDRNOTAVAIL", 3.0]
        ]),
        json!([["web-1", "expired", 41.0, 61_660.902_439_024_39]]),
        json!([["checkout", 30.0, 48.0], ["postgres", 11.0, 0.0]]),
        json!([
            ["web-1", "2026-11-27", 12.0, 0.0, 41.0],
            ["web-1", "2026-11-27", 10.0, 0.0, 17.0],
            ["web-2", "2026-11-27", 10.0, 0.0, 13.0],
            ["db", "2026-11-27", 10.0, 0.0, 11.0],
            ["web-2", "2026-11-27", 11.0, 0.0, 7.0],
            ["db", "2026-11-28", 1.0, 0.0, 2.0]
        ]),
        json!([["db", "postgres", 5432.0, 13.0]]),
        json!([[null, null, null, 78.0, 2.0]]),
        json!([]),
    ]
}

#[test]
fn a_dataset_is_appended_to_and_holds_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let [(web_1, acts), (web_2, others), (db, more)] = MACHINES;
    // What has happened so far; the whole of it is exported later.
    let first = record(dir.path(), web_1, &acts[..1]);
    export(&[&first], &root);
    let folder = dir.path().join("gathered");
    std::fs::create_dir(&folder).unwrap();
    for (host, acts) in [(web_1, acts), (web_2, others), (db, more)] {
        record(&folder, host, acts);
    }
    for _ in 0..2 {
        let done = export(&[&folder], &root);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            said.contains("exported 99 events of 3 recordings, and what was lost, ")
                && said.contains("to 4 files"),
            "{said}"
        );
    }
    let file = |host: &str, date: &str| {
        format!("host={host}/date={date}/{:08x}000000000000000000000000-0-0.parquet", host.len())
    };
    let mut want = vec![
        file(web_1, "2026-11-27"),
        file(web_2, "2026-11-27"),
        file(db, "2026-11-27"),
        file(db, "2026-11-28"),
    ];
    want.sort();
    assert_eq!(files(&root), want);
    ask(&root, &answers());
}

#[test]
fn recordings_of_three_guests_have_an_answer_to_each() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guests");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let said = String::from_utf8_lossy(&export(&[&guests], &root).stderr).into_owned();
    assert!(said.contains("of 6 recordings"), "{said}");
    ask(&root, &answers_of_guests());
}

/// Asks each question in each engine.
fn ask(root: &Path, answers: &[Value]) {
    let Some(python) = std::env::var_os("TWTRACE_PYTHON") else {
        eprintln!(
            "skipped: TWTRACE_PYTHON names no Python with duckdb, chdb and polars (see `cargo xtask install`)"
        );
        return;
    };
    let queries = queries();
    assert_eq!(queries.len(), answers.len());
    let mut command = Command::new(python);
    command
        .args(["-c", ASK])
        .arg(root)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &queries).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", done.status);
    let told: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    for ((query, told), want) in queries.iter().zip(told).zip(answers) {
        for engine in ["duckdb", "clickhouse", "polars"] {
            assert_eq!(told[engine], *want, "{engine}: {query}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (args, said) in [
        (&["a.twt", "b.twt", "--to", "parquet", "-o", "out"][..], "--partition host,date"),
        (&["a.twt", "--to", "csv", "--partition", "host", "-o", "out"], "--to parquet"),
        (&["a.twt", "--to", "parquet", "--partition", "colour", "-o", "out"], "colour"),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_twtrace")).arg("export").args(args).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && told.contains(said), "{args:?}: {told}");
    }
}
