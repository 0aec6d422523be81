//! Recordings that are hard to read, in small: every reader ends, has all sums, and says what it does not tell apart.

mod hostile;

use std::collections::HashSet;
use std::io::Cursor;

use hostile::{Hostile, JUMP_NS, START_NS};
use twtrace::model::event::Conn;
use twtrace::model::filter::Filter;
use twtrace::present::report::{By, Options, Report};
use twtrace::recording::{Ended, Recording};

fn bytes(kind: Hostile, events: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    kind.write(events, &mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Recording {
    Recording::read(Cursor::new(bytes.to_vec()), "hostile").unwrap()
}

fn report(bytes: &[u8]) -> Report {
    let options = Options { by: By::ALL.to_vec(), ..Options::default() };
    twtrace::present::report::read(open(bytes), &options).unwrap()
}

/// What all rows of a table created.
fn created(report: &Report, by: By) -> u64 {
    report.table(by).unwrap().iter().map(|row| row.figures.counts.created).sum()
}

#[test]
fn what_is_not_told_apart_is_counted_and_said() {
    let events = 40_009;
    for (kind, crowded) in [
        (Hostile::Namespaces, &[By::Netns, By::Tuple][..]),
        (Hostile::Processes, &[By::Process]),
        (Hostile::Everything, &[By::Process, By::Peer, By::Tuple, By::Container, By::Netns]),
    ] {
        let report = report(&bytes(kind, events));
        assert_eq!(report.total.counts.created, u64::from(events), "{kind:?}");
        for by in By::ALL.iter().filter(|by| !matches!(by, By::Reason | By::Port)) {
            let rows = report.table(*by).unwrap();
            assert_eq!(created(&report, *by), u64::from(events), "{kind:?} {by:?}");
            let live: u64 = rows.iter().map(|row| row.figures.live).sum();
            assert_eq!(live, u64::from(events), "{kind:?} {by:?}");
            let folded = report.folded.rows.iter().find(|(of, _)| of == by).map(|(_, rows)| *rows);
            let want = crowded.contains(by).then(|| u64::from(events) - 16_384);
            assert_eq!((folded, rows.len() <= 16_385), (want, true), "{kind:?} {by:?}");
        }
        let said: Vec<String> = twtrace::present::report::view::summary(&report, &jiff::tz::TimeZone::UTC)
            .into_iter()
            .filter(|line| line.label == "WARNING")
            .map(|line| line.text)
            .collect();
        assert!(
            said.iter().any(|text| text.contains("a table has 16384 rows at most")),
            "{kind:?}: {said:?}"
        );
        let mut json = Vec::new();
        twtrace::present::report::json::line(&report, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["folded"]["rows"][crowded[0].word()], u64::from(events) - 16_384);
    }
}

/// Each namespace has its own pool, settings and shares: a look through all of them for each would take minutes.
#[test]
fn the_doctor_looks_at_many_namespaces_once() {
    let bytes = bytes(Hostile::Namespaces, 20_011);
    let (facts, passed) = twtrace::present::report::facts(open(&bytes), &Filter::default(), None).unwrap();
    assert_eq!(passed, 20_011);
    assert_eq!(facts.namespaces.len(), 8192);
    let said = facts.unknown.iter().find(|text| text.contains("network namespaces")).unwrap();
    assert_eq!(said, "11819 network namespaces in which less happened than in the others");
}

#[test]
fn owners_are_kept_of_what_is_listed_only() {
    let bytes = bytes(Hostile::Everything, 20_011);
    let listed: HashSet<Conn> =
        [3, 20_007].map(|n| Hostile::Everything.event(n, 20_011).conn.unwrap()).into();
    let mut owners = twtrace::present::list::Owners::default();
    assert_eq!(owners.learn("it", open(&bytes), &listed), None);
    assert_eq!(owners.len(), 2);
}

#[test]
fn a_clock_that_jumps_is_no_reason_to_turn_for_ever() {
    let bytes = bytes(Hostile::Clock, 1009);
    let report = report(&bytes);
    assert_eq!((report.total.counts.created, report.damaged.as_deref()), (1009, None));
    assert_eq!(report.ended_ns, START_NS + JUMP_NS + 1_008_000);
    assert!(report.timeline.moments.len() <= 1_000_000);
    assert!(matches!(open(&bytes).end(), Ended::Complete(_)));
    let (facts, _) = twtrace::present::report::facts(open(&bytes), &Filter::default(), None).unwrap();
    assert_eq!(facts.namespaces[0].created, 1009);
}
