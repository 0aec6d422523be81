//! Owns: what is wrong in a recording and what to do about it, as labelled lines: what is to be read before all the rest.
//! Must not know: how lines are laid out.

use super::summary::{Line, line};
use crate::diagnose::finding::{Finding, Remedy, Severity};
use crate::diagnose::{OneLine, first};
use crate::output::paint::Meaning;
use crate::present::report::model::Report;

/// Findings that are told.
const FINDINGS: usize = 7;
/// Remedies of the worst of them.
const REMEDIES: usize = 6;

/// The lines, the worst finding first; none where nothing is wrong.
pub fn verdict(report: &Report) -> Vec<Line> {
    let Some(findings) = &report.findings else {
        return vec![line("findings", "not looked for under a filter; twtrace doctor FILE tells them")];
    };
    let mut lines: Vec<Line> = findings.iter().take(FINDINGS).flat_map(told).collect();
    if findings.len() > FINDINGS {
        let more = findings.len() - FINDINGS;
        lines.push(line("findings", format!("and {more} more: twtrace doctor FILE tells them all")));
    }
    lines.extend(remedies(findings));
    lines
}

/// Who, in a few words; and the sentence with the numbers where it presses.
fn told(finding: &Finding) -> Vec<Line> {
    let label = match finding.severity {
        Severity::Critical => "CRITICAL",
        Severity::Warning => "WARNING",
        Severity::Notice => "notice",
        Severity::Fine => "fine",
    };
    let short = OneLine::from(finding);
    let head = Line {
        meaning: finding.severity.into(),
        ..line(label, format!("{} ({})", short.short(), finding.id))
    };
    let is_more = finding.severity == Severity::Critical && short.short() != finding.what;
    let more = is_more.then(|| line("", finding.what.as_str()));
    [head].into_iter().chain(more).collect()
}

/// What helps with the finding to begin with: what to try first, then the others.
fn remedies(findings: &[Finding]) -> Vec<Line> {
    let Some((finding, best)) = first(findings) else { return Vec::new() };
    let others = finding.remedies.iter().filter(|remedy| remedy.id != best.id).take(REMEDIES - 1);
    let is_worst = findings.first().is_some_and(|worst| worst.id == finding.id);
    let whom = if is_worst { String::new() } else { format!("for {}: ", finding.id) };
    let mut lines = vec![Line { meaning: Meaning::Good, ..line("do first", whom + &deed(best)) }];
    lines.extend(others.map(|remedy| line("or", deed(remedy))));
    lines
}

/// A remedy in one sentence: what it is, what it comes to, and how.
fn deed(remedy: &Remedy) -> String {
    let effect = remedy.effects.first().map_or_else(String::new, |effect| format!(": {effect}"));
    let how = remedy.command.as_deref().or(remedy.change.as_deref());
    let how = how.map_or_else(String::new, |how| format!("; {how}"));
    format!("{} ({}){effect}{how}", remedy.title, remedy.id)
}
