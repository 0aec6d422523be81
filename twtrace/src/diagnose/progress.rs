//! Owns: what is said while the doctor still looks, in one line.
//! Must not know: where the line goes.

use super::finding::{Finding, Severity};
use super::words::grouped;
use crate::engine::Engine;
use crate::model::figures::lasted;

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
