//! Owns: scenarios about `twtrace serve`: what it tells over HTTP is what the kernel's books say.
//! Must not know: the harness.

mod disk;
mod export;
mod hostile;
mod names;
mod pods;
mod prometheus;

pub(super) use disk::{full_disk, hung_disk};
pub(super) use export::exports;
pub(super) use hostile::hostile_clients;
pub(super) use names::of_containers;
pub(super) use pods::of_pods;
pub(super) use prometheus::prometheus;

use std::ffi::OsStr;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::books;
use twtrace_kit::http::{Metrics, get};
use twtrace_kit::netns::{self, set_ipv4};
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::sandbox::Sandbox;
use crate::tracer::{Told, Tracer};

/// Where it answers: in a network namespace of its own, so that scrapes make no sockets where they are counted.
const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9478);
/// A name that would end its label, its line and begin another series.
const HOSTILE: &str = "\"} 9\nx{a=\"";

/// Ports that connect() can choose from, and who takes them: all are taken in the end.
const PORTS: usize = 64;
const BY_CLIENT: usize = 53;
const BY_HOSTILE: usize = PORTS - BY_CLIENT;
const BY_SERVER: usize = 7;
/// Of those that the server closes, and not of the ports above.
const FIRST_OF_SERVER: u16 = 50_021;
const FAILED: usize = 13;
const CREATED: usize = PORTS + BY_SERVER;

/// A client that runs out of ports, a server that closes first, and somebody with a hostile name, in the home namespace; twtrace elsewhere.
struct Serving {
    tracer: Tracer,
    client: Actor,
    hostile: Actor,
    listener: Raw,
    other: Raw,
}

impl Serving {
    fn begin(sandbox: &mut Sandbox, args: &[&str]) -> Result<Self> {
        Self::begin_with(sandbox, || Ok(args.iter().map(|arg| (*arg).to_owned()).collect()))
    }

    /// As [`Self::begin`]; the arguments are made where twtrace will run.
    fn begin_with(sandbox: &mut Sandbox, args: impl FnOnce() -> Result<Vec<String>>) -> Result<Self> {
        set_ipv4("ip_local_port_range", "40000 40063")?;
        set_ipv4("tcp_tw_reuse", "0")?;
        let (server, client, hostile) =
            (sandbox.actor("postgres")?, sandbox.actor("checkout-api")?, sandbox.actor(HOSTILE)?);
        let listener = server.listen(([127, 0, 0, 1], 10007))?;
        let other = server.listen(([127, 0, 0, 2], 10009))?;
        let elsewhere = sandbox.actor("elsewhere")?;
        elsewhere.unshare()?;
        netns::enter(elsewhere.netns_file()?)?;
        let netns = sandbox.netns().to_string();
        let args = args()?;
        let all = ["--netns", &netns].into_iter().chain(args.iter().map(String::as_str));
        let all: Vec<&OsStr> = all.map(OsStr::new).collect();
        let mut tracer = Tracer::launch_changed(&sandbox.setup, "serve", &all, (None, None), |_| {})?;
        tracer.ready()?;
        Ok(Self { tracer, client, hostile, listener, other })
    }

    /// Ends the trace, which must end well.
    fn end(self) -> Result<Told> {
        let ended = self.tracer.stop(Signal::SIGTERM)?;
        ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        Ok(ended)
    }

    /// As [`Self::end`]; it must have counted all that was made. How many of them live still is a matter of a minute, which a slow machine
    /// may have taken.
    fn end_with_all(self) -> Result<()> {
        let ended = self.end()?;
        ensure!(ended.created()? == CREATED as u64, "not {CREATED} created: {}", ended.stderr);
        Ok(())
    }

    /// Makes all of it happen.
    fn act(&self, sandbox: &mut Sandbox) -> Result<()> {
        for (actor, count) in [(&self.client, BY_CLIENT), (&self.hostile, BY_HOSTILE)] {
            for _ in 0..count {
                let pair = sandbox.pair(actor, &self.listener)?;
                close_in_order(&pair.client, &pair.server)?;
            }
        }
        for n in 0..BY_SERVER {
            // Its ports are chosen: on a slow machine connect() comes to one twice, whose SYN takes the server's TIME_WAIT socket away.
            let from = ([127, 0, 0, 1], FIRST_OF_SERVER + n as u16);
            let pair = sandbox.pair_from(from, &self.client, &self.other)?;
            close_in_order(&pair.server, &pair.client)?;
        }
        sandbox.created_untold(CREATED);
        let pid = self.client.pid().to_string();
        until_true("all to be in TIME_WAIT", PATIENCE, || Ok(books::live(&pid)? == CREATED as u64))?;
        for _ in 0..FAILED {
            let raw = self.client.socket(false, false)?;
            let errno = raw.connect(self.listener.local()?)?.err();
            ensure!(errno == Some(libc::EADDRNOTAVAIL), "connect with all ports in use: errno {errno:?}");
            raw.close()?;
        }
        Ok(())
    }
}

/// The labels of an owner in no container.
fn owner(program: &str, role: &str, unit: &str) -> String {
    format!("program=\"{program}\",unit=\"{unit}\",container=\"\",pod=\"\",namespace=\"\",role=\"{role}\"")
}

/// The systemd unit that this process is in, as its actors are.
fn unit() -> Result<String> {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let is_unit = |part: &&str| [".service", ".scope", ".slice"].iter().any(|kind| part.ends_with(kind));
    Ok(path.rsplit('/').find(is_unit).unwrap_or_default().to_owned())
}

/// Series and what each must come to, once all has happened.
fn wanted(netns: u32) -> Result<Vec<(String, f64)>> {
    let unit = unit()?;
    let (client, server) = (owner("checkout-api", "client", &unit), owner("postgres", "server", &unit));
    let hostile = owner(r#"\"} 9\\x0ax{a=\""#, "client", &unit);
    let pool =
        format!("netns=\"{netns}\",netns_name=\"\",source=\"127.0.0.1\",destination=\"127.0.0.1:10007\"");
    let of = |name: &str, labels: &str, value: usize| (format!("twtrace_{name}{{{labels}}}"), value as f64);
    let towards = |labels: &str, to: &str| format!("{labels},destination=\"{to}\"");
    Ok(vec![
        ("twtrace_sockets_live".to_owned(), CREATED as f64),
        ("twtrace_sockets_created_total".to_owned(), CREATED as f64),
        of("connect_failures_total", "errno=\"EADDRNOTAVAIL\"", FAILED),
        of("owner_sockets_created_total", &client, BY_CLIENT),
        of("owner_sockets_created_total", &server, BY_SERVER),
        of("owner_sockets_created_total", &hostile, BY_HOSTILE),
        of("owner_sockets_live", &hostile, BY_HOSTILE),
        of("owner_connect_failures_total", &client, FAILED),
        of("destination_sockets_created_total", &towards(&client, "127.0.0.1:10007"), BY_CLIENT),
        of("destination_sockets_created_total", &towards(&server, ":10009"), BY_SERVER),
        of("pool_ports", &pool, PORTS),
        of("pool_ports_used", &format!("{pool},state=\"time_wait\""), PORTS),
        of("pool_used_ratio", &pool, 1),
        of("pool_full_seconds", &pool, 0),
        of("findings", "id=\"ports_exhausted\",severity=\"critical\"", 1),
    ])
}

/// What is counted by owner and by destination adds up to all that was made.
const SUMS: [&str; 3] = [
    "twtrace_owner_sockets_created_total",
    "twtrace_destination_sockets_created_total",
    "twtrace_owner_sockets_live",
];

/// What is counted is what was made, owner by owner; sums are those of the kernel's books; nobody's name becomes a series of its own.
pub(super) fn counts(sandbox: &mut Sandbox) -> Result<()> {
    let serving = Serving::begin(sandbox, &[])?;
    ensure!(get(AT, "/readyz", "")? == "ready\n" && get(AT, "/healthz", "")? == "ok\n", "it is ready");
    serving.act(sandbox)?;
    let want = wanted(sandbox.netns())?;
    let want: Vec<(&str, f64)> = want.iter().map(|(series, value)| (series.as_str(), *value)).collect();
    let mut wrong = Vec::new();
    let told = until_true("the metrics", PATIENCE, || {
        let metrics = Metrics::scrape(AT)?;
        wrong = metrics.differences(&want);
        let sums = SUMS.into_iter().map(|name| (name, metrics.sum(name)));
        wrong.extend(
            sums.filter(|(_, sum)| *sum != CREATED as f64)
                .map(|(name, sum)| format!("{name} adds up to {sum}")),
        );
        wrong
            .extend((metrics.sum("twtrace_events_lost_total") != 0.0).then(|| "events were lost".to_owned()));
        Ok(wrong.is_empty())
    });
    if told.is_err() {
        wrong.into_iter().for_each(|wrong| sandbox.fail(wrong));
    }
    let open = get(AT, "/metrics", "Accept: application/openmetrics-text\r\n")?;
    let created = format!("\ntwtrace_sockets_created_total {CREATED}\n");
    ensure!(open.ends_with("\n# EOF\n") && open.contains(&created), "{open}");
    let findings: Value = serde_json::from_str(&get(AT, "/findings", "")?)?;
    let first = &findings["findings"][0]["id"];
    ensure!(findings["severity"] == "critical" && first == "ports_exhausted", "{findings}");
    serving.end_with_all()
}
