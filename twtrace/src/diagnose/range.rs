//! Owns: a range of ports that is a part of the namespace's: how many ports it has, and where one was not looked at, what ports in a
//! row say.
//! Must not know: who is on them, what is said about it.

use std::collections::BTreeSet;

use super::facts::{Ranged, Settings, Tuple};
use super::predict;

/// Fewer ports in a row may be chance.
const SHORTEST_RUN: u32 = 2;

/// Ports from one to another, all of them in use by one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u16,
    pub(super) high: u16,
    /// Less what is reserved.
    pub(super) ports: u32,
    /// The sockets themselves were looked at; else ports in a row speak for it.
    pub(super) is_looked_at: bool,
}

impl Range {
    /// That of the sockets whose calls failed, where each of them that was looked at has one.
    pub(super) fn of_sockets(ranged: &Ranged, settings: &Settings) -> Option<Self> {
        let (low, high) = ranged.within(settings)?;
        let is_all = ranged.calls == ranged.looked;
        let ports = predict::usable((low, high), &settings.reserved);
        (is_all && ports != 0).then_some(Self { low, high, ports, is_looked_at: true })
    }

    /// A run of ports that a program which failed was on, without a gap: what connect() chooses from the whole range lies apart, for it
    /// takes ports of one parity first (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3).
    pub(super) fn inferred(tuple: &Tuple, settings: &Settings) -> Option<Self> {
        // What was looked at and has no range is not given one by its neighbours.
        if tuple.ranged.looked != 0 {
            return None;
        }
        tuple.around.as_ref()?.callers.iter().find_map(|caller| {
            let run = longest_run(&caller.ports, settings)?;
            let is_most = run.ports as usize * 2 >= caller.ports.len();
            (is_most && run.ports >= SHORTEST_RUN).then_some(run)
        })
    }
}

/// The longest row of ports without a gap other than reserved ones.
fn longest_run(ports: &BTreeSet<u16>, settings: &Settings) -> Option<Range> {
    let mut best: Option<Range> = None;
    let mut run: Option<Range> = None;
    for port in ports.iter().copied() {
        let next = match run {
            Some(run) if (run.high + 1..port).all(|port| settings.reserves(port)) => {
                Range { high: port, ports: run.ports + 1, ..run }
            }
            _ => Range { low: port, high: port, ports: 1, is_looked_at: false },
        };
        run = Some(next);
        if best.is_none_or(|best| next.ports > best.ports) {
            best = Some(next);
        }
    }
    best
}
