//! Owns: scenarios in which a port is not to be had because an outgoing connection has it.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use twtrace_kit::actor::{Actor, Raw, close_in_order, complete};
use twtrace_kit::netns::set_ipv4;

use super::exam::{examine_twice, examine_with};
use super::load::{First, HERE, cast};
use crate::sandbox::Sandbox;

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
