//! Owns: scenarios on a server's side, and about ports that are bound.
//! Must not know: the harness.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use twtrace_kit::actor::{Actor, Pair, Raw, close_in_order};
use twtrace_kit::books::{self, FIN_WAIT2};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::exam::examine;
use super::load::{First, HERE, cast};
use crate::sandbox::Sandbox;

/// Orphans that wait for their peer's FIN.
const ORPHANS: usize = 23;

/// The server does not close: its client's ends wait in FIN_WAIT2.
pub(in crate::scenarios) fn fin_wait2_pileup(sandbox: &mut Sandbox) -> Result<()> {
    // The quarter that is advised can then be waited for.
    set_ipv4("tcp_fin_timeout", "40")?;
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut pairs = Vec::new();
    let finding = examine(sandbox, "fin_wait2_pileup", |sandbox| {
        pairs = orphans(sandbox, &cast.client, &listener)?;
        Ok(())
    })?;
    finding
        .is("warning")?
        .blames("client", cast.client.pid())?
        .shows("of those, in FIN_WAIT2 without a process", ORPHANS as u64)?
        .offers("fin_timeout")?
        .offers("peer_must_close")?
        .refuses("half_closed_tw_reuse")?;
    let waiting = in_fin_wait2()?;
    pairs.iter().try_for_each(|pair| pair.server.close())?;
    until_true("the FINs to come in", PATIENCE, || Ok(in_fin_wait2()? == 0))?;
    finding.measured(sandbox, ("peer_must_close", "in FIN_WAIT2", "sockets"), (Some(waiting as f64), 0.0))?;
    finding.apply("fin_timeout")?;
    let began = Instant::now();
    let pairs = orphans(sandbox, &cast.client, &cast.serve(HERE, 10009)?)?;
    let made = (Instant::now() - began).as_secs_f64() / 2.0;
    until_true("orphans to be given up", PATIENCE, || Ok(in_fin_wait2()? == 0))?;
    // From the middle of their making on: half of them are older, half younger.
    let lasted = began.elapsed().as_secs_f64() - made;
    finding.measured(sandbox, ("fin_timeout", "FIN_WAIT2 lasts", "s"), (None, lasted))?;
    pairs.iter().try_for_each(|pair| pair.server.close())
}

/// Connections whose client closes and whose server does not.
fn orphans(sandbox: &Sandbox, client: &Actor, listener: &Raw) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for _ in 0..ORPHANS {
        let pair = twtrace_kit::actor::complete(&client.socket(false, false)?, listener, listener.local()?)?;
        sandbox.half_close(&pair.client)?;
        pair.server.eof()?;
        pairs.push(pair);
    }
    until_true("orphans in FIN_WAIT2", PATIENCE, || Ok(in_fin_wait2()? == ORPHANS))?;
    Ok(pairs)
}

fn in_fin_wait2() -> Result<usize> {
    Ok(books::rows("self")?.iter().filter(|row| row.time_wait && row.state == FIN_WAIT2).count())
}

/// Seven times bind() of a port that TIME_WAIT holds.
pub(super) fn refused(server: &Actor, at: SocketAddr) -> Result<()> {
    for _ in 0..7 {
        let raw = server.socket(false, false)?;
        ensure!(raw.bind(at)?.err() == Some(libc::EADDRINUSE), "bind() while TIME_WAIT holds the port");
        raw.close()?;
    }
    Ok(())
}

/// A server closes 17 connections first, and goes away: where it listened.
pub(super) fn gone(sandbox: &Sandbox, client: &Actor, listener: Raw) -> Result<SocketAddr> {
    for _ in 0..17 {
        let pair = sandbox.pair(client, &listener)?;
        close_in_order(&pair.server, &pair.client)?;
    }
    let at = listener.local()?;
    listener.close()?;
    Ok(at)
}

/// The server closed first, went away, and cannot come back.
pub(in crate::scenarios) fn server_cannot_bind(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let old = listener.actor.clone();
    let at = gone(sandbox, &client, listener)?;
    let server = sandbox.actor("new-server")?;
    let finding = examine(sandbox, "server_cannot_bind", |_| refused(&server, at))?;
    finding
        .is("critical")?
        .blames("new-server", server.pid())?
        .shows("bind() failures on this port", 7)?
        .shows("TIME_WAIT sockets on this port", 17)?
        .says("SO_REUSEADDR was not set on the socket that failed")?
        .refuses("server_tw_reuse")?;
    let raw = server.socket(false, true)?;
    let began = Instant::now();
    let is_bound = raw.bind(at)?.is_ok() && raw.listen()?.is_ok();
    ensure!(is_bound, "SO_REUSEADDR does not help");
    // Whole seconds: what counts is that there is nothing to wait for.
    let after = (None, began.elapsed().as_secs() as f64);
    ensure!(old.pid() != server.pid(), "another process");
    finding.measured(sandbox, ("reuseaddr", "the port can be bound after", "s"), after)
}

/// Somebody listens there.
pub(in crate::scenarios) fn port_in_use(sandbox: &mut Sandbox) -> Result<()> {
    let (late, listener) = sandbox.cast()?;
    let finding = examine(sandbox, "port_in_use", |_| {
        for _ in 0..7 {
            let raw = late.socket(false, true)?;
            ensure!(raw.bind(listener.local()?)?.err() == Some(libc::EADDRINUSE), "bind() beside a listener");
            raw.close()?;
        }
        Ok(())
    })?;
    finding
        .is("warning")?
        .blames("client", late.pid())?
        .shows("bind() or listen() failures on this port", 7)?;
    let failed = (0..100).filter(|at| !bound(&late, 10_100 + at).unwrap_or(false)).count();
    finding.measured(sandbox, ("other_port", "bind() that fails", "of 100"), (None, failed as f64))
}

fn bound(actor: &Actor, port: u16) -> Result<bool> {
    Ok(actor.socket(false, true)?.bind((HERE, port))?.is_ok())
}

/// A port bound first, whose connection exists already.
pub(in crate::scenarios) fn tuple_taken(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let _first = sandbox.pair_from((HERE, 40009), &cast.client, &listener)?;
    let finding = examine(sandbox, "tuple_taken", |_| {
        for _ in 0..5 {
            let raw = cast.client.socket(false, true)?;
            ensure!(raw.bind((HERE, 40009))?.is_ok(), "SO_REUSEADDR lets two clients bind one port");
            let refused = raw.connect(listener.local()?)?.err();
            ensure!(refused == Some(libc::EADDRNOTAVAIL), "connect() for a connection that exists");
            raw.close()?;
        }
        Ok(())
    })?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .shows("connect() failures from a bound port", 5)?;
    let free = cast.open_until_full(&[listener])?.len() as f64;
    finding.measured(sandbox, ("unbound_port", "ports left", "ports"), (None, free))
}

/// A server that closes first, and nobody is harmed.
pub(in crate::scenarios) fn server_side_harmless(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 20_000)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "server_side_harmless", |sandbox| {
        cast.visit_from_each(sandbox, 41_000..41_000 + 509, &listener)
    })?;
    finding
        .is("notice")?
        .blames("server", cast.server.pid())?
        .shows("TIME_WAIT sockets on a server's side", 509)?
        .refuses("server_tw_reuse")?
        .refuses("server_port_range")?;
    let listener = cast.serve(HERE, 10009)?;
    for _ in 0..51 {
        cast.visit(&listener, 10, First::Server)?.map_err(anyhow::Error::msg)?;
    }
    let kept = books::rows("self")?.iter().filter(|row| row.time_wait && row.local.port() == 10009).count();
    finding.measured_ratio(sandbox, ("longer_connections", "in TIME_WAIT", "sockets"), (509.0, kept as f64))
}
