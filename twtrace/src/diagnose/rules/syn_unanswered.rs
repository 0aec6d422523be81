//! Owns: the rule for connections that nobody answers.
//! Must not know: where facts come from, how findings are shown.

use super::waiting::{Story, found};
use crate::diagnose::facts::{Facts, State};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Open;
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
const ID: &str = "syn_unanswered";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let story = Story {
        id: ID,
        open: Open::SynSent,
        state: State::SynSent,
        name: "SYN_SENT",
        why: "for nobody answers their SYN; {} waits",
    };
    let finish = |finding: Finding| {
        finding.remedied(remedies::of_unanswered()).but_not(folklore::of_waiting(folklore::UNANSWERED))
    };
    found(facts, story).into_iter().map(finish).collect()
}
