//! Owns: everything that one answer is made of, at one moment.
//! Must not know: how it is put into words.

use std::sync::OnceLock;

use super::recording::State;
use super::tally::Tallied;
use crate::diagnose::examine;
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::Finding;
use crate::engine::Snapshot;
use crate::model::limitation::Limitation;
use crate::source::Health;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// CLOCK_MONOTONIC in nanoseconds: until then it is fresh enough.
    pub(super) fresh_until_ns: u64,
    /// The word for what tells the events.
    pub(super) backend: &'static str,
    /// What was counted.
    pub(super) tallied: Tallied,
    /// Pools and namespaces.
    pub(super) snapshot: Snapshot,
    /// Memory of all TIME_WAIT sockets in the kernel, in bytes.
    pub(super) slab_bytes: Option<u64>,
    /// What cannot be seen.
    pub(super) limitations: Vec<Limitation>,
    /// How the trace fares.
    pub(super) health: Health,
    /// How the recording fares, where there is one.
    pub(super) recording: Option<State>,
    pub(super) diagnosis: OnceLock<(Facts, Vec<Finding>)>,
}

impl Picture {
    /// What the doctor says of it. Found out once, by whoever asks first.
    pub(super) fn diagnosis(&self) -> &(Facts, Vec<Finding>) {
        self.diagnosis.get_or_init(|| {
            let (mut facts, findings) = examine(&self.snapshot, &self.limitations, None);
            facts.backend = self.backend.to_owned();
            (facts, findings)
        })
    }
}
