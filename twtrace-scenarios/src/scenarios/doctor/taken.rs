//! Owns: scenarios in which a port is not to be had because others have it: an outgoing connection, or another program that shares the pool.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use twtrace_kit::actor::{Actor, Raw, close_in_order, complete};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::exam::{examine_twice, examine_with};
use super::load::{Cast, First, HERE, cast};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// Connections of one process that is gone have the ports that another wants to listen on.
pub(in crate::scenarios) fn ephemeral_port_taken(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 10)?;
    let (curl, relay) = (sandbox.actor("curl")?, sandbox.actor("relay")?);
    let listener = cast.serve(HERE, 10007)?;
    let mut ports = Vec::new();
    let (live, recorded) = examine_twice(sandbox, |_| {
        ports = visit(&curl, &listener, 3)?;
        curl.dismiss();
        for _ in 0..5 {
            ensure!(try_all(&relay, &ports)?.is_empty(), "a port that is in TIME_WAIT could be bound");
        }
        Ok(())
    })?;
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.only("ephemeral_port_taken")?;
        finding.is("critical")?.blames("curl", curl.pid())?.says("relay")?;
        finding.shows("bind() failures on this port", 15)?.shows("ports that were refused", 3)?;
        finding.shows("sockets of outgoing connections on them, in TIME_WAIT", 3)?;
        finding.offers("reserve_ports")?.refuses("server_reuseaddr")?;
    }
    // Reserved, the other ports that it wants are left alone: the client has to do with those that are not.
    let wanted: Vec<u16> = (40_000..40_010).filter(|port| !ports.contains(port)).take(4).collect();
    let finding = live.only("ephemeral_port_taken")?;
    finding.apply("reserve_ports")?;
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports")?;
    let list = wanted.iter().fold(reserved.trim().to_owned(), |list, port| format!("{list},{port}"));
    set_ipv4("ip_local_reserved_ports", &list)?;
    let mut taken = Vec::new();
    let quiet = examine_with(sandbox, &["--dport", "10007"], |_| {
        taken = visit(&cast.client, &listener, 3)?;
        let bound = try_all(&relay, &wanted)?;
        ensure!(bound == wanted, "{bound:?} of {wanted:?} could be bound");
        Ok(())
    })?;
    ensure!(
        taken.iter().all(|port| !wanted.contains(port) && !ports.contains(port)),
        "{taken:?} were reserved"
    );
    quiet.0.has_no("ephemeral_port_taken")?;
    let what = ("reserve_ports", "of the server's ports, for connect() to choose", "ports");
    let chosen = taken.iter().filter(|port| ports.contains(port)).count();
    finding.measured(sandbox, what, (Some(3.0), chosen as f64))
}

/// The ports of so many connections, closed by the client first.
fn visit(client: &Actor, listener: &Raw, count: usize) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for _ in 0..count {
        let pair = complete(&client.socket(false, false)?, listener, listener.local()?)?;
        ports.push(pair.client.local.port());
        close_in_order(&pair.client, &pair.server)?;
    }
    Ok(ports)
}

/// Which of these a server with SO_REUSEADDR can bind.
fn try_all(server: &Actor, ports: &[u16]) -> Result<Vec<u16>> {
    let mut bound = Vec::new();
    for port in ports {
        let raw = server.socket(false, true)?;
        match raw.bind((Ipv4Addr::UNSPECIFIED, *port))? {
            Ok(()) => bound.push(*port),
            Err(errno) => ensure!(errno == libc::EADDRINUSE, "bind(): errno {errno}"),
        }
        raw.close()?;
    }
    Ok(bound)
}

/// A client that takes its source ports by number, twice over; and one that leaves the choice to the kernel.
pub(in crate::scenarios) fn own_ports_taken(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 6000)?;
    let mounter = sandbox.actor("mounter")?;
    let listener = cast.serve(HERE, 10007)?;
    let pass = |wanted: usize| -> Result<()> {
        let mut refused = 0;
        for port in 900..923 {
            let raw = mounter.socket(false, false)?;
            if raw.bind((HERE, port))?.is_err() {
                refused += 1;
                raw.close()?;
                continue;
            }
            let pair = complete(&raw, &listener, listener.local()?)?;
            close_in_order(&pair.client, &pair.server)?;
        }
        ensure!(refused == wanted, "{refused} of 23 ports were refused");
        Ok(())
    };
    let (live, recorded) = examine_twice(sandbox, |_| {
        pass(0)?;
        pass(23)
    })?;
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.only("own_ports_taken")?;
        finding.is("critical")?.blames("mounter", mounter.pid())?.says("23 ports (900 to 922)")?;
        finding.shows("bind() failures on this port", 23)?;
        finding.shows("TIME_WAIT sockets of its own on these ports", 23)?.offers("unbound_port")?;
        finding.refuses("open_tw_reuse")?;
    }
    let quiet = examine_with(sandbox, &[], |_| cast.visit_often(&listener, 46, First::Client))?;
    quiet.0.has_no("own_ports_taken").map(drop)
}

/// What a filter hides was seen all the same.
const UNSEEN: &str = "a process that twtrace did not see";
/// Ports of the pool: 37 of another program's, and the rest of the client's.
const PORTS: u16 = 60;
const OTHERS: usize = 37;

/// Two programs share a pool of ports. Whoever asks about one is told of both, live and of a recording; who has no part in it, nothing. And a
/// live view that shows one alone knows how full the pool is.
pub(in crate::scenarios) fn one_of_two(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, PORTS)?;
    let other = Cast { client: sandbox.actor("other")?, server: cast.server.clone() };
    let listener = cast.serve(HERE, 10007)?;
    let pictures = ["--json", "--interval", "1s", "--netns", "self", "--comm", "client"];
    let view = Tracer::start_command(&sandbox.setup, "", &pictures)?;
    let (diagnosis, made) = examine_with(sandbox, &["--comm", "client"], |_| {
        other.visit_often(&listener, OTHERS, First::Client)?;
        cast.visit_until_full(std::slice::from_ref(&listener), 1)
    })?;
    ensure!(made + OTHERS == usize::from(PORTS), "{made} and {OTHERS} of {PORTS} ports could be used");
    let finding = diagnosis.only("ports_exhausted")?;
    finding.names_once("client")?.names_once("other")?.says("other (pid")?.does_not_say(UNSEEN)?;
    finding.shows("of those, in TIME_WAIT", PORTS.into())?;
    let full = || Ok(pool(&view.so_far()?).is_some_and(|pool| pool["ports_in_use"] == PORTS));
    until_true("a picture of a pool that others fill", PATIENCE, full)?;
    let told = view.so_far()?;
    let pool = pool(&told).context("there is no picture")?;
    ensure!(pool["live"] == made && pool["ports"] == PORTS, "{pool}");
    let what = picture(&told).map(|picture| picture["findings"].to_string()).unwrap_or_default();
    ensure!(what.contains(&format!("{UNSEEN}, or that --comm client leaves out")), "{what}");
    view.stop(Signal::SIGINT)?;
    sandbox.balanced();
    let listener = cast.serve(HERE, 10009)?;
    let (diagnosis, made) = examine_with(sandbox, &["--comm", "server", "--dport", "10009"], |_| {
        cast.visit_until_full(std::slice::from_ref(&listener), 1)
    })?;
    ensure!(made == usize::from(PORTS), "{made} of {PORTS} ports could be used");
    ensure!(diagnosis.of_others() == 1, "others have 1 finding: {}", diagnosis.said());
    diagnosis.only("nothing_wrong").map(drop)
}

/// The last whole picture.
fn picture(told: &str) -> Option<Value> {
    let whole = &told[..=told.rfind('\n')?];
    serde_json::from_str(whole.lines().last()?).ok()
}

/// The pool in it.
fn pool(told: &str) -> Option<Value> {
    Some(picture(told)?["tuples"].get(0)?.clone())
}
