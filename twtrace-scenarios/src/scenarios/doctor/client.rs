//! Owns: scenarios in which a client's ports run out, or do not.
//! Must not know: the harness.

use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use tempfile::TempDir;
use twtrace_kit::books;
use twtrace_kit::command::read;
use twtrace_kit::kernel;
use twtrace_kit::netns::set_ipv4;

use super::exam::{examine, examine_twice, examine_until_clear, examine_with};
use super::load::{Cast, ELSEWHERE, FAILURES, First, HERE, abort_all, add_addresses, cast};
use crate::nginx::{self, Nginx};
use crate::sandbox::Sandbox;

const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A TIME_WAIT socket keeps its port so long, in seconds.
const MINUTE: f64 = 60.0;
/// Of whom nothing is known.
const UNSEEN: &str = "by a process that twtrace did not see";
/// Requests on a connection in what is predicted of connection reuse.
const REQUESTS: usize = 10;

/// 62 ports, all in TIME_WAIT.
pub(in crate::scenarios) fn ports_exhausted(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    // So that the widest range has twice as many.
    set_ipv4("ip_local_reserved_ports", "1024-39999,40124-65535")?;
    let cast = cast(sandbox, 62)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut made = 0;
    let diagnosis = examine_until_clear(sandbox, |_| {
        made = cast.visit_until_full(std::slice::from_ref(&listener), 1)?;
        Ok(())
    })?;
    let finding = diagnosis.only("ports_exhausted")?;
    finding
        .is("critical")?
        .first(&diagnosis, "tw_reuse")?
        .blames("client", cast.client.pid())?
        .shows("ports that connect() can choose from", 62)?
        .shows("of those, in TIME_WAIT", made as u64)?
        .shows("connect() failures", FAILURES as u64)?;
    ensure!(made == 62, "{made} of 62 ports could be used");
    for id in ["keep_alive", "unix_socket", "tw_reuse", "peer_closes_first", "port_range", "more_addresses"] {
        finding.offers(id)?;
    }
    for id in ["lower_fin_timeout", "lower_max_tw_buckets", "tw_recycle", "linger_zero", "client_reuseaddr"] {
        finding.refuses(id)?;
    }
    let limit = made as f64 / MINUTE;
    let more = [cast.serve(HERE, 10009)?, cast.serve(THERE, 10009)?];
    let twice = cast.visit_until_full(&more, 1)? as f64 / MINUTE;
    finding.measured(sandbox, ("more_addresses", "limit", "connections/s"), (Some(limit), twice))?;
    let kept = cast.visit_until_full(&[cast.serve(HERE, 10037)?], REQUESTS)? * REQUESTS;
    finding.measured(sandbox, ("keep_alive", "limit", "requests/s"), (Some(limit), kept as f64 / MINUTE))?;
    let listener = cast.serve(HERE, 10039)?;
    cast.visit_often(&listener, 2 * made + 1, First::Server)?;
    let left = in_time_wait(10039)?;
    finding.measured(
        sandbox,
        ("peer_closes_first", "in TIME_WAIT here", "ports"),
        (Some(made as f64), left),
    )?;
    finding.apply("port_range")?;
    let wide = cast.visit_until_full(&[cast.serve(HERE, 10061)?], 1)? as f64 / MINUTE;
    finding.measured(sandbox, ("port_range", "limit", "connections/s"), (Some(limit), wide))
}

/// Ports of the client's side towards this port that are in TIME_WAIT.
fn in_time_wait(dport: u16) -> Result<f64> {
    let rows = books::rows("self")?;
    Ok(rows.iter().filter(|row| row.time_wait && row.peer.port() == dport).count() as f64)
}

/// Nothing fails yet.
pub(in crate::scenarios) fn ports_running_out(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "ports_running_out", |_| cast.visit_often(&listener, 37, First::Client))?;
    finding.is("warning")?.blames("client", cast.client.pid())?.shows("ports in use at the peak", 37)?;
    let listener = cast.serve(HERE, 10009)?;
    let nearly =
        examine_with(sandbox, &["--dport", "10009"], |_| cast.visit_often(&listener, 53, First::Client))?;
    nearly.0.only("ports_running_out")?.is("critical").map(drop)
}

/// More than half of a range is on connections that are open: nothing fails, and connect() searches. With less than half of it there is
/// nothing to tell.
pub(in crate::scenarios) fn half_full(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 1014)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut pairs = Vec::new();
    let mut open = |count: usize| {
        for _ in 0..count {
            let opened = cast.open(&listener)?;
            pairs.push(opened.map_err(|errno| anyhow!("connection {}: errno {errno}", pairs.len()))?);
        }
        Ok(())
    };
    let (quiet, ()) = examine_with(sandbox, &[], |_| open(401))?;
    quiet.has_no("range_half_full")?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| open(109))?;
    let finding = diagnosis.only("range_half_full")?;
    finding.is("notice")?.blames("client", cast.client.pid())?.headlines("client")?;
    finding.shows("ports that connect() can choose from", 1014)?.shows("ports in use now", 510)?;
    if diagnosis.backend()? == "tracepoint" {
        finding.lacks("connect() calls of this namespace that were timed")?;
    } else {
        let timed = "connect() calls of this namespace that were timed";
        finding.shows(timed, 109).with_context(|| diagnosis.said())?;
        finding.says("it looked for a port")?;
    }
    Ok(())
}

/// All ports are on connections that are open.
pub(in crate::scenarios) fn ports_held_open(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("ip_local_reserved_ports", "1024-39999,40074-65535")?;
    let cast = cast(sandbox, 30)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut pairs = Vec::new();
    let finding = examine(sandbox, "ports_held_open", |_| {
        pairs = cast.open_until_full(std::slice::from_ref(&listener))?;
        Ok(())
    })?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .shows("of those, ESTABLISHED", 30)?
        .shows("of those, in TIME_WAIT", 0)?
        .refuses("open_tw_reuse")?
        .refuses("lower_fin_timeout")?;
    let open = pairs.len() as f64;
    let at_once = "connections at once";
    let more = [cast.serve(HERE, 10009)?, cast.serve(THERE, 10009)?];
    let twice = cast.open_until_full(&more)?;
    finding.measured(sandbox, ("more_addresses", "limit", at_once), (Some(open), twice.len() as f64))?;
    // The same requests, ten on each connection.
    let shared = cast.serve(HERE, 10037)?;
    let few: Result<Vec<_>> = (0..pairs.len() / REQUESTS).map(|_| cast.open(&shared)).collect();
    let used = few?.iter().filter(|pair| pair.is_ok()).count() as f64;
    finding.measured(sandbox, ("fewer_connections", "open", "ports"), (Some(open), used))?;
    finding.apply("port_range")?;
    let wide = cast.open_until_full(&[cast.serve(HERE, 10061)?])?;
    finding.measured(sandbox, ("port_range", "limit", at_once), (Some(open), wide.len() as f64))
}

/// Most ports are held by sockets from before the trace, whose process is gone; the one that fails has few of them, and is not blamed for the
/// others.
pub(in crate::scenarios) fn holder_gone(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let old = Cast { client: sandbox.actor("old")?, server: cast.server.clone() };
    old.visit_often(&listener, 55, First::Client)?;
    old.client.dismiss();
    let mut open = Vec::new();
    let (live, recorded) = examine_twice(sandbox, |_| {
        open = cast.open_until_full(std::slice::from_ref(&listener))?;
        Ok(())
    })?;
    ensure!(open.len() == 5, "{} of 5 ports were left", open.len());
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.only("ports_exhausted")?;
        finding.is("critical")?.says(UNSEEN)?.headlines("client")?;
        finding
            .shows("of those, in TIME_WAIT", 55)?
            .shows("of those, ESTABLISHED", 5)?
            .shows("connect() failures", FAILURES as u64)?;
    }
    // Who made them while it was looked at is known.
    let other = cast.serve(HERE, 10009)?;
    let (seen, made) = examine_with(sandbox, &["--dport", "10009"], |_| {
        cast.visit_until_full(std::slice::from_ref(&other), 1)
    })?;
    ensure!(made == 60, "{made} of 60 ports could be used");
    let finding = seen.only("ports_exhausted")?;
    finding
        .blames("client", cast.client.pid())?
        .shows("of those, in TIME_WAIT", 60)?
        .does_not_say(UNSEEN)
        .map(drop)
}

/// Most ports are bound, and on no connection at all.
pub(in crate::scenarios) fn ports_pinned(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 30)?;
    let listener = cast.serve(HERE, 10007)?;
    let holder = sandbox.actor("holder")?;
    for port in 40000..40021 {
        let bound = holder.socket(false, false)?.bind((HERE, port))?;
        ensure!(bound.is_ok(), "port {port} is free");
    }
    let mut pairs = Vec::new();
    // Earlier kernels list no socket that is bound and nothing else: what has the ports is then not known, and said to be so.
    let lists_bound = kernel::version()? >= (6, 8);
    let id = if lists_bound { "ports_bound" } else { "not_explained" };
    let finding = examine(sandbox, id, |_| {
        pairs = cast.open_until_full(std::slice::from_ref(&listener))?;
        Ok(())
    })?;
    ensure!(pairs.len() == 9, "{} connections with 21 of 30 ports bound", pairs.len());
    finding.is("critical")?.shows("of those, ESTABLISHED", 9)?;
    if !lists_bound {
        return finding.offers_nothing().map(drop);
    }
    finding.blames("holder", holder.pid())?.refuses("open_tw_reuse")?.offers("release_ports")?;
    finding.shows("ports pinned by bind() for all destinations", 21).map(drop)
}

/// Sources that are bound first share one pool for three destinations.
pub(in crate::scenarios) fn bound_source(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("ip_local_reserved_ports", "1024-39999,40036-65535")?;
    let cast = cast(sandbox, 18)?;
    let listeners = [cast.serve(HERE, 10007)?, cast.serve(HERE, 10009)?, cast.serve(HERE, 10037)?];
    let mut pairs = Vec::new();
    let finding = examine(sandbox, "bound_source", |_| {
        pairs = cast.open_bound(HERE, &listeners, false)?;
        Ok(())
    })?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .shows("bind() failures that asked for any port", 3 * FAILURES as u64)?
        .shows("destinations of the caller", 3)?
        .offers("bind_no_port")?
        .refuses("open_tw_reuse")?;
    let (bound, unit) = (pairs.len() as f64, "connections at once");
    abort_all(&pairs)?;
    let freed = cast.open_bound(HERE, &listeners, true)?;
    finding.measured(sandbox, ("bind_no_port", "limit", unit), (Some(bound), freed.len() as f64))?;
    abort_all(&freed)?;
    finding.apply("port_range")?;
    let wide = cast.open_bound(HERE, &listeners, false)?;
    finding.measured(sandbox, ("port_range", "limit", unit), (Some(bound), wide.len() as f64))
}

/// A proxy and its backend on one machine, in no danger: ports are reused after a second.
pub(in crate::scenarios) fn loopback_backend(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "2")?;
    let cast = cast(sandbox, 120)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "loopback_backend", |_| cast.visit_often(&listener, 37, First::Client))?;
    finding.is("notice")?.blames("client", cast.client.pid())?.offers("unix_socket")?.offers("keep_alive")?;
    let before = in_time_wait(10007)?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let backend = UnixListener::bind(dir.path().join("backend"))?;
    let tcp = books::rows("self")?.len();
    for _ in 0..37 {
        let _proxy = UnixStream::connect(dir.path().join("backend"))?;
        backend.accept()?;
    }
    let after = books::rows("self")?.len().saturating_sub(tcp) as f64;
    finding.measured(sandbox, ("unix_socket", "in use", "ports"), (Some(before), after))?;
    cast.visit_often(&cast.serve(HERE, 10009)?, 37, First::Server)?;
    let left = in_time_wait(10009)?;
    finding.measured(sandbox, ("peer_closes_first", "in TIME_WAIT here", "ports"), (Some(before), left))
}

/// A NAT with fewer ports than this machine alone needs.
pub(in crate::scenarios) fn nat_ports_short(sandbox: &mut Sandbox) -> Result<()> {
    add_addresses()?;
    let cast = cast(sandbox, 6000)?;
    let listener = cast.serve(ELSEWHERE, 10007)?;
    let args = ["--nat-ports", "31"];
    let (diagnosis, ()) = examine_with(sandbox, &args, |_| cast.visit_often(&listener, 37, First::Client))?;
    let finding = diagnosis.only("nat_ports_short")?;
    finding.is("critical")?.blames("client", cast.client.pid())?.offers("keep_alive").map(drop)
}

/// Many requests on few connections: nothing to find.
pub(in crate::scenarios) fn healthy(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "nothing_wrong", |_| {
        for _ in 0..3 {
            cast.visit(&listener, 1009, First::Client)?.map_err(anyhow::Error::msg)?;
        }
        Ok(())
    })?;
    finding.is("fine")?.shows("TIME_WAIT sockets", 3).map(drop)
}

/// nginx under `ab -k`: a hundred thousand requests and nothing to find.
pub(in crate::scenarios) fn healthy_load(sandbox: &mut Sandbox) -> Result<()> {
    let nginx = Nginx::start(65)?;
    let finding = examine(sandbox, "nothing_wrong", |_| {
        let mut ab = Command::new("ab");
        read(ab.args(["-q", "-k", "-r", "-c", "23", "-n", "100003", nginx::URL])).map(drop)
    })?;
    nginx.end()?;
    finding.is("fine").map(drop)
}
