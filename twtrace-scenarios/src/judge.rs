//! Owns: comparing what was told with what a scenario says must be told: each expected event is there with all its
//! fields right, and nothing else is.
//! Must not know: how either came about.

use serde_json::Value;

use crate::expect::{Cookie, Pattern};
use crate::schema::{Event, incoherent, text};

/// The sentence of a scenario: reasons why it failed, none where it did not. `events` are those of its namespaces.
pub(crate) fn judge(events: &[Event], expected: &[Pattern], cookies: &[Cookie]) -> Vec<String> {
    let mut left: Vec<&Event> = events.iter().collect();
    let mut missing: Vec<&Pattern> = Vec::new();
    for pattern in expected {
        for _ in 0..pattern.count {
            match left.iter().position(|event| pattern.disagreements(event).is_empty()) {
                Some(found) => drop(left.remove(found)),
                None => missing.push(pattern),
            }
        }
    }
    let mut reasons = misses(&missing, &mut left);
    left.retain(|event| !in_its_own_time(event, expected));
    reasons.extend(left.into_iter().map(|event| format!("nobody did this: {}", text(event))));
    reasons.extend(incoherent(events));
    reasons.extend(wrong_cookies(events, cookies));
    reasons
}

/// Each event that is missing, beside the one that comes nearest to it.
fn misses(missing: &[&Pattern], left: &mut Vec<&Event>) -> Vec<String> {
    let mut reasons = Vec::new();
    for pattern in missing {
        let same_kind = left
            .iter()
            .enumerate()
            .filter(|(_, event)| event.get("event").and_then(Value::as_str) == Some(pattern.kind()));
        let nearest =
            same_kind.map(|(at, event)| (pattern.disagreements(event), at)).min_by_key(|(d, _)| d.len());
        // More than half wrong is another event.
        match nearest.filter(|(wrong, _)| wrong.len() * 2 < pattern.wants.len()) {
            Some((wrong, at)) => {
                let event = left.remove(at);
                reasons.push(format!("told wrong: {} in {}", wrong.join("; "), text(event)));
            }
            None => reasons.push(format!("not told: {}", describe(pattern))),
        }
    }
    reasons
}

fn describe(pattern: &Pattern) -> String {
    let wants: Vec<String> = pattern.wants.iter().map(|(key, want)| format!("{key} {want}")).collect();
    wants.join(", ")
}

/// On a slow machine the sockets of an early scenario reach the end of their time before the last one is over. Such an
/// end is no surprise, if the socket was expected and had all its time.
fn in_its_own_time(event: &Event, expected: &[Pattern]) -> bool {
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let is = |key: &str, word: &str| event.get(key).and_then(Value::as_str) == Some(word);
    let connection = ["netns", "saddr", "sport", "daddr", "dport"];
    is("event", "ended")
        && is("reason", "expired")
        && number("lifetime_ms").is_some_and(|lived| lived >= crate::expect::TIMEWAIT_MS)
        && expected.iter().any(|pattern| {
            let agrees =
                |key: &&str| pattern.wants.get(*key).is_some_and(|want| want.allows(event.get(*key)));
            pattern.kind() == "created" && connection.iter().all(agrees)
        })
}

/// A cookie is the one that `ss` shows for the same socket.
fn wrong_cookies(events: &[Event], cookies: &[Cookie]) -> Vec<String> {
    let mut reasons = Vec::new();
    for cookie in cookies {
        let is = |event: &Event, key: &str, value: Value| event.get(key) == Some(&value);
        let last = events.iter().rev().find(|event| {
            is(event, "event", "created".into())
                && is(event, "netns", cookie.netns.into())
                && is(event, "saddr", cookie.local.ip().to_string().into())
                && is(event, "sport", cookie.local.port().into())
                && is(event, "daddr", cookie.peer.ip().to_string().into())
                && is(event, "dport", cookie.peer.port().into())
        });
        if let Some(event) = last
            && event.get("cookie").is_some_and(|told| told.as_u64() != Some(cookie.cookie))
        {
            reasons.push(format!("ss shows sk:{:x} for {}", cookie.cookie, text(event)));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expect::Want;

    fn event(value: Value) -> Event {
        value.as_object().cloned().expect("an object")
    }

    fn expected() -> Vec<Pattern> {
        let pattern = Pattern::new("created", 3).is("sport", 7).is("pid", 11).is("uid", 0);
        vec![pattern.want("opener_pid", Want::Absent).times(2)]
    }

    fn good() -> Event {
        event(json!({"event": "created", "netns": 3, "sport": 7, "pid": 11, "uid": 0}))
    }

    #[test]
    fn all_told_and_nothing_else_is_right() {
        let other =
            event(json!({"event": "created", "netns": 3, "sport": 7, "pid": 11, "uid": 0, "dport": 9}));
        assert_eq!(judge(&[good(), other], &expected(), &[]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_wrong_and_a_surplus_event_are_each_a_reason() {
        let reasons = |events: &[Event]| judge(events, &expected(), &[]).join("\n");
        assert!(reasons(&[good()]).contains("not told"));
        let wrong =
            event(json!({"event": "created", "netns": 3, "sport": 7, "pid": 13, "uid": 0, "dport": 9}));
        assert!(reasons(&[good(), wrong]).contains("pid: wanted 11, told 13"));
        let more = |dport: u16| {
            let mut event = good();
            event.insert("dport".to_owned(), dport.into());
            event
        };
        assert!(reasons(&[more(1), more(2), more(3)]).contains("nobody did this"));
    }

    #[test]
    fn only_a_full_life_may_end_unannounced() {
        let connection = |event: Value| {
            let mut event = event;
            for (key, value) in
                [("saddr", json!("a")), ("sport", json!(1)), ("daddr", json!("b")), ("dport", json!(2))]
            {
                event[key] = value;
            }
            event
        };
        let created = connection(json!({"event": "created", "netns": 3, "mono_ns": 0}));
        let mut pattern = Pattern::new("created", 3);
        for key in ["saddr", "sport", "daddr", "dport"] {
            pattern = pattern.is(key, created[key].clone());
        }
        let judge_after = |ms: u64| {
            let ended = json!({"event": "ended", "netns": 3, "reason": "expired", "lifetime_ms": ms,
                "mono_ns": ms * 1_000_000});
            let events = [event(created.clone()), event(connection(ended))];
            judge(&events, std::slice::from_ref(&pattern), &[])
        };
        assert_eq!(judge_after(60_000), Vec::<String>::new());
        assert_eq!(judge_after(59_000).len(), 1);
    }
}
