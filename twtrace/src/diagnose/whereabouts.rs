//! Owns: where a setting is to be changed: the command that acts on the network namespace in question, or what stands in its place
//! where no command can.
//! Must not know: rules, remedies.

use super::facts::{Facts, Netns, Process, Source};
use super::finding::{Finding, Remedy};
use crate::model::escape::printable;

/// Settings of a network namespace that a pod may set by itself (Kubernetes 1.29, "safe sysctls"); others the node must allow.
const SAFE_IN_PODS: &[&str] = &["ip_local_port_range", "ip_local_reserved_ports", "tcp_fin_timeout"];

/// Puts each command where it acts: a recording's are for another machine, those for containers are given to whoever makes them.
pub(super) fn settle(facts: &Facts, findings: &mut [Finding]) {
    for finding in findings {
        let netns = facts.namespaces.iter().find(|netns| Some(netns.netns) == finding.subject.netns);
        let container = finding.who.iter().find_map(|share| container_of(&share.process));
        for remedy in &mut finding.remedies {
            address(facts, netns, container.as_deref(), remedy);
        }
    }
}

fn container_of(process: &Process) -> Option<String> {
    process.container.as_deref().map(|container| printable(container).into_owned())
}

fn address(facts: &Facts, netns: Option<&Netns>, container: Option<&str>, remedy: &mut Remedy) {
    let Some(command) = &remedy.command else { return };
    let Some((_, setting)) = command.split_once("sysctl -w ") else { return };
    let setting = setting.to_owned();
    let instead = match (facts.source, facts.is_read_only, netns) {
        (Source::Recording | Source::Replay, _, netns) => on_another_machine(netns, &setting),
        // A view knows no way into a namespace, nor whether it is its own.
        (Source::View, _, netns) => seen_from_afar(netns, &setting),
        (_, true, _) => for_containers(&setting),
        (_, _, Some(netns)) if netns.is_closed => {
            format!("in network namespace {}: `sysctl -w {setting}` (no way into it was found)", named(netns))
        }
        _ => {
            if let Some(container) = container {
                let text =
                    format!("for good, where container {container} is made: {}", for_containers(&setting));
                remedy.change.get_or_insert(text);
            }
            return;
        }
    };
    remedy.command = None;
    remedy.change = Some(match remedy.change.take() {
        Some(change) => format!("{change}; {instead}"),
        None => instead,
    });
}

fn named(netns: &Netns) -> String {
    match &netns.name {
        Some(name) => format!("{} ({})", netns.netns, printable(name)),
        None => netns.netns.to_string(),
    }
}

/// Where a setting is to be changed, and who knows how to get there.
fn seen_from_afar(netns: Option<&Netns>, setting: &str) -> String {
    let within = netns.map_or_else(String::new, |netns| format!("in network namespace {}: ", named(netns)));
    format!("{within}`sysctl -w {setting}`; `twtrace doctor` prints the command that acts there")
}

/// No command is printed that would change the machine of whoever reads a recording.
fn on_another_machine(netns: Option<&Netns>, setting: &str) -> String {
    let within = netns.map_or_else(String::new, |netns| format!(", in network namespace {}", named(netns)));
    format!("on the machine that was recorded{within}: `sysctl -w {setting}`")
}

/// Where `/proc/sys` cannot be written: whoever makes the container sets it.
fn for_containers(setting: &str) -> String {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let value = value.trim_matches('"');
    let short = name.strip_prefix("net.ipv4.").unwrap_or(name);
    let pods = if SAFE_IN_PODS.contains(&short) {
        "a safe one".to_owned()
    } else {
        format!("not a safe one: the node must allow it, kubelet --allowed-unsafe-sysctls={name}")
    };
    format!(
        "`docker run --sysctl {name}=\"{value}\"`, the same with podman; Kubernetes: spec.securityContext.sysctls, name {name}, value \
         \"{value}\" ({pods}); systemd: `{name} = {value}` in /etc/sysctl.d of the host, or in a unit with PrivateNetwork=yes an \
         ExecStartPre=+ with sysctl -w"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::diagnose::facts::Ports;
    use crate::diagnose::rules::tests::{facts, full, netns};

    fn namespace() -> Netns {
        Netns { tuples: vec![full(Ports { time_wait: 1000, ..Ports::default() }, 13)], ..netns() }
    }

    fn remedy(facts: &Facts, id: &str) -> Remedy {
        let findings = diagnose(facts);
        findings[0].remedies.iter().find(|remedy| remedy.id == id).cloned().unwrap()
    }

    #[test]
    fn a_recording_changes_no_machine_of_its_readers() {
        let told =
            Facts { source: Source::Recording, ..facts(Netns { name: Some("blue".into()), ..namespace() }) };
        for finding in diagnose(&told) {
            assert!(finding.remedies.iter().all(|remedy| remedy.command.is_none()), "{finding:?}");
        }
        let change = remedy(&told, "tw_reuse").change.unwrap();
        assert!(
            change.starts_with("on the machine that was recorded, in network namespace 4026531840 (blue)")
        );
        assert!(change.contains("`sysctl -w net.ipv4.tcp_tw_reuse=1`"), "{change}");
    }

    #[test]
    fn a_command_acts_on_the_namespace_or_is_not_printed() {
        let inside = Netns { enter: "nsenter -t 97 -n ".into(), ..namespace() };
        let command = remedy(&facts(inside), "tw_reuse").command;
        assert_eq!(command.as_deref(), Some("nsenter -t 97 -n sysctl -w net.ipv4.tcp_tw_reuse=1"));
        let closed = remedy(&facts(Netns { is_closed: true, ..namespace() }), "tw_reuse");
        assert!(closed.command.is_none() && closed.change.unwrap().contains("no way into it was found"));
    }

    #[test]
    fn what_is_set_outside_does_not_hold_inside() {
        let inside = Netns { outside_tw_reuse: Some(1), enter: "nsenter -t 97 -n ".into(), ..namespace() };
        let because = remedy(&facts(inside), "tw_reuse").because;
        assert!(
            because.ends_with("outside it is 1, in this network namespace 2: they do not inherit"),
            "{because}"
        );
        assert!(!remedy(&facts(namespace()), "tw_reuse").because.contains("inherit"));
    }

    #[test]
    fn where_settings_are_read_only_the_form_for_containers_stands_there() {
        let told = Facts { is_read_only: true, ..facts(namespace()) };
        let reuse = remedy(&told, "tw_reuse");
        let change = reuse.change.unwrap();
        assert!(
            reuse.command.is_none() && change.contains("docker run --sysctl net.ipv4.tcp_tw_reuse=\"1\"")
        );
        assert!(change.contains("--allowed-unsafe-sysctls=net.ipv4.tcp_tw_reuse"), "{change}");
        let range = remedy(&told, "port_range").change.unwrap();
        assert!(range.contains("value \"1024 65535\" (a safe one)"), "{range}");
    }
}
