//! Owns: scenarios in which connect() has no port for another reason than TIME_WAIT of its own, and their neighbours.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use twtrace_kit::actor::Half;
use twtrace_kit::actor::{Actor, Pair, Raw, close_in_order, complete};
use twtrace_kit::books::{self, CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2};
use twtrace_kit::kernel;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::diagnosis::Diagnosis;
use super::exam::{diagnose_with, examine_twice, examine_with};
use super::load::{Cast, FAILURES, First, HERE, cast};
use crate::sandbox::Sandbox;
use crate::tracer::{Setup, Tracer};

/// Where the binder's connections come from.
const BOUND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One program binds its source address and starves another, which binds nothing.
pub(in crate::scenarios) fn ports_bound(sandbox: &mut Sandbox) -> Result<()> {
    // An emulated machine takes longer for its calls than a port needs to be had again.
    set_ipv4("tcp_tw_reuse", if kernel::is_emulated() { "0" } else { "1" })?;
    let cast = cast(sandbox, 60)?;
    let binder = sandbox.actor("binder")?;
    let (busy, other) = (cast.serve(HERE, 10007)?, cast.serve(HERE, 10009)?);
    let mut left = 0;
    let (live, recorded) = examine_twice(sandbox, |_| {
        visit_bound(&binder, &busy, 51, false)?;
        left = cast.visit_until_full(std::slice::from_ref(&other), 1)?;
        Ok(())
    })?;
    ensure!(left == 9, "{left} of 60 ports with 51 bound");
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.only("ports_bound")?;
        finding.is("critical")?.blames("binder", binder.pid())?.says("51 of 60 ports are bound")?;
        finding
            .shows("connect() failures", FAILURES as u64)?
            .offers("bind_no_port")?
            .refuses("open_tw_reuse")?;
    }
    // Other ports, as these keep their minute; and the binder does what is advised.
    set_ipv4("ip_local_port_range", "41000 41059")?;
    let (diagnosis, ()) = examine_with(sandbox, &["--dport", "10009"], |_| {
        visit_bound(&binder, &busy, 51, true)?;
        left = cast.visit_until_full(std::slice::from_ref(&other), 1)?;
        Ok(())
    })?;
    diagnosis.has_no("ports_bound")?;
    let finding = live.only("ports_bound")?;
    let what = ("bind_no_port", "ports for this destination", "ports");
    finding.measured(sandbox, what, (Some(9.0), left as f64))
}

fn visit_bound(client: &Actor, listener: &Raw, count: usize, no_port: bool) -> Result<()> {
    for _ in 0..count {
        let raw = client.socket(false, false)?;
        if no_port {
            raw.bind_no_port()?;
        }
        ensure!(raw.bind((BOUND, 0))?.is_ok(), "bind() of a source address");
        let pair = complete(&raw, listener, listener.local()?)?;
        close_in_order(&pair.client, &pair.server)?;
    }
    Ok(())
}

/// A range of the sockets' own is full, and the namespace's is not: one of eleven ports, and one of a single port, which no row of ports
/// would show.
pub(in crate::scenarios) fn socket_range(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 6000)?;
    let proxy = Cast { client: sandbox.actor("proxy")?, server: cast.server.clone() };
    let listener = cast.serve(HERE, 10007)?;
    for (range, count) in [((43_000, 43_010), 11), ((43_107, 43_107), 1)] {
        let (live, recorded) = examine_twice(sandbox, |_| {
            ensure!(visit_ranged(&proxy, &listener, range, count)? == count, "a range of {count} ports");
            for _ in 0..FAILURES {
                let made = visit_ranged(&proxy, &listener, range, 1)?;
                ensure!(made == 0, "a port of a range that is full");
            }
            cast.visit_often(&listener, 7, First::Client)
        })?;
        for diagnosis in [&live, &recorded] {
            let finding = diagnosis.only("socket_range")?;
            finding.is("critical")?.blames("proxy", proxy.client.pid())?.headlines("proxy")?;
            finding
                .shows("ports that the sockets' own range allows", count as u64)?
                .shows("the lowest of them", range.0.into())?
                .shows("the highest of them", range.1.into())?
                .shows("connect() failures of sockets with that option", FAILURES as u64)?
                .shows("connect() failures", FAILURES as u64)?
                .refuses("socket_port_range")?;
        }
        live.only("socket_range")?.says("These sockets have a range of their own")?;
    }
    let wide = visit_ranged(&proxy, &listener, (44_000, 44_999), 101)?;
    ensure!(wide == 101, "{wide} of 101 connections with a wider range");
    // Not full: nothing to tell.
    let quiet =
        examine_with(sandbox, &[], |_| visit_ranged(&proxy, &listener, (45_000, 45_010), 7).map(drop))?.0;
    quiet.has_no("socket_range")?.has_no("not_explained").map(drop)
}

/// How many of `count` connections from such a range could be made; the client closes each first.
fn visit_ranged(cast: &Cast, listener: &Raw, (low, high): (u16, u16), count: usize) -> Result<usize> {
    let mut made = 0;
    for _ in 0..count {
        let raw = cast.client.socket(false, false)?;
        raw.port_range(low, high)?;
        match raw.connect(listener.local()?)? {
            Ok(client) => {
                close_in_order(&client, &listener.accept()?)?;
                made += 1;
            }
            Err(libc::EADDRNOTAVAIL) => raw.close()?,
            Err(errno) => anyhow::bail!("connection {made}: errno {errno}"),
        }
    }
    Ok(made)
}

/// A failure that nothing accounts for: the namespace's range was narrow for a moment, its ports in a row, and is wide again when it is
/// looked at; a recording knows it as it was at the start. Sockets have no range of their own. Most ports are somebody else's.
pub(in crate::scenarios) fn not_explained(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 6000)?;
    let victim = Cast { client: sandbox.actor("victim")?, server: cast.server.clone() };
    let (listener, other) = (cast.serve(HERE, 10007)?, cast.serve(HERE, 10009)?);
    let (live, recorded) = examine_twice(sandbox, |_| {
        cast.visit_often(&other, 23, First::Client)?;
        set_ipv4("ip_local_port_range", "45000 45007")?;
        victim.visit_often(&listener, 8, First::Client)?;
        let failed = (0..7).map(|_| victim.visit(&listener, 1, First::Client)).collect::<Result<Vec<_>>>()?;
        set_ipv4("ip_local_port_range", "40000 45999")?;
        ensure!(failed.iter().all(|one| *one == Err(libc::EADDRNOTAVAIL)), "{failed:?} with no port left");
        Ok(())
    })?;
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.only("not_explained")?;
        finding.is("critical")?.blames("client", cast.client.pid())?.offers_nothing()?;
        finding.shows("connect() failures", 7)?.says("victim")?.says(": 23.")?;
    }
    Ok(())
}

/// Connections that are shut down and not closed, towards a peer that does not close either.
pub(in crate::scenarios) fn fin_wait2_held(sandbox: &mut Sandbox) -> Result<()> {
    let (cast, late) = (cast(sandbox, 30)?, sandbox.actor("late")?);
    let listener = cast.serve(HERE, 10007)?;
    let mut pairs = Vec::new();
    let live = examine_with(sandbox, &[], |sandbox| {
        pairs = cast.open_until_full(std::slice::from_ref(&listener))?;
        pairs.iter().try_for_each(|pair| pair.client.shutdown(Half::Write))?;
        until_true("FIN_WAIT2", PATIENCE, || Ok(count(FIN_WAIT2, false)? == 30))?;
        ensure!(cast.open_until_full(std::slice::from_ref(&listener))?.is_empty(), "a port too many");
        // The other end waits as well, which is told of what lasts.
        wait_for_orphans(sandbox, &late)
    });
    let finding = live?.0.has("fin_wait2_held")?;
    finding.is("critical")?.blames("client", cast.client.pid())?.offers("close_sockets")?;
    finding
        .shows("of those, in FIN_WAIT2 with a descriptor", 30)?
        .shows("connect() failures", 2 * FAILURES as u64)?;
    finding.refuses("lower_fin_timeout")?.refuses("open_tw_reuse")?;
    finding.headlines("client")?;
    // Closed, they are orphans, which are another matter. Without a recording, which begins sooner: whether the other end waits for two seconds
    // by then is not the same for both.
    let asked = ["--json", "--netns", "self", "--duration", "180s"];
    let doctor = |setup: &Setup| Tracer::start_command(setup, "doctor", &asked);
    let orphaned = diagnose_with(sandbox, doctor, |_| {
        pairs.iter().try_for_each(|pair| pair.client.close())?;
        until_true("orphans", PATIENCE, || Ok(count(FIN_WAIT2, true)? == 30))
    })?;
    orphaned.has_no("fin_wait2_held")?.has("fin_wait2_pileup")?;
    few_fin_wait2_held(sandbox)
}

/// Not enough of them to fill a range: a warning, as tcp_fin_timeout ends none.
fn few_fin_wait2_held(sandbox: &mut Sandbox) -> Result<()> {
    let (cast, late) = (cast(sandbox, 6000)?, sandbox.actor("late")?);
    let listener = cast.serve(HERE, 10009)?;
    let mut pairs = Vec::new();
    let (diagnosis, ()) = examine_with(sandbox, &[], |sandbox| {
        for _ in 0..13 {
            let pair = cast.open(&listener)?.map_err(anyhow::Error::msg)?;
            pair.client.shutdown(Half::Write)?;
            pairs.push(pair);
        }
        wait_for_orphans(sandbox, &late)
    })?;
    let finding = diagnosis.has("fin_wait2_held")?;
    finding.is("warning")?.blames("client", cast.client.pid())?.offers("close_sockets")?;
    finding.shows("sockets in this state for 2 s or longer", 13)?.refuses("lower_fin_timeout").map(drop)
}

fn count(state: u8, is_time_wait: bool) -> Result<usize> {
    Ok(books::rows("self")?.iter().filter(|row| row.time_wait == is_time_wait && row.state == state).count())
}

/// A peer that closes and a program that does not; and one whose close is only late.
pub(in crate::scenarios) fn close_wait(sandbox: &mut Sandbox) -> Result<()> {
    let (cast, late) = (cast(sandbox, 6000)?, sandbox.actor("late")?);
    let listener = cast.serve(HERE, 10007)?;
    let mut held: Vec<Pair> = Vec::new();
    let (live, recorded) = examine_twice(sandbox, |sandbox| {
        held = half_closed(&cast, &listener, 11)?;
        wait_for_orphans(sandbox, &late)
    })?;
    for diagnosis in [&live, &recorded] {
        let finding = diagnosis.has("close_wait_pileup")?;
        finding.is("warning")?.blames("server", cast.server.pid())?.says("11 connections on port 10007")?;
        finding.shows("sockets in this state for 2 s or longer", 11)?.offers("close_sockets")?;
    }
    held.iter().try_for_each(|pair| pair.server.close())?;
    let few = examine_with(sandbox, &[], |sandbox| {
        held = half_closed(&cast, &listener, 7)?;
        wait_for_orphans(sandbox, &late)
    })?;
    few.0.has_no("close_wait_pileup").map(drop)
}

/// Connections whose client has closed and whose server has not.
fn half_closed(cast: &Cast, listener: &Raw, wanted: usize) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for _ in 0..wanted {
        let pair = complete(&cast.client.socket(false, false)?, listener, listener.local()?)?;
        pair.client.close()?;
        pair.server.eof()?;
        pairs.push(pair);
    }
    until_true("CLOSE_WAIT", PATIENCE, || Ok(count(CLOSE_WAIT, false)? == wanted))?;
    Ok(pairs)
}

/// Waits for as long as the kernel keeps an orphan: six seconds, in which the lists are looked at several times; twice as long where a look
/// takes long.
fn wait_for_orphans(sandbox: &mut Sandbox, actor: &Actor) -> Result<()> {
    set_ipv4("tcp_fin_timeout", if kernel::is_emulated() { "12" } else { "6" })?;
    let listener = actor.listen((HERE, 10_099))?;
    let pair = sandbox.pair(actor, &listener)?;
    pair.client.close()?;
    pair.server.eof()?;
    let is_there = || {
        let rows = books::rows("self")?;
        let is_it = |row: &books::Row| (row.local, row.peer) == (pair.client.local, pair.client.peer);
        Ok::<bool, anyhow::Error>(rows.iter().any(is_it))
    };
    until_true("an orphan", PATIENCE, is_there)?;
    until_true("the end of an orphan", PATIENCE, || Ok(!is_there()?))?;
    pair.server.close()?;
    listener.close()
}

/// A peer that never answers; beside one that does.
pub(in crate::scenarios) fn syn_unanswered(sandbox: &mut Sandbox) -> Result<()> {
    let (cast, late) = (cast(sandbox, 6000)?, sandbox.actor("late")?);
    let (deaf, good) = (cast.serve(HERE, 10007)?, cast.serve(HERE, 10009)?);
    deaf.drop_incoming()?;
    let begin = |count: usize| -> Result<Vec<Raw>> {
        let raws: Result<Vec<Raw>> = (0..count).map(|_| cast.client.socket(false, false)).collect();
        let raws = raws?;
        raws.iter().try_for_each(|raw| raw.begin((HERE, 10007)))?;
        Ok(raws)
    };
    let mut waiting = Vec::new();
    let (diagnosis, ()) = examine_with(sandbox, &[], |sandbox| {
        waiting = begin(13)?;
        cast.visit_often(&good, 7, First::Client)?;
        wait_for_orphans(sandbox, &late)
    })?;
    let finding = diagnosis.has("syn_unanswered")?;
    finding.is("warning")?.blames("client", cast.client.pid())?.says("13 connections to 127.0.0.1:10007")?;
    finding.shows("sockets in this state for 2 s or longer", 13)?.offers("connect_timeout")?;
    waiting.iter().try_for_each(Raw::close)?;
    let answered = examine_with(sandbox, &[], |_| cast.visit_often(&good, 13, First::Client))?;
    quiet(&answered.0)
}

/// A peer that acknowledges no FIN; and one that only does so late.
pub(in crate::scenarios) fn close_unacknowledged(sandbox: &mut Sandbox) -> Result<()> {
    let (cast, late) = (cast(sandbox, 6000)?, sandbox.actor("late")?);
    let listener = cast.serve(HERE, 10007)?;
    let mut deaf: Vec<Pair> = Vec::new();
    let (diagnosis, ()) = examine_with(sandbox, &[], |sandbox| {
        for _ in 0..13 {
            let pair = cast.open(&listener)?.map_err(anyhow::Error::msg)?;
            pair.server.drop_incoming(true)?;
            pair.client.shutdown(Half::Write)?;
            deaf.push(pair);
        }
        ensure!(count(FIN_WAIT1, false)? == 13, "a FIN was acknowledged");
        wait_for_orphans(sandbox, &late)
    })?;
    let finding = diagnosis.has("close_unacknowledged")?;
    finding.is("warning")?.blames("client", cast.client.pid())?.says("13 connections to 127.0.0.1:10007")?;
    finding.shows("sockets in this state for 2 s or longer", 13)?.refuses("lower_fin_timeout")?;
    // Heard again, the next FIN is acknowledged.
    deaf.iter().try_for_each(|pair| pair.server.drop_incoming(false))?;
    until_true("FINs to be acknowledged", PATIENCE, || Ok(count(FIN_WAIT1, false)? == 0))?;
    let heard = examine_with(sandbox, &[], |sandbox| wait_for_orphans(sandbox, &late))?;
    heard.0.has_no("close_unacknowledged").map(drop)
}

fn quiet(diagnosis: &Diagnosis) -> Result<()> {
    diagnosis.has_no("syn_unanswered")?.has_no("not_explained").map(drop)
}
