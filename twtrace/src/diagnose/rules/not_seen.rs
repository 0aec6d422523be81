//! Owns: what is said where something could be wrong that this machine, or this recording, cannot show.
//! Must not know: where facts come from, how findings are shown.

use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Severity};
use crate::model::limitation::Limitation;

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let blind: Vec<&Limitation> =
        facts.limitations.iter().filter(|limitation| limitation.what.hides_trouble()).collect();
    let mut words: Vec<&str> = blind.iter().map(|limitation| limitation.what.words()).collect();
    words.sort_unstable();
    words.dedup();
    let Some(first) = blind.first() else { return Vec::new() };
    let what = format!(
        "Not everything could be seen: {}. If that is where the trouble is, it is not in this diagnosis. Remedy: {}.",
        words.join("; "),
        crate::model::escape::printable(&first.remedy)
    );
    let finding = Finding::new("not_seen", Severity::Notice, what).because(
        "kinds of trouble that cannot be seen",
        words.len() as u64,
        "environment",
    );
    vec![finding.in_short_alone("not everything could be seen".to_owned())]
}
