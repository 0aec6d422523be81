//! Owns: scenarios about `tcp_tw_reuse`: where it would help, where it cannot.
//! Must not know: the harness.

use anyhow::{Result, ensure};
use twtrace_kit::actor::{Pair, Raw, complete};
use twtrace_kit::kernel;
use twtrace_kit::netns::set_ipv4;

use super::diagnosis::{Finding, is_close};
use super::exam::examine;
use super::load::{Cast, ELSEWHERE, First, HERE, OWN, add_addresses, cast};
use crate::sandbox::Sandbox;

/// So many ports: few enough that a slow machine uses all of them well within a second.
const PORTS: u16 = 20;
/// Few enough for an emulated one, and as many as the doctor wants to have seen before it speaks of habits.
const SLOW_PORTS: u16 = 12;
/// Few enough for a tenth of a second.
const FEW: u16 = 4;
/// How often all ports are used in a measurement: for so many seconds, or tenths of one.
const WAVES: usize = 4;
/// A machine that is busy elsewhere can only make a measured rate too low: then it is measured again.
const TRIES: usize = 3;
const MINUTE: f64 = 60.0;
/// Why a remedy's effect is not compared with what was predicted.
const NO_RATES: &str = "an emulated machine cannot keep such a rate";

/// Compares the connections a second that a remedy predicts with those measured, which is done until they agree, or for the last time.
/// `before` is what there were without it.
fn compare_rate(
    sandbox: &mut Sandbox,
    (finding, id): (&Finding, &str),
    (cast, listener): (&Cast, &Raw),
    (ports, waves): (u16, usize),
    before: Option<f64>,
) -> Result<()> {
    const UNIT: (&str, &str) = ("limit", "connections/s");
    if kernel::is_emulated() {
        // That ports come back at all, and within the minute of which there is talk, is seen on a slow machine as well.
        cast.rate(listener, ports.into(), 1)?;
        return finding.not_measured(sandbox, (id, UNIT.0, UNIT.1), before, NO_RATES);
    }
    let (_, said) = finding.predicts(id, UNIT.0, UNIT.1)?;
    let mut measured = 0.0;
    for _ in 0..TRIES {
        measured = cast.rate(listener, ports.into(), waves)?;
        if is_close(said, measured) {
            break;
        }
    }
    finding.measured(sandbox, (id, UNIT.0, UNIT.1), (before, measured))
}

fn exhaust(cast: &Cast, listener: &Raw) -> Result<()> {
    cast.visit_until_full(std::slice::from_ref(listener), 1).map(drop)
}

/// Before: what fitted into the pool, over the minute that it then lasts.
fn before() -> f64 {
    f64::from(PORTS) / MINUTE
}

/// The kernel's own setting, 2, is for loopback; the destination is elsewhere.
pub(in crate::scenarios) fn remote(sandbox: &mut Sandbox) -> Result<()> {
    add_addresses()?;
    let cast = cast(sandbox, PORTS + 2)?;
    let listener = cast.serve(ELSEWHERE, 10007)?;
    // Connections that stay open show the doctor that both ends have timestamps. Their ports are bound, so that they are none
    // of those that connect() can choose from; two, because a range has an even number.
    let open = |port| -> Result<Pair> {
        let raw = cast.client.socket(false, true)?;
        ensure!(raw.bind((OWN, port))?.is_ok(), "port {port} is free");
        complete(&raw, &listener, listener.local()?)
    };
    let _open = (open(40000 + PORTS)?, open(40001 + PORTS)?);
    let finding = examine(sandbox, "ports_exhausted", |_| exhaust(&cast, &listener))?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .offers("tw_reuse")?
        .refuses("lower_fin_timeout")?;
    ensure!(!finding.remedies().iter().any(|id| id == "unix_socket"), "a Unix socket to another machine");
    finding.apply("tw_reuse")?;
    compare_rate(sandbox, (&finding, "tw_reuse"), (&cast, &listener), (PORTS, WAVES), Some(before()))
}

/// Reuse is set, and timestamps are off.
pub(in crate::scenarios) fn timestamps_off(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "1")?;
    set_ipv4("tcp_timestamps", "0")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(HERE, 10007)?;
    let finding = examine(sandbox, "reuse_cannot_work", |_| exhaust(&cast, &listener))?;
    finding.is("critical")?.blames("client", cast.client.pid())?.offers("timestamps")?;
    finding.apply("timestamps")?;
    let listener = cast.serve(HERE, 10009)?;
    compare_rate(sandbox, (&finding, "timestamps"), (&cast, &listener), (PORTS, WAVES), Some(before()))
}

/// Reuse is set for loopback, and the backend has another address of this machine.
pub(in crate::scenarios) fn not_loopback(sandbox: &mut Sandbox) -> Result<()> {
    add_addresses()?;
    set_ipv4("tcp_tw_reuse", "2")?;
    let cast = cast(sandbox, PORTS)?;
    let listener = cast.serve(OWN, 10007)?;
    let finding = examine(sandbox, "reuse_cannot_work", |_| exhaust(&cast, &listener))?;
    finding
        .is("critical")?
        .blames("client", cast.client.pid())?
        .offers("loopback_address")?
        .offers("tw_reuse")?;
    let near = cast.serve(HERE, 10007)?;
    compare_rate(sandbox, (&finding, "loopback_address"), (&cast, &near), (PORTS, WAVES), Some(before()))?;
    finding.apply("tw_reuse")?;
    compare_rate(sandbox, (&finding, "tw_reuse"), (&cast, &listener), (PORTS, WAVES), Some(before()))
}

/// Reuse works, but ports are needed again before it may. Where the kernel lets its delay be set, that is a minute here.
pub(in crate::scenarios) fn too_young(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "1")?;
    let has_delay = set_ipv4("tcp_tw_reuse_delay", "60000").is_ok();
    let is_slow = kernel::is_emulated();
    let ports = if is_slow { SLOW_PORTS } else { PORTS };
    let cast = cast(sandbox, ports)?;
    let listener = cast.serve(HERE, 10007)?;
    let mut made = 0;
    let finding = examine(sandbox, "reuse_cannot_work", |_| {
        // More than there are, in well under a second.
        made = cast.visit_until_full(std::slice::from_ref(&listener), 1)?;
        Ok(())
    })?;
    finding.is("critical")?.blames("client", cast.client.pid())?.offers("keep_alive")?;
    if !has_delay {
        // One second is fixed there.
        finding.refuses("reuse_delay")?;
        return Ok(());
    }
    finding.offers("reuse_delay")?;
    finding.apply("reuse_delay")?;
    let (listener, before) = (cast.serve(HERE, 10009)?, made as f64 / MINUTE);
    compare_rate(sandbox, (&finding, "reuse_delay"), (&cast, &listener), (ports, WAVES), Some(before))?;
    if is_slow {
        // It does not use all ports within a tenth of a second.
        return Ok(());
    }
    // The next step that is offered: a tenth of a second, with so few ports that all of them are used well within it.
    set_ipv4("ip_local_port_range", &format!("40000 {}", 40000 + FEW - 1))?;
    let listener = cast.serve(HERE, 10037)?;
    let finding = examine_again(sandbox, &cast, &listener)?;
    finding.apply("reuse_delay")?;
    let listener = cast.serve(HERE, 10039)?;
    compare_rate(sandbox, (&finding, "reuse_delay"), (&cast, &listener), (FEW, 10 * WAVES), None)
}

fn examine_again(sandbox: &mut Sandbox, cast: &Cast, listener: &Raw) -> Result<Finding> {
    let (diagnosis, ()) = super::exam::examine_with(sandbox, &["--dport", "10037"], |_| {
        // Until the pool is full at one moment: a port comes back each second.
        cast.visit_until_one_fails(listener, First::Client)
    })?;
    diagnosis.only("reuse_cannot_work")
}
