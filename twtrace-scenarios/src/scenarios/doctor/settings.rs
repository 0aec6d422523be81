//! Owns: scenarios about settings: a table that is too small, RSTs that are let in, and folklore.
//! Must not know: the harness.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use twtrace_kit::actor::{Raw, close_in_order};
use twtrace_kit::books::{self, TIME_WAIT};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::diagnosis::Finding;
use super::exam::examine;
use super::load::{Cast, First, HERE, cast};
use crate::around::own_mounts;
use crate::sandbox::Sandbox;
use crate::scenarios::packets::{RST, Segment, Wire};

/// More than enough of everything.
const PORTS: u16 = 20_000;

/// Room for 7 TIME_WAIT sockets, and 11 more connections.
pub(in crate::scenarios) fn table_overflow(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_max_tw_buckets", "7")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "table_overflow", |_| one_by_one(&cast, &listener, 18))?;
    finding
        .is("warning")?
        .blames("client", cast.client.pid())?
        .shows("TIME_WAIT sockets refused", 11)?
        .refuses("lower_max_tw_buckets")?;
    finding.apply("max_tw_buckets")?;
    let before = books::read("self")?.overflow;
    one_by_one(&cast, &listener, 18)?;
    let refused = (books::read("self")?.overflow - before) as f64;
    finding.measured(sandbox, ("max_tw_buckets", "refused", "sockets/s"), (None, refused))
}

/// Each connection has become what it becomes before the next one is made.
fn one_by_one(cast: &Cast, listener: &Raw, count: usize) -> Result<()> {
    for _ in 0..count {
        cast.visit(listener, 1, First::Client)?.map_err(anyhow::Error::msg)?;
        until_true("both ends to be closed", PATIENCE, || {
            let open = |row: &books::Row| row.peer.port() != 0 && !row.time_wait;
            Ok(!books::rows("self")?.iter().any(open))
        })?;
    }
    Ok(())
}

/// RSTs come in for TIME_WAIT sockets, and are let in.
pub(in crate::scenarios) fn rst_kills(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_rfc1337", "0")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "rst_kills", |sandbox| {
        reset(sandbox, &cast, &listener)?;
        until_true("RSTs to end them", PATIENCE, || Ok(books::live("self")? == 0))
    })?;
    finding
        .is("notice")?
        .blames("client", cast.client.pid())?
        .shows("TIME_WAIT sockets that an RST ended", 13)?;
    // Where a kernel does not count SYNs that are refused, what would keep their senders out is not advised.
    if !counts_refused_syns()? {
        return finding.refuses("rfc1337").map(drop);
    }
    finding.apply("rfc1337")?;
    reset(sandbox, &cast, &listener)?;
    let ended = 13.0 - books::live("self")? as f64;
    finding.measured(sandbox, ("rfc1337", "ended by RST", "sockets/s"), (None, ended))
}

fn counts_refused_syns() -> Result<bool> {
    Ok(books::counter("self", "PAWSTimewait")?.is_some())
}

/// 13 TIME_WAIT sockets, and for each an RST that counts.
fn reset(sandbox: &Sandbox, cast: &Cast, listener: &Raw) -> Result<()> {
    let wire = Wire::open()?;
    for _ in 0..13 {
        let pair = cast.open(listener)?.map_err(anyhow::Error::msg)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        let next = wire.last_fin(&pair.server)?.next_seq();
        let rst = Segment::bare(pair.server.local, pair.server.peer, RST, next)?;
        wire.send(&rst)?;
        wire.wait_for(&rst)?;
    }
    Ok(())
}

/// `tcp_fin_timeout` lowered, and TIME_WAIT lasts as long as ever.
pub(in crate::scenarios) fn fin_timeout(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_fin_timeout", "7")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding =
        examine(sandbox, "folklore_fin_timeout", |_| cast.visit_often(&listener, 17, First::Client))?;
    finding.is("notice")?.shows("tcp_fin_timeout, s", 7)?;
    let before = longest_s()?;
    finding.apply("restore_fin_timeout")?;
    let after = {
        cast.visit_often(&cast.serve(HERE, 10009)?, 17, First::Client)?;
        longest_s()?
    };
    finding.measured(sandbox, ("restore_fin_timeout", "TIME_WAIT lasts", "s"), (Some(before), after))
}

/// The longest time that any TIME_WAIT socket has left, in seconds.
fn longest_s() -> Result<f64> {
    let rows = books::rows("self")?;
    let left_cs = rows.iter().filter(|row| row.time_wait).map(|row| row.left_cs);
    Ok(left_cs.max().context("no TIME_WAIT socket")? as f64 / 100.0)
}

/// `tcp_max_tw_buckets` lowered, and not yet reached.
pub(in crate::scenarios) fn max_tw_buckets(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_max_tw_buckets", "31")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "folklore_max_tw_buckets", |_| one_by_one(&cast, &listener, 17))?;
    finding.is("notice")?.shows("tcp_max_tw_buckets", 31)?;
    one_by_one(&cast, &listener, 31)?;
    let before = books::live("self")? as f64;
    finding.apply("restore_max_tw_buckets")?;
    let (said, after) = finding.predicts("restore_max_tw_buckets", "room for", "TIME_WAIT sockets")?;
    ensure!((said - before).abs() < 0.5, "room for {before} where {said} was said");
    one_by_one(&cast, &listener, 31)?;
    // All of the room takes too long to fill; that there is far more than before is seen.
    let more = books::live("self")? as f64;
    ensure!(more > 61.0 && more <= after, "{more} TIME_WAIT sockets with room for {after}");
    Ok(())
}

/// A file sets what no kernel has.
pub(in crate::scenarios) fn tw_recycle(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    // In this process and what it starts alone.
    own_mounts()?;
    fs::create_dir_all("/etc/sysctl.d")?;
    mount(Some("tmpfs"), "/etc/sysctl.d", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let path = "/etc/sysctl.d/10-tuning.conf";
    fs::write(path, "net.ipv4.tcp_tw_recycle = 1\n")?;
    let finding: Finding =
        examine(sandbox, "folklore_tw_recycle", |_| cast.visit_often(&listener, 17, First::Client))?;
    finding.is("notice")?.offers("drop_tw_recycle")?;
    fs::remove_file(path)?;
    examine(sandbox, "nothing_wrong", |_| cast.visit_often(&listener, 17, First::Client))?
        .is("fine")
        .map(drop)
}
