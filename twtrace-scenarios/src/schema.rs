//! Owns: the shape of an event line, as the interface promises it to every program that reads one: which keys each
//! kind has, of which type, and what must hold between them.
//! Must not know: what happened, and so which values are right.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// An event as it was told.
pub(crate) type Event = Map<String, Value>;

const CONNECTION: &[&str] = &["netns", "family", "saddr", "sport", "daddr", "dport"];
const OWNER: &[&str] = &["pid", "tid", "comm", "uid"];
const RESOLVED: &[&str] = &["cgroup_id", "exe", "cgroup", "container"];
const OPENER: &[&str] = &["opener_pid", "opener_comm"];
const BYTES: &[&str] = &["bytes_sent", "bytes_received"];
const RANGE: &[&str] = &["range_low", "range_high"];
const STRINGS: &[&str] = &[
    "event",
    "time",
    "family",
    "saddr",
    "daddr",
    "role",
    "substate",
    "comm",
    "exe",
    "cgroup",
    "container",
    "owner_via",
    "opener_comm",
    "reason",
    "errno",
    "what",
    "why",
    "remedy",
    "port_via",
];
const WORDS: &[(&str, &[&str])] = &[
    ("family", &["ipv4", "ipv6"]),
    ("role", &["client", "server", "unknown"]),
    ("substate", &["TIME_WAIT", "FIN_WAIT2"]),
    ("owner_via", &["close", "shutdown", "exit", "opener", "none"]),
    (
        "reason",
        &["expired", "reused_outgoing", "reused_incoming", "reset", "killed", "purged", "missed", "unknown"],
    ),
    ("errno", &["EADDRNOTAVAIL", "EADDRINUSE", "ECONNREFUSED", "EACCES"]),
    ("port_via", &["connect", "bind_any", "bind", "accept"]),
];

struct Shape {
    /// Keys that each event of the kind has.
    always: &'static [&'static str],
    /// Keys that it may have besides place, owner and what is resolved from the owner.
    sometimes: &'static [&'static [&'static str]],
}

fn shape(kind: &str) -> Option<Shape> {
    let (always, sometimes): (&[&str], &[&[&str]]) = match kind {
        "created" => (
            &["role", "substate", "timeout_ms", "owner_via"],
            &[OPENER, BYTES, &["cookie", "port_via"], &["age_ms"]],
        ),
        // Where the creation was lost, not even that there was no owner is known.
        "ended" => {
            (&["role", "substate", "reason"], &[OPENER, &["owner_via"], &["cookie"], &["lifetime_ms"]])
        }
        "listed" => {
            (&["role", "substate", "timeout_ms", "owner_via"], &[OPENER, &["cookie"], &["lifetime_ms"]])
        }
        "aborted" => (&["role", "owner_via", "why"], &[BYTES, &["cookie"], &["port_via"]]),
        "syn_refused" => (&["substate"], &[&["cookie"]]),
        "overflow" => (&["role", "owner_via"], &[OPENER, BYTES, &["age_ms", "port_via"]]),
        "connect_failed" => (&["errno", "pid"], &[&["port_via"], RANGE]),
        "bind_failed" => (&["errno", "pid"], &[&["port_via", "reuseaddr"], RANGE]),
        _ => return None,
    };
    Some(Shape { always, sometimes })
}

/// Reads one line of `events --json`.
pub(crate) fn parse(line: &str) -> Result<Event> {
    if line.chars().any(char::is_control) {
        bail!("a raw control character in {line:?}");
    }
    let event: Event = serde_json::from_str(line).with_context(|| format!("not a JSON object: {line:?}"))?;
    let faults = faults(&event);
    if !faults.is_empty() {
        bail!("{} in {line}", faults.join(", "));
    }
    Ok(event)
}

fn faults(event: &Event) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, value) in event {
        let is_flag = key == "reuseaddr";
        if STRINGS.contains(&key.as_str()) != value.is_string()
            || is_flag != value.is_boolean()
            || !(value.is_string() || value.is_u64() || is_flag)
        {
            faults.push(format!("{key} of the wrong type"));
        }
    }
    for (key, words) in WORDS {
        if event.get(*key).and_then(Value::as_str).is_some_and(|word| !words.contains(&word)) {
            faults.push(format!("{key} is no known word"));
        }
    }
    if !event.get("time").and_then(Value::as_str).is_some_and(is_time) {
        faults.push("time is not RFC 3339 in UTC with nanoseconds".to_owned());
    }
    let kind = event.get("event").and_then(Value::as_str).unwrap_or_default();
    let mut need = vec!["schema_version", "mono_ns"];
    if kind == "lost" {
        need.push("count");
    } else if kind == "limitation" {
        need.extend(["what", "why", "remedy"]);
    } else if let Some(shape) = shape(kind) {
        need.extend(CONNECTION);
        need.extend(shape.always);
        let may = [&["event", "time"], OWNER, RESOLVED].into_iter().chain(shape.sometimes.iter().copied());
        let known: Vec<&str> = may.flatten().copied().chain(need.iter().copied()).collect();
        let strangers = event.keys().filter(|key| !known.contains(&key.as_str()));
        faults.extend(strangers.map(|key| format!("{kind} has no key {key}")));
        faults.extend(halves(event, &[OWNER, OPENER, BYTES]));
    } else {
        faults.push(format!("no such event: {kind:?}"));
    }
    faults.extend(need.into_iter().filter(|key| !event.contains_key(*key)).map(|key| format!("no {key}")));
    faults
}

/// Keys that come together or not at all.
fn halves(event: &Event, groups: &[&[&str]]) -> Vec<String> {
    let split = |group: &&&[&str]| {
        let there = group.iter().filter(|key| event.contains_key(**key)).count();
        there != 0 && there != group.len()
    };
    groups.iter().filter(split).map(|group| format!("only some of {group:?}")).collect()
}

fn is_time(text: &str) -> bool {
    let nanoseconds = text.strip_suffix('Z').and_then(|rest| rest.split_once('.')).map(|(_, digits)| digits);
    nanoseconds.is_some_and(|digits| digits.len() == 9) && text.parse::<jiff::Timestamp>().is_ok()
}

/// What must hold between an end and its creation, for all sockets of these events: the same owner, the same cookie,
/// and a lifetime that is the difference of their times.
pub(crate) fn incoherent(events: &[Event]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut alive: BTreeMap<String, &Event> = BTreeMap::new();
    for event in events {
        let connection: String = CONNECTION.iter().map(|key| format!("{:?} ", event.get(*key))).collect();
        match event.get("event").and_then(Value::as_str) {
            Some("created") if alive.insert(connection.clone(), event).is_some() => {
                faults.push(format!("created twice without an end: {}", text(event)));
            }
            // Without its creation: it was there before, or a filter kept the creation back.
            Some("ended") => {
                faults.extend(alive.remove(&connection).and_then(|created| disagree(created, event)))
            }
            _ => {}
        }
    }
    faults
}

fn disagree(created: &Event, ended: &Event) -> Option<String> {
    let same = ["pid", "tid", "comm", "uid", "owner_via", "role", "opener_pid", "opener_comm"];
    let mut wrong: Vec<&str> = same.into_iter().filter(|key| created.get(*key) != ended.get(*key)).collect();
    if created.contains_key("cookie") && created.get("cookie") != ended.get("cookie") {
        wrong.push("cookie");
    }
    let mono = |event: &Event| event.get("mono_ns").and_then(Value::as_u64).unwrap_or_default();
    let lived_ms = mono(ended).saturating_sub(mono(created)) / 1_000_000;
    if ended.get("lifetime_ms").and_then(Value::as_u64) != Some(lived_ms) {
        wrong.push("lifetime_ms");
    }
    let (created, ended) = (text(created), text(ended));
    (!wrong.is_empty()).then(|| format!("{} differ between {created} and {ended}", wrong.join(", ")))
}

/// An event as one line.
pub(crate) fn text(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = r#"{"event":"ended","schema_version":1,"time":"2024-01-01T00:00:00.000000001Z","mono_ns":5,"netns":7,
        "family":"ipv4","saddr":"127.0.0.1","sport":1,"daddr":"127.0.0.1","dport":2,"role":"client",
        "substate":"TIME_WAIT","reason":"reset","owner_via":"none"}"#;

    fn line(from: &str, to: &str) -> String {
        ENDED.replace('\n', "").replace("  ", "").replace(from, to)
    }

    #[test]
    fn a_whole_event_is_accepted() {
        assert!(parse(&line("", "")).is_ok());
    }

    #[test]
    fn each_fault_is_found() {
        for (from, to) in [
            ("\"sport\":1,", ""),
            ("\"schema_version\":1,", ""),
            ("\"sport\":1,", "\"sport\":\"1\","),
            ("\"sport\":1,", "\"sport\":null,"),
            ("\"reset\"", "\"bored\""),
            ("\"sport\":1,", "\"sport\":1,\"port\":1,"),
            ("\"sport\":1,", "\"sport\":1,\"pid\":1,"),
            (".000000001Z", "Z"),
            ("reset", "res\u{1b}et"),
        ] {
            assert!(parse(&line(from, to)).is_err(), "{from} -> {to}");
        }
    }
}
