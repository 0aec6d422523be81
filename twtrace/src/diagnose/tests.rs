//! Owns: how a known diagnosis reads, as text and as JSON.
//! Must not know: rules.

use super::diagnose;
use super::facts::{Netns, Ports, Share};
use super::rules::tests::{client, facts, full, netns, share, with_tuple};
use crate::output::paint::Paint;

#[test]
fn what_strangers_are_called_cannot_act_on_a_terminal() {
    let mut tuple = full(Ports { time_wait: 1000, ..Ports::default() }, 3);
    tuple.shares = vec![Share { time_wait: 1000, ..share(7, "\x1b[2J\u{202e}evil") }];
    tuple.shares[0].process.container = Some("docker:\x07".into());
    let facts = with_tuple(tuple);
    let text = super::text::report(&facts, &diagnose(&facts), Paint::NONE);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    assert!(text.contains(r"\x1b[2J\u{202e}evil (pid 7)"), "{text}");
}

/// `TWTRACE_BLESS=1` writes the picture anew: then read the difference.
#[test]
fn a_diagnosis_reads_as_it_should() {
    let mut tracker =
        Netns { reset: 13, concerned: vec![Share { lost: 13, reset: 13, ..client() }], ..netns() };
    tracker.tuples = vec![full(Ports { time_wait: 1000, ..Ports::default() }, 13)];
    tracker.tuples[0].shares[0].failed = 13;
    tracker.enter = "nsenter -t 97 -n ".into();
    let mut facts = facts(tracker);
    facts.unknown.push("the end of the recording: it ends within a message".into());
    let text = super::text::report(&facts, &diagnose(&facts), Paint::NONE);
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
        assert_eq!(line, line.trim_end());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/diagnose/testdata/report.txt");
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(text, include_str!("testdata/report.txt"));
}

#[test]
fn json_has_the_names_and_the_worst_severity() {
    let facts = with_tuple(full(Ports { time_wait: 1000, ..Ports::default() }, 13));
    let mut line = Vec::new();
    super::json::line(&facts, &diagnose(&facts), &mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&json["severity"], &json["source"], &json["lost"]),
        (&"critical".into(), &"live".into(), &0.into())
    );
    let finding = &json["findings"][0];
    assert_eq!(finding["id"], "ports_exhausted");
    assert_eq!((&finding["daddr"], &finding["dport"]), (&"10.0.0.9".into(), &5432.into()));
    assert_eq!(finding["remedies"][0]["id"], "keep_alive");
    assert_eq!(finding["remedies"][0]["holds"], "yes");
    assert_eq!(finding["remedies"][0]["effects"][0]["unit"], "requests/s");
    assert_eq!(json["facts"]["namespaces"][0]["tuples"][0]["peak"]["time_wait"], 1000);
}

#[test]
fn what_one_program_does_everywhere_is_one_finding_and_many_of_a_kind_are_counted() {
    let pool = |dport, comm: &str, failed| {
        let mut tuple = full(Ports { time_wait: 1000, ..Ports::default() }, failed);
        tuple.shares = vec![Share { time_wait: 1000, ..share(u32::from(dport), comm) }];
        tuple.dport = dport;
        tuple
    };
    let tuples = (1..=40).map(|dport| pool(dport, "php-fpm", 13)).collect();
    let findings = diagnose(&facts(Netns { tuples, ..netns() }));
    assert_eq!((findings.len(), findings[0].alike), (1, 39));
    assert!(findings[0].what.ends_with(" And 39 more like it."), "{}", findings[0].what);
    let tuples = (1..=11).map(|dport| pool(dport, &format!("app{dport}"), 13)).collect();
    let findings = diagnose(&facts(Netns { tuples, ..netns() }));
    let alike: Vec<u64> = findings.iter().map(|finding| finding.alike).collect();
    assert_eq!(alike, [0, 0, 0, 0, 6]);
}
