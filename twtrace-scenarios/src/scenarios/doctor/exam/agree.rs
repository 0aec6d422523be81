//! Owns: whether what the doctor finds in a recording agrees with what it found live.
//! Must not know: any particular scenario.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Diagnosis, text};

/// Findings that stand on what a recording does not have: sockets that are open, bound or listening, addresses, all settings, counters
/// beside those of TIME_WAIT. From a recording their calls are not explained, or nothing is said.
const OF_LISTS: [&str; 22] = [
    "ports_held_open",
    "ports_bound",
    "fin_wait2_held",
    "fin_wait2_pileup",
    "close_wait_pileup",
    "close_unacknowledged",
    "syn_unanswered",
    "range_half_full",
    "no_local_address",
    "reuse_cannot_work",
    "server_side_harmless",
    "port_in_use",
    "tuple_taken",
    "server_cannot_bind",
    "syn_refused",
    "rst_kills",
    "counters_moved",
    "conntrack_near_full",
    "orphans_near_limit",
    "folklore_fin_timeout",
    "folklore_max_tw_buckets",
    "folklore_tw_recycle",
];

/// What sockets look like in a recording that wait in FIN_WAIT2 and stay there.
const AS_TIME_WAIT: [&str; 3] = ["loopback_backend", "ports_running_out", "ports_exhausted"];

/// What is told where nothing else can be.
const TOLD_INSTEAD: [&str; 3] = ["not_explained", "nothing_wrong", "not_seen"];

impl Diagnosis {
    /// What a recording says of a case must be what the live doctor says, as far as a recording can; and it may not print a command: that
    /// would change the machine of whoever reads it.
    pub(super) fn agrees_with(&self, live: &Self) -> Result<()> {
        let (told, seen) = (self.findings()?, live.findings()?);
        // The file of a program that ends at once is read in time by one of the two and not by the other.
        let about = |finding: &Value| {
            let keys = ["id", "severity", "netns", "sport", "daddr", "dport"];
            let process = &finding["who"][0]["process"];
            (keys.map(|key| finding[key].clone()), ["comm", "pid"].map(|key| process[key].clone()))
        };
        let is_of = |ids: &[&str], finding: &Value| ids.contains(&text(finding, "id"));
        // Nor does a recording know what addresses the machine has.
        let hidden = ["fin_wait2_pileup", "reuse_cannot_work"];
        let is_hidden = seen.iter().any(|finding| is_of(&hidden, finding));
        for finding in told {
            let remedies = finding["remedies"].as_array().into_iter().flatten();
            let commands: Vec<&Value> = remedies.filter_map(|remedy| remedy.get("command")).collect();
            ensure!(commands.is_empty(), "a recording's reader is told to type {commands:?}");
            let is_known = seen.iter().any(|other| about(other) == about(finding));
            ensure!(
                is_known
                    || is_of(&TOLD_INSTEAD, finding)
                    || is_of(&OF_LISTS, finding)
                    || is_hidden && is_of(&AS_TIME_WAIT, finding),
                "of the recording alone: {}; live: {}",
                self.said(),
                live.said()
            );
        }
        for finding in
            seen.iter().filter(|finding| !is_of(&OF_LISTS, finding) && !is_of(&TOLD_INSTEAD, finding))
        {
            let is_told = told.iter().any(|other| about(other) == about(finding));
            ensure!(is_told, "not of the recording: {}; the recording: {}", live.said(), self.said());
        }
        Ok(())
    }
}
