//! Owns: the rule for connections that were shut down here, whose descriptor is still held and whose peer does not close.
//! Must not know: where facts come from, how findings are shown.

use super::waiting::{Story, found};
use crate::diagnose::facts::{Facts, State};
use crate::diagnose::finding::Finding;
use crate::diagnose::pool::Open;
use crate::diagnose::{folklore, remedies};

/// The name of its finding.
const ID: &str = "fin_wait2_held";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let story = Story {
        id: ID,
        open: Open::FinWait2,
        state: State::FinWait2Held,
        name: "FIN_WAIT2 with an open descriptor",
        why: "shut down and held open by {}, and the peer does not close; tcp_fin_timeout is for orphans and ends none of \
              them",
    };
    let finish = |finding: Finding| {
        finding.remedied(remedies::of_held_half_closed()).but_not(folklore::of_waiting(folklore::HELD))
    };
    found(facts, story).into_iter().map(finish).collect()
}
