//! Owns: the rule for connections whose close the peer does not acknowledge.
//! Must not know: where facts come from, how findings are shown.

use super::waiting::{Story, found};
use crate::diagnose::facts::{Facts, State};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Open;
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
const ID: &str = "close_unacknowledged";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let story = Story {
        id: ID,
        open: Open::Unacknowledged,
        state: State::Unacknowledged,
        name: "LAST_ACK, FIN_WAIT1 or CLOSING",
        why: "for the peer acknowledges no FIN: it is gone, or segments are dropped on the way; closed by {}",
    };
    let finish = |finding: Finding| {
        finding.remedied(remedies::of_unanswered_close()).but_not(folklore::of_waiting(folklore::UNANSWERED))
    };
    found(facts, story).into_iter().map(finish).collect()
}
