//! Owns: the rule for `tcp_tw_recycle`, which no kernel since 4.12 has.
//! Must not know: where facts come from, how findings are shown.

use super::within;
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::remedies;
use crate::model::escape::printable;

/// The name of its finding.
const ID: &str = "folklore_tw_recycle";
const NAME: &str = "net.ipv4.tcp_tw_recycle";

pub(super) fn rule(facts: &Facts) -> Vec<Finding> {
    let on = facts.namespaces.iter().find(|netns| netns.settings.tw_recycle.is_some_and(|set| set != 0));
    if let Some(netns) = on {
        let what =
            "tcp_tw_recycle is on: this old kernel drops connections of clients behind one NAT at random.";
        let finding = Finding::new(ID, Severity::Critical, what.to_owned()).at(within(netns)).because(
            "tcp_tw_recycle",
            netns.settings.tw_recycle.unwrap_or_default(),
            "sysctl net.ipv4.tcp_tw_recycle",
        );
        let finding = finding.in_short_alone("tcp_tw_recycle is on".to_owned());
        return vec![finding.remedied([remedies::drop_tw_recycle(None)])];
    }
    let Some(line) = facts.dead_settings.iter().find(|line| line.name == NAME) else { return Vec::new() };
    let path = printable(&line.path).into_owned();
    let what = format!("{path} sets tcp_tw_recycle, which no kernel since 4.12 has: the line does nothing.");
    let finding = Finding::new(ID, Severity::Notice, what)
        .because("tcp_tw_recycle there", printable(&line.value).into_owned(), "sysctl.d(5)")
        .because("tcp_tw_recycle in this kernel", "none", "/proc/sys/net/ipv4");
    let finding = finding.in_short_alone(format!("{path} sets tcp_tw_recycle, which no kernel has any more"));
    vec![finding.remedied([remedies::drop_tw_recycle(Some(&path))])]
}
