//! Owns: whether what the doctor finds in a recording agrees with what it found live.
//! Must not know: any particular scenario.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Diagnosis;

impl Diagnosis {
    /// What a recording says of a case must be what the live doctor says; and it may not print a command: that would change the machine of
    /// whoever reads it.
    pub(super) fn agrees_with(&self, live: &Self) -> Result<()> {
        let (told, seen) = (self.findings()?, live.findings()?);
        for finding in told {
            let remedies = finding["remedies"].as_array().into_iter().flatten();
            let commands: Vec<&Value> = remedies.filter_map(|remedy| remedy.get("command")).collect();
            ensure!(commands.is_empty(), "a recording's reader is told to type {commands:?}");
            let is_known = seen.iter().any(|other| about(other) == about(finding));
            ensure!(
                is_known,
                "of the recording alone: {}; {} live: {}",
                finding["what"],
                self.said(),
                live.said()
            );
        }
        for finding in seen {
            let is_told = told.iter().any(|other| about(other) == about(finding));
            ensure!(is_told, "not of the recording: {}; the recording: {}", finding["what"], self.said());
        }
        Ok(())
    }
}

/// What a finding is, where, and whose. The file of a program that ends at once is read in time by one of the two and not by the other.
fn about(finding: &Value) -> [Value; 8] {
    let [id, severity, netns, sport, daddr, dport] =
        ["id", "severity", "netns", "sport", "daddr", "dport"].map(|key| finding[key].clone());
    let process = &finding["who"][0]["process"];
    [id, severity, netns, sport, daddr, dport, process["comm"].clone(), process["pid"].clone()]
}
