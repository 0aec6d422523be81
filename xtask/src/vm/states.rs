//! The states that guests are booted in: what is mounted, what their kernel denies.
//!
//! Owns: what each state is called, how it is made, where it is tested and with which scenarios.
//! Must not know: how a guest boots, what a scenario does.

use super::version;
use crate::arch::Arch;

/// A state of a machine.
pub(super) struct State {
    pub(super) name: &'static str,
    /// Parameters of the kernel.
    pub(super) parameters: &'static str,
    /// What guest-init makes of the machine: words of `twtrace.state`.
    pub(super) made: &'static [&'static str],
    /// On which series of kernels all tests include it; all, where none is named.
    series: &'static [&'static str],
    /// With which backends; all, where none is named.
    pub(super) backends: &'static [&'static str],
    /// Which scenarios; all, where none is named.
    pub(super) scenarios: &'static [&'static str],
}

/// The state of every usual machine.
pub(super) const PLAIN: &str = "plain";

/// What must be told in whatever state, also without cgroup v2: each kind of event, each way to an owner, and what hangs on the hooks that need tracefs.
const CORE: &[&str] = &[
    "client_closes_first",
    "server_closes_first",
    "killed_process",
    "prefork_server",
    "passed_descriptor",
    "closed_by_the_kernel",
    "another_user",
    "cookie_from_before",
    "ipv6",
    "fin_wait2_expires",
    "data_in_fin_wait2",
    "reused_by_syn",
    "overflow",
    "ports_exhausted",
    "tuple_taken",
    "bind_in_use",
    "listen_in_use",
    "bound_ports_exhausted",
    "time_wait_before_start",
    "established_before_start",
    "filters_by_kind",
    "list_knows_owners",
];

/// What is played on arm64, where every instruction is emulated; docs/arm64.md says how it went.
const ON_ARM64: &[&str] = &[
    "bind_in_use",
    "client_closes_first",
    "exiting_process",
    "fin_wait2_expires",
    "fin_wait2_gets_its_fin",
    "forged_key",
    "ipv6",
    "killed_by_ss",
    "killed_process",
    "linger_zero",
    "namespace_deleted",
    "overflow",
    "passed_descriptor",
    "ports_exhausted",
    "reused_by_connect",
    "reused_by_syn",
    "rst_in_fin_wait2",
    "rst_in_time_wait",
    "server_closes_first",
    "time_wait_before_start",
];

/// All of them, those that take longest first.
pub(super) const STATES: [State; 8] = [
    State { name: PLAIN, parameters: "", made: &[], series: &[], backends: &[], scenarios: &[] },
    State {
        name: "no-tracefs",
        parameters: "",
        made: &["no_tracefs"],
        series: &[],
        // The others' hooks have no need of it.
        backends: &["tracepoint"],
        scenarios: CORE,
    },
    State {
        name: "cgroup-v1",
        parameters: "",
        made: &["cgroup_v1"],
        series: &["5.10"],
        backends: &["auto"],
        scenarios: CORE,
    },
    State {
        name: "cgroup-hybrid",
        parameters: "",
        made: &["cgroup_hybrid", "no_tracefs"],
        series: &["6.1"],
        backends: &["auto"],
        scenarios: &[
            "client_closes_first",
            "filters_by_process",
            "filters_by_address",
            "record_command",
            "list_knows_owners",
        ],
    },
    State {
        name: "kptr-restrict",
        parameters: "",
        made: &["kptr_restrict"],
        series: &["7.x"],
        backends: &["auto", "tracepoint"],
        scenarios: &["hidden_addresses", "list_equals_ss"],
    },
    State {
        name: "lockdown-integrity",
        parameters: "lockdown=integrity",
        made: &[],
        series: &["6.12"],
        backends: &["auto"],
        scenarios: &[
            "not_denied_by_integrity",
            "client_closes_first",
            "reused_by_syn",
            "overflow",
            "list_knows_owners",
        ],
    },
    State {
        name: "lockdown-confidentiality",
        parameters: "lockdown=confidentiality",
        made: &[],
        series: &["6.12"],
        backends: &["auto"],
        scenarios: &["denied_by_confidentiality", "list_equals_ss"],
    },
    State {
        name: "no-btf",
        parameters: "",
        made: &["no_btf"],
        series: &["6.1"],
        backends: &["auto"],
        scenarios: &["denied_without_btf", "list_equals_ss"],
    },
];

/// The state of that name.
pub(super) fn named(name: &str) -> Option<&'static State> {
    STATES.iter().find(|state| state.name == name)
}

impl State {
    /// Which scenarios are played where none is named; all, where the list is empty.
    pub(super) fn scenarios_on(&self, arch: Arch) -> &'static [&'static str] {
        match arch {
            Arch::Arm64 if self.scenarios.is_empty() => ON_ARM64,
            _ => self.scenarios,
        }
    }

    /// Whether all tests include it on a kernel of this series or version.
    pub(super) fn is_tested_on(&self, label: &str) -> bool {
        self.series.is_empty()
            || self.series.iter().any(|series| *series == label || version::belongs(label, series))
    }

    /// Whether tracefs is mounted in it.
    pub(super) fn has_tracefs(&self) -> bool {
        !self.made.contains(&"no_tracefs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_tested_with_and_without_tracefs_and_each_layout_of_cgroups_somewhere() {
        for series in ["5.10", "6.1", "6.12", "7.x"] {
            let states = || STATES.iter().filter(|state| state.is_tested_on(series));
            assert!(
                states().any(State::has_tracefs) && states().any(|state| !state.has_tracefs()),
                "{series}"
            );
        }
        for made in ["cgroup_v1", "cgroup_hybrid"] {
            assert!(STATES.iter().any(|state| state.made.contains(&made)), "{made}");
        }
        assert!(
            named("lockdown-integrity")
                .is_some_and(|state| state.is_tested_on("6.12") && !state.is_tested_on("6.1"))
        );
    }
}
