//! Owns: how far a look has come: what is said meanwhile, in one line, and when the case is clear, so that to look on would change nothing
//! of what is said.
//! Must not know: where facts come from, how long a look takes, where the line goes.

use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::words::grouped;
use crate::engine::Engine;
use crate::model::figures::lasted;

/// So many looks in a row must come to the same.
const ALIKE: u32 = 4;
/// Looks count that are at least so far apart, in nanoseconds.
const APART_NS: u64 = 1_000_000_000;
/// What a longer look may explain, or may see.
const OPEN: [&str; 2] = ["not_explained", "not_seen"];

/// What one look came to, numbers left out: they grow for as long as one looks.
type FindingsSummary = Vec<(&'static str, Severity, Subject, Option<u32>, Vec<&'static str>)>;

/// Watches what look after look comes to.
#[derive(Debug, Default)]
pub(super) struct Clear {
    verdict: FindingsSummary,
    alike: u32,
    last_ns: Option<u64>,
}

impl Clear {
    /// Whether another look is of use at `now_ns`.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.last_ns.is_none_or(|last_ns| now_ns >= last_ns.saturating_add(APART_NS))
    }

    /// Takes in what a look at `now_ns` came to, of which so many events were lost. The case is clear when calls have failed, which no later
    /// event undoes, for a reason that is known; nothing was lost that could be the reason; and the last looks named the same findings, the
    /// same processes and the same remedies.
    pub(super) fn is_so(&mut self, findings: &[Finding], lost: u64, now_ns: u64) -> bool {
        self.last_ns = Some(now_ns);
        let pressing = findings.iter().filter(|finding| finding.severity <= Severity::Warning);
        let verdict: FindingsSummary = pressing
            .map(|finding| {
                let who = finding.who.first().and_then(|share| share.process.pid);
                let remedies = finding.remedies.iter().map(|remedy| remedy.id).collect();
                (finding.id, finding.severity, finding.subject, who, remedies)
            })
            .collect();
        self.alike = if verdict == self.verdict { self.alike + 1 } else { 1 };
        self.verdict = verdict;
        lost == 0 && self.alike >= ALIKE && findings.first().is_some_and(has_failed) && is_explained(findings)
    }
}

/// A prediction can still turn out otherwise: only what has happened counts.
fn has_failed(finding: &Finding) -> bool {
    finding.severity == Severity::Critical && finding.who.iter().any(|share| share.failed != 0)
}

fn is_explained(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| !OPEN.contains(&finding.id))
}

/// How long was looked so far, of how long it may take at most (in seconds), what was seen, and the worst that was found by now: printable.
pub(super) fn line(watched_s: f64, most_s: Option<f64>, engine: &Engine, findings: &[Finding]) -> String {
    let total = engine.total(0, false);
    let most = most_s.map_or_else(String::new, |most_s| format!(" of {}", lasted(most_s)));
    let seen = format!("{} created, {} failed", grouped(total.counts.created), grouped(total.failed()));
    let worst = match findings.first().filter(|finding| finding.severity != Severity::Fine) {
        None => "nothing found yet".to_owned(),
        Some(worst) => {
            let short = if worst.headline.is_empty() { worst.id } else { &worst.headline };
            format!("{} {short}", worst.severity.word().to_uppercase())
        }
    };
    format!("{}{most}: {seen}; {worst}", lasted(watched_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::diagnose::facts::Ports;
    use crate::diagnose::rules::tests::{facts, full, netns, with_tuple};
    use crate::engine::Limits;

    const S: u64 = APART_NS;

    /// A pool of 1,000 ports of which so many are in use, and so many calls that failed.
    fn found(in_use: u32, failed: u64) -> Vec<Finding> {
        let mut tuple = full(Ports { time_wait: in_use, ..Ports::default() }, failed);
        tuple.shares[0].failed = failed;
        diagnose(&with_tuple(tuple))
    }

    #[test]
    fn calls_that_fail_for_a_known_reason_look_after_look_are_clear() {
        let mut clear = Clear::default();
        let at: Vec<bool> = (0..5).map(|n| clear.is_so(&found(1000, 13 + n), 0, n * S)).collect();
        assert_eq!(at, [false, false, false, true, true]);
        assert!(!clear.is_due(4 * S + 1) && clear.is_due(5 * S));
    }

    #[test]
    fn what_changes_is_not_clear_and_begins_anew() {
        let mut clear = Clear::default();
        // The blamed one is another one in the third look.
        let mut other = found(1000, 13);
        other[0].who[0].process.pid = Some(7);
        let rounds = [found(1000, 13), found(1000, 13), other.clone(), other.clone(), other.clone(), other];
        let at: Vec<bool> = rounds.iter().map(|found| clear.is_so(found, 0, 0)).collect();
        assert_eq!(at, [false, false, false, false, false, true]);
    }

    #[test]
    fn what_may_turn_out_otherwise_is_never_clear() {
        let never = |findings: &[Finding], lost: u64| {
            let mut clear = Clear::default();
            (0..17).all(|n| !clear.is_so(findings, lost, n * S))
        };
        assert!(never(&found(1000, 13), 1), "what was lost may be the reason");
        assert!(never(&found(900, 0), 0), "nothing has failed yet");
        let open = found(20, 13);
        assert!(open.iter().any(|finding| finding.id == "not_explained") && never(&open, 0), "{open:#?}");
        assert!(never(&[], 0) && !never(&found(1000, 13), 0));
    }

    #[test]
    fn it_says_how_long_what_was_seen_and_what_is_worst() {
        let engine = Engine::new(Limits::RECORDING);
        let findings = diagnose(&with_tuple(full(Ports { time_wait: 1000, ..Ports::default() }, 13)));
        let told = line(3.21, Some(10.0), &engine, &findings);
        let want = "3.2s of 10.0s: 0 created, 0 failed; CRITICAL checkout-api[97] cannot connect to ";
        assert!(told.starts_with(want), "{told}");
        let quiet = line(0.3, None, &engine, &diagnose(&facts(netns())));
        assert_eq!(quiet, "0.3s: 0 created, 0 failed; nothing found yet");
    }
}
