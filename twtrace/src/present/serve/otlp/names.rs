//! Owns: what OpenTelemetry calls metrics and labels that have a name already.
//! Must not know: their values' meaning, how they are sent.
//!
//! What the semantic conventions have a name for is called by it; all else begins with `twtrace.`. A Prometheus that is told by OTLP makes the
//! names of a scrape of them again: dots become underscores, units and `_total` are appended.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::super::metrics::Family;
use super::attributes::{holds, number, text};

/// What a metric is called and counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) unit: &'static str,
    /// It is a sum that goes up and down, and not a reading of something.
    pub(super) is_sum: bool,
}

/// Subjects that have a namespace of their own.
const SUBJECTS: [&str; 9] =
    ["owner", "destination", "pool", "netns", "recording", "otlp", "ring", "http", "tls"];
/// Nouns and what is counted of them; a unit in braces is for people.
const COUNTED: [(&str, &str); 8] = [
    ("sockets", "{socket}"),
    ("ports", "{port}"),
    ("pools", "{pool}"),
    ("connections", "{connection}"),
    ("events", "{event}"),
    ("failures", "{failure}"),
    ("findings", "{finding}"),
    ("points", "{data_point}"),
];

/// `None` for what stands in the resource, or is of Prometheus alone.
pub(super) fn metric(family: &Family) -> Option<Named> {
    let sum = |name: &str, unit| Some(Named { name: name.to_owned(), unit, is_sum: true });
    match family.name {
        "twtrace_build_info" | "process_start_time_seconds" | "process_max_fds" => return None,
        "process_cpu_seconds" => return sum("process.cpu.time", "s"),
        "process_resident_memory_bytes" => return sum("process.memory.usage", "By"),
        "process_open_fds" => return sum("process.unix.file_descriptor.count", "{file_descriptor}"),
        _ => {}
    }
    let unit = family.unit();
    let bare = unit.and_then(|unit| family.name.strip_suffix(unit)?.strip_suffix('_')).unwrap_or(family.name);
    let bare = bare.strip_prefix("twtrace_").unwrap_or(bare);
    let dotted = match bare.split_once('_') {
        Some((subject, rest)) if SUBJECTS.contains(&subject) => format!("twtrace.{subject}.{rest}"),
        _ => format!("twtrace.{bare}"),
    };
    let counted = COUNTED.iter().find(|(noun, _)| bare.split('_').any(|word| word == *noun));
    let unit = match unit {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some(_) => "1",
        None => counted.map_or("{count}", |(_, unit)| unit),
    };
    Some(Named { name: dotted, unit, is_sum: false })
}

/// Labels whose value is `other` in the series of all that is not told apart, and in no other series.
const TELLING: [&str; 3] = ["role", "source", "netns"];
/// Labels that such a series does not have: who and where are many.
const OF_ONE: [&str; 10] = [
    "program",
    "unit",
    "container",
    "role",
    "destination",
    "source",
    "netns",
    "netns_name",
    "pod",
    "namespace",
];

/// A series' labels as attributes.
pub(super) fn attributes(labels: &[(&'static str, String)]) -> Vec<KeyValue> {
    let is_rest = labels.iter().any(|(label, value)| TELLING.contains(label) && value == "other");
    let mut all = Vec::with_capacity(labels.len() + 2);
    // What SDKs say of measurements beyond their limit of series.
    all.extend(is_rest.then(|| holds("otel.metric.overflow")));
    for (label, value) in labels {
        let is_of_one = is_rest && OF_ONE.contains(label);
        if !value.is_empty() && !is_of_one {
            put(label, value, &mut all);
        }
    }
    all
}

fn put(label: &str, value: &str, all: &mut Vec<KeyValue>) {
    let name = match label {
        "program" => "process.executable.name",
        "unit" => "systemd.unit.name",
        "errno" => "error.type",
        "state" => "network.connection.state",
        "source" => "source.address",
        "pod" => "k8s.pod.name",
        "namespace" => "k8s.namespace.name",
        "image" => "container.image.name",
        "container_name" => "container.name",
        "netns_name" => "twtrace.netns.name",
        "destination" => return destination(value, all),
        "container" => return container(value, all),
        "code" => {
            let code = value.parse().map(|code| number("http.response.status_code", code));
            return all.extend(code);
        }
        _ => return all.push(text(&format!("twtrace.{label}"), value)),
    };
    all.push(text(name, value));
}

/// `address:port` of a remote end, `:port` of a served one.
fn destination(value: &str, all: &mut Vec<KeyValue>) {
    if let Ok(at) = value.parse::<SocketAddr>() {
        all.push(text("destination.address", at.ip().to_string()));
        all.push(number("destination.port", at.port().into()));
        all.push(text("network.type", if at.is_ipv4() { "ipv4" } else { "ipv6" }));
    } else if let Some(port) = value.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()) {
        all.push(number("network.local.port", port.into()));
    } else {
        return all.push(text("twtrace.destination", value));
    }
    all.push(text("network.transport", "tcp"));
}

/// `runtime:id`.
fn container(value: &str, all: &mut Vec<KeyValue>) {
    let (runtime, id) = value.split_once(':').unwrap_or(("", value));
    all.extend((!runtime.is_empty()).then(|| text("container.runtime.name", runtime)));
    all.push(text("container.id", id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_called_what_becomes_its_name_again() {
        let of = |name| metric(&Family::gauge(name, "")).map(|named| (named.name, named.unit));
        for (name, want) in [
            ("twtrace_sockets_live", Some(("twtrace.sockets_live", "{socket}"))),
            ("twtrace_owner_sockets_ended", Some(("twtrace.owner.sockets_ended", "{socket}"))),
            ("twtrace_pool_used_ratio", Some(("twtrace.pool.used", "1"))),
            ("twtrace_pool_full_seconds", Some(("twtrace.pool.full", "s"))),
            ("twtrace_ring_size_bytes", Some(("twtrace.ring.size", "By"))),
            ("twtrace_limitation", Some(("twtrace.limitation", "{count}"))),
            ("process_cpu_seconds", Some(("process.cpu.time", "s"))),
            ("twtrace_build_info", None),
        ] {
            assert_eq!(of(name), want.map(|(name, unit)| (name.to_owned(), unit)), "{name}");
        }
    }

    fn of(labels: &[(&'static str, &str)]) -> Vec<KeyValue> {
        let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        attributes(&labels)
    }

    #[test]
    fn labels_have_the_names_of_the_conventions() {
        let owner = of(&[
            ("program", "nginx"),
            ("unit", ""),
            ("container", "docker:0123456789ab"),
            ("role", "client"),
            ("destination", "[2001:db8::1]:443"),
        ]);
        let want = [
            text("process.executable.name", "nginx"),
            text("container.runtime.name", "docker"),
            text("container.id", "0123456789ab"),
            text("twtrace.role", "client"),
            text("destination.address", "2001:db8::1"),
            number("destination.port", 443),
            text("network.type", "ipv6"),
            text("network.transport", "tcp"),
        ];
        assert_eq!(owner, want);
        let served = [number("network.local.port", 80), text("network.transport", "tcp")];
        assert_eq!(of(&[("destination", ":80")]), served);
        assert_eq!(of(&[("errno", "EADDRNOTAVAIL")]), [text("error.type", "EADDRNOTAVAIL")]);
        assert_eq!(of(&[("code", "200")]), [number("http.response.status_code", 200)]);
    }

    #[test]
    fn what_is_not_told_apart_is_told_as_overflow() {
        let rest = of(&[
            ("program", "other"),
            ("unit", "other"),
            ("container", "other"),
            ("role", "other"),
            ("reason", "expired"),
        ]);
        assert_eq!(rest, [holds("otel.metric.overflow"), text("twtrace.reason", "expired")]);
        // A program may be called so.
        let program = of(&[("program", "other"), ("role", "client")]);
        assert_eq!(program, [text("process.executable.name", "other"), text("twtrace.role", "client")]);
    }
}
