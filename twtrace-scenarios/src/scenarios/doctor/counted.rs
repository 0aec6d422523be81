//! Owns: scenarios of what is only counted: SYNs that TIME_WAIT refuses, closes that end in an RST.
//! Must not know: the harness.

use anyhow::{Context, Result, ensure};
use twtrace_kit::actor::{Raw, close_in_order};
use twtrace_kit::books::{self, FIN_WAIT2, TIME_WAIT};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::exam::examine_with;
use super::load::{Cast, First, HERE, cast};
use crate::sandbox::Sandbox;
use crate::scenarios::packets::{SYN, Segment, Wire};

/// How much older a SYN's timestamp is than the connection that it meets.
const OLDER: u32 = 1_000_000;

/// SYNs from ports whose last connection is in TIME_WAIT, with timestamps that are older: as behind a NAT.
pub(in crate::scenarios) fn syn_refused(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_rfc1337", "0")?;
    let cast = cast(sandbox, 6000)?;
    let listener = cast.serve(HERE, 10007)?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |sandbox| {
        meet(sandbox, &cast, &listener, 11, OLDER)?;
        // What clients do then: their RST, which the kernel sends for them, frees the socket.
        until_true("RSTs to free them", PATIENCE, || Ok(books::live("self")? == 0))
    })?;
    let finding = diagnosis.only("syn_refused")?;
    finding.is("warning")?.says("11 SYNs met a TIME_WAIT socket")?.refuses("rfc1337_on")?;
    finding.shows("SYNs that a TIME_WAIT socket refused", 11)?.headlines("11 SYNs")?;
    // From whom, where a hook sees it; the kernel's counter does not tell.
    let is_seen = diagnosis.does_not_limit("syn_refused").is_ok();
    finding.says(if is_seen { "from 127.0.0.1 on port 10007" } else { "whose they were was not seen" })?;
    ensure!(!finding.remedies().iter().any(|id| id == "rfc1337"), "tcp_rfc1337=1 is advised");
    // Ignored RSTs make it worse.
    set_ipv4("tcp_rfc1337", "1")?;
    let worse = examine_with(sandbox, &[], |sandbox| {
        meet(sandbox, &cast, &listener, 3, OLDER)?;
        until_true("the kernel to count them", PATIENCE, || Ok(counted("PAWSTimewait")? == 14))
    })?;
    worse.0.only("syn_refused")?.is("critical")?.says("3 SYNs")?.offers("rfc1337_off")?;
    set_ipv4("tcp_rfc1337", "0")?;
    // One that is newer is taken.
    let taken =
        examine_with(sandbox, &[], |sandbox| meet(sandbox, &cast, &listener, 7, OLDER.wrapping_neg()))?;
    taken.0.has_no("syn_refused").map(drop)
}

/// A listener whose queue is full; and the same with room.
pub(in crate::scenarios) fn counters_moved(sandbox: &mut Sandbox) -> Result<()> {
    let room = "/proc/sys/net/core/somaxconn";
    std::fs::write(room, "3").context(room)?;
    let cast = cast(sandbox, 6000)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut waiting: Vec<Raw> = Vec::new();
    let mut overflows = 0;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| {
        // One more than the setting has room (sk_acceptq_is_full(), include/net/sock.h, 5.10 to 7.3).
        for _ in 0..4 + 7 {
            let raw = cast.client.socket(false, false)?;
            raw.begin((HERE, 10007))?;
            waiting.push(raw);
        }
        until_true("7 SYNs to be dropped", PATIENCE, || Ok(counted("ListenOverflows")? >= 7))?;
        // Each SYN that is sent again counts again.
        waiting[4..].iter().try_for_each(Raw::close)?;
        overflows = counted("ListenOverflows")?;
        Ok(())
    })?;
    let finding = diagnosis.only("counters_moved")?;
    finding.is("warning")?.shows("connections that a listener had no room for", overflows)?;
    finding.says(&format!("listeners had no room for {overflows} connections"))?;
    waiting[..4].iter().try_for_each(Raw::close)?;
    (0..4).try_for_each(|_| listener.accept()?.close())?;
    let roomy = examine_with(sandbox, &[], |_| cast.visit_often(&listener, 7, First::Client))?;
    roomy.0.has_no("counters_moved").map(drop)
}

/// A counter of the calling process's namespace.
fn counted(name: &str) -> Result<u64> {
    books::counter("self", name)?.with_context(|| format!("no {name}"))
}

/// Connections that the server closes first, and a SYN for each whose timestamp is so much older than its last one.
fn meet(sandbox: &Sandbox, cast: &Cast, listener: &Raw, count: usize, older: u32) -> Result<()> {
    let wire = Wire::open()?;
    for _ in 0..count {
        let pair = cast.open(listener)?.map_err(anyhow::Error::msg)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
        let fin = wire.last_fin(&pair.client)?;
        let stamp = fin.timestamp().context("the client has no timestamps")?;
        let (from, to) = (pair.client.local, pair.client.peer);
        let syn = Segment::bare(from, to, SYN, fin.next_seq().wrapping_sub(OLDER))?;
        let syn = syn.stamped(stamp.wrapping_sub(older));
        wire.send(&syn)?;
        wire.wait_for(&syn)?;
    }
    Ok(())
}

/// Closes with SO_LINGER 0 and with unread data; and as many that are neither.
pub(in crate::scenarios) fn closes_aborted(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 6000)?;
    let listener = cast.serve(HERE, 10007)?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| {
        for at in 0..30 {
            let pair = cast.open(&listener)?.map_err(anyhow::Error::msg)?;
            if at < 13 {
                pair.client.linger_zero()?;
            } else {
                pair.server.send(101)?;
                until_true("data to come in", PATIENCE, || unread(pair.client.local.port()))?;
            }
            pair.client.close()?;
            pair.server.close()?;
        }
        Ok(())
    })?;
    let finding = diagnosis.only("closes_aborted")?;
    finding.is("notice")?.says("30 closes ended in an RST")?.says("13 with SO_LINGER 0, 17 with data")?;
    finding.offers("graceful_close")?;
    // Nobody set SO_LINGER: data comes in after close(). A timeout of more than a minute keeps the full socket
    // (__tcp_close(), net/ipv4/tcp.c, 5.10 to 7.3).
    set_ipv4("tcp_fin_timeout", "120")?;
    let (later, ()) = examine_with(sandbox, &[], |sandbox| {
        for _ in 0..11 {
            let pair = cast.open(&listener)?.map_err(anyhow::Error::msg)?;
            pair.client.close()?;
            sandbox.wait_state(&pair.client, FIN_WAIT2, false)?;
            pair.server.send(101)?;
            pair.server.close()?;
        }
        Ok(())
    })?;
    set_ipv4("tcp_fin_timeout", "60")?;
    let finding = later.only("closes_aborted")?;
    finding
        .says("11 closes ended in an RST")?
        .says("0 with SO_LINGER 0, 0 with data that nobody had read, 11 as data came")?;
    let graceful = examine_with(sandbox, &[], |_| cast.visit_often(&listener, 30, First::Client))?;
    graceful.0.has_no("closes_aborted").map(drop)
}

/// Whether the socket on this port has data that nobody has read.
fn unread(port: u16) -> Result<bool> {
    Ok(books::rows("self")?.iter().any(|row| row.local.port() == port && row.unread != 0))
}
