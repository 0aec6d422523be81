//! Owns: why ports run out, who does it, and which remedy would help by how much: facts, rules, findings.
//! Must not know: the command line, probes, screens.
//!
//! Facts are gathered ([`gather`], [`recorded`]), rules look at them ([`rules`]), findings are what they say ([`finding`]); the
//! live view and the report of a recording show the same findings in one line each ([`glance`]).

pub mod explain;
pub mod facts;
pub mod finding;
mod folklore;
pub mod gather;
pub mod json;
mod pool;
pub mod predict;
mod range;
pub(crate) mod recorded;
mod remedies;
pub mod rules;
pub(crate) mod scope;
#[cfg(test)]
mod tests;
pub mod text;
mod whereabouts;
mod words;

pub use remedies::first;

use facts::{Facts, Process, Source};
use finding::{Finding, Severity};
use rules::Case;

use crate::engine::Snapshot;
use crate::model::escape::printable;
use crate::model::filter::Filter;
use crate::model::limitation::Limitation;
use crate::model::ordering::Ordered as _;

/// Everything that the rules find, worst first; never nothing. What those whom [`Facts::about`] is about have no part in is left out.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let case = Case::of(facts);
    let mut findings = by_rules(&case);
    whereabouts::settle(facts, &mut findings);
    if findings.is_empty() {
        findings.push(rules::nothing_wrong(&case));
    }
    if !facts.part.of_owners.is_empty() {
        findings.iter_mut().for_each(|finding| say_who_is_left_out(finding, &facts.part.of_owners));
    }
    findings
}

fn by_rules(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = case.findings();
    findings.retain(|finding| scope::is_theirs(finding, case.facts));
    // Of the same severity, as the rules are listed.
    findings.order_by_key(|finding| finding.severity);
    folded(findings)
}

/// How many findings there are besides, of those whom [`Facts::about`] is not about.
pub fn of_others(facts: &Facts) -> u64 {
    if !facts.about.asks_for_owner() {
        return 0;
    }
    let told = by_rules(&Case::of(facts));
    let of_all = Facts { about: Filter::default(), ..facts.clone() };
    let all = by_rules(&Case::of(&of_all));
    let is_told = |other: &Finding| told.iter().any(|one| (one.id, one.subject) == (other.id, other.subject));
    all.iter().filter(|finding| !is_told(finding)).count() as u64
}

/// Where a filter left processes out before anything was counted, whoever was not seen may be one of them.
fn say_who_is_left_out(finding: &mut Finding, flags: &[String]) {
    let unseen = words::UNSEEN;
    let flags = printable(&flags.join(" ")).into_owned();
    if finding.what.contains(unseen) {
        finding.what = finding.what.replace(unseen, &format!("{unseen}, or that {flags} leaves out"));
    }
    if finding.id == rules::NOT_EXPLAINED {
        finding.what.push_str(&format!(" What {flags} leaves out was not counted."));
    }
}

/// Findings of one kind that are told; the others are counted.
const ALIKE: usize = 5;

/// One finding for one cause: what one program does to many pools of a namespace is told by the worst of them.
fn folded(findings: Vec<Finding>) -> Vec<Finding> {
    let cause = |finding: &Finding| {
        let lead = finding.who.iter().find(|share| share.process.pid.is_some())?;
        let Process { comm, container, .. } = lead.process.clone();
        Some((finding.id, finding.subject.netns, comm, container))
    };
    let mut told: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |known: &&mut Finding| cause(&finding).is_some_and(|ours| cause(known) == Some(ours));
        let of_kind = told.iter().filter(|known| known.id == finding.id).count();
        let home = match told.iter_mut().find(same) {
            None if of_kind >= ALIKE => told.iter_mut().rfind(|known| known.id == finding.id),
            home => home,
        };
        match home {
            Some(home) => home.alike += 1,
            None => told.push(finding),
        }
    }
    for finding in told.iter_mut().filter(|finding| finding.alike != 0) {
        finding.what.push_str(&format!(" And {} more like it.", words::grouped(finding.alike)));
        if !finding.headline.is_empty() {
            finding.headline.push_str(&format!("; {} more like it", words::grouped(finding.alike)));
        }
    }
    told
}

/// A finding in one line.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct OneLine {
    /// See [`Finding::id`].
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, escaped.
    #[serde(rename = "what")]
    pub text: String,
    /// See [`Finding::headline`], escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub headline: String,
}

impl OneLine {
    /// What to say where there is little room.
    pub fn short(&self) -> &str {
        if self.headline.is_empty() { &self.text } else { &self.headline }
    }
}

impl From<&Finding> for OneLine {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id,
            severity: finding.severity,
            text: finding.what.clone(),
            headline: finding.headline.clone(),
        }
    }
}

/// The findings that say that something is wrong.
pub fn found(facts: &Facts) -> Vec<Finding> {
    let mut findings = diagnose(facts);
    findings.retain(is_pressing);
    findings
}

/// What a live view can say of the last ten seconds, of failures the last minute, by what its own picture has, without asking the
/// kernel: cheap enough for every picture. A rule that needs more than that keeps silent. `replayed` says which machine was recorded and up
/// to when this is, escaped; `None` where it is this one, now.
pub fn glance(snapshot: &Snapshot, limitations: &[Limitation], replayed: Option<String>) -> Vec<OneLine> {
    let (_, findings) = examine(snapshot, limitations, replayed);
    findings.iter().filter(|finding| is_pressing(finding)).map(OneLine::from).collect()
}

/// As [`glance`], with all that there is to say: what was looked at, and each finding as a whole.
pub fn examine(
    snapshot: &Snapshot,
    limitations: &[Limitation],
    replayed: Option<String>,
) -> (Facts, Vec<Finding>) {
    let mut facts = facts::glance::of_snapshot(snapshot);
    facts.limitations = limitations.to_vec();
    if let Some(replayed) = replayed {
        (facts.source, facts.replayed) = (Source::Replay, replayed);
    }
    let findings = diagnose(&facts);
    (facts, findings)
}

fn is_pressing(finding: &Finding) -> bool {
    finding.severity != Severity::Fine
}
