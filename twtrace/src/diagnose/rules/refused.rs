//! Owns: the rule for calls that fail for a reason that has nothing to do with ports.
//! Must not know: where facts come from, how findings are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::EVENTS;
use crate::diagnose::facts::{Call, Facts, Netns, Refusal, Share};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::words::{end, holders, times};
use crate::model::event::Errno;

/// Of what happens to everybody now and then, so many are worth a word.
const MANY: u64 = 10;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    facts.namespaces.iter().flat_map(of_namespace).collect()
}

/// What a call that returned this met with; `None`: it is no failure.
fn meaning(errno: Errno) -> Option<(Severity, &'static str)> {
    Some(match errno {
        Errno::Intr | Errno::Again | Errno::Already | Errno::IsConn => return None,
        Errno::Acces | Errno::Perm => (
            Severity::Warning,
            "a routing rule, a firewall, a cgroup's BPF program or a missing capability refuses it",
        ),
        Errno::NetUnreach | Errno::HostUnreach | Errno::NetDown | Errno::HostDown => {
            (Severity::Warning, "there is no route to there, or nobody answers on the way")
        }
        Errno::TimedOut => (Severity::Warning, "nobody answers: a firewall drops it, or the peer is gone"),
        Errno::ConnRefused | Errno::ConnReset => {
            (Severity::Notice, "nobody listens there, or the peer refuses it")
        }
        Errno::NoBufs | Errno::NoMem | Errno::NFile | Errno::MFile => {
            (Severity::Warning, "memory or descriptors are short")
        }
        _ => (Severity::Notice, "that is what the call returned"),
    })
}

fn of_namespace(netns: &Netns) -> Vec<Finding> {
    let mut alike: BTreeMap<(Call, IpAddr, u16, Errno), Vec<&Refusal>> = BTreeMap::new();
    for refusal in &netns.refusals {
        let Refusal { call, address, port, errno, .. } = *refusal;
        if (call, errno) != (Call::Bind, Errno::AddrNotAvail) {
            alike.entry((call, address, port, errno)).or_default().push(refusal);
        }
    }
    alike.values().filter_map(|refusals| finding(netns, refusals)).collect()
}

fn finding(netns: &Netns, refusals: &[&Refusal]) -> Option<Finding> {
    let Refusal { call, address, port, errno, .. } = **refusals.first()?;
    let failed: u64 = refusals.iter().map(|refusal| refusal.failed).sum();
    let (severity, means) = meaning(errno)?;
    if severity == Severity::Notice && failed < MANY {
        return None;
    }
    let callers = callers(refusals);
    let mut subject = Subject { netns: Some(netns.netns), ..Subject::default() };
    let asked = match call {
        Call::Connect => {
            (subject.daddr, subject.dport) = (Some(address), Some(port));
            format!("connect() to {}", end(address, port))
        }
        Call::Bind => {
            (subject.saddr, subject.sport) = (Some(address), Some(port));
            format!("bind() of {}", end(address, port))
        }
    };
    let what = format!(
        "{asked} by {} fails {} with {errno}: {means}. That has nothing to do with ports or TIME_WAIT.",
        holders(&callers, |share| share.failed, 0),
        times(failed),
    );
    let finding = Finding::new("refused_not_for_ports", severity, what).at(subject).because(
        "calls that failed",
        failed,
        EVENTS,
    );
    let short = match call {
        Call::Connect => format!("cannot connect to {}: {errno}", end(address, port)),
        Call::Bind => format!("cannot bind {}: {errno}", end(address, port)),
    };
    Some(finding.because("what they returned", errno.word(), EVENTS).by(callers).in_short(&short))
}

/// Who asked, most first.
pub(super) fn callers(refusals: &[&Refusal]) -> Vec<Share> {
    let share = |refusal: &&Refusal| Share {
        process: refusal.caller.clone(),
        failed: refusal.failed,
        ..Share::default()
    };
    let mut shares: Vec<Share> = refusals.iter().map(share).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.failed));
    shares
}
