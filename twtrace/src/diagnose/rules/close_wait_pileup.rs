//! Owns: the rule for connections whose peer has closed and whose program here does not.
//! Must not know: where facts come from, how findings are shown.

use super::waiting::{Story, found};
use crate::diagnose::facts::{Facts, State};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Open;
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
const ID: &str = "close_wait_pileup";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let story = Story {
        id: ID,
        open: Open::CloseWait,
        state: State::CloseWait,
        name: "CLOSE_WAIT",
        why: "for the peer has closed and {} does not",
    };
    let finish = |finding: Finding| {
        finding.remedied(remedies::of_not_closed()).but_not(folklore::of_waiting(folklore::NOT_CLOSED))
    };
    found(facts, story).into_iter().map(finish).collect()
}
