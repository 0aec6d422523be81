//! Owns: the diagnosis as one JSON object. Names of findings and remedies are for good.
//! Must not know: where it goes.

use serde::Serialize;

use super::facts::{Facts, Source};
use super::finding::{Finding, Severity, is_zero};
use crate::model::limitation::Limitation;
use crate::output::object_line;

#[derive(Serialize)]
struct Diagnosis<'a> {
    source: Source,
    backend: &'a str,
    observed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_ms: Option<u64>,
    /// The case was clear.
    stopped_early: bool,
    lost: u64,
    /// Findings that are left out, as nobody whom a filter asks about has a part in them.
    #[serde(skip_serializing_if = "is_zero")]
    of_others: u64,
    /// The worst there is.
    severity: Severity,
    /// What to try first.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<First>,
    findings: &'a [Finding],
    /// In words; `limitations` has those that come of the surroundings once more, by name.
    unknown: Vec<String>,
    limitations: &'a [Limitation],
    facts: &'a Facts,
}

/// Names a remedy of a finding.
#[derive(Serialize)]
pub struct First {
    finding: &'static str,
    remedy: &'static str,
}

impl First {
    /// Of these findings; see [`super::first`].
    pub fn of(findings: &[Finding]) -> Option<Self> {
        super::first(findings).map(|(finding, remedy)| Self { finding: finding.id, remedy: remedy.id })
    }
}

/// Pools of a namespace that are shown: the fullest.
const POOLS: usize = 100;

/// Appends the diagnosis and a newline to `out`.
pub fn line(facts: &Facts, findings: &[Finding], out: &mut Vec<u8>) {
    let mut shown = facts.clone();
    super::scope::show_theirs(&mut shown);
    shown.namespaces.iter_mut().for_each(|netns| netns.tuples.truncate(POOLS));
    let facts = &shown;
    let diagnosis = Diagnosis {
        source: facts.source,
        backend: &facts.backend,
        observed_ms: facts.observed_ms,
        failures_ms: facts.failures_ms,
        stopped_early: facts.stopped_early,
        lost: facts.lost,
        of_others: facts.of_others,
        severity: findings.iter().map(|finding| finding.severity).min().unwrap_or(Severity::Fine),
        first: First::of(findings),
        findings,
        unknown: facts
            .limitations
            .iter()
            .map(Limitation::to_string)
            .chain(facts.unknown.iter().cloned())
            .collect(),
        limitations: &facts.limitations,
        facts,
    };
    object_line(&diagnosis, out);
}
