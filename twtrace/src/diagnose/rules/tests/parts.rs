//! Owns: what is said where a filter left a part of the sockets out before anything was counted.
//! Must not know: how facts are come by.

use super::*;
use crate::diagnose::facts::{Aborted, Pile, Side};
use crate::diagnose::of_others;
use crate::host::net::counters::Counters;
use crate::model::filter::Omissions;

/// As if these facts were what `--comm checkout-api` left.
fn part(facts: Facts) -> Facts {
    left(facts, &["--comm checkout-api", "--netns 7"])
}

/// As if these facts were what these flags left.
fn left(mut facts: Facts, flags: &[&str]) -> Facts {
    facts.count_a_part(Omissions::of(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()));
    facts
}

fn effects(finding: &Finding, id: &str) -> Vec<&'static str> {
    let remedy = finding.remedies.iter().find(|remedy| remedy.id == id).unwrap();
    remedy.effects.iter().map(|effect| effect.what).collect()
}

#[test]
fn nothing_is_foreseen_by_the_rate_of_some() {
    let busy = || with_tuple(full(Ports { time_wait: 900, ..Ports::default() }, 0));
    let whole = only(&busy());
    assert!(
        whole.what.contains("at this rate") && effects(&whole, "keep_alive").contains(&"peak in TIME_WAIT")
    );
    let some = only(&part(busy()));
    assert!(!some.what.contains("at this rate"), "{}", some.what);
    assert_eq!((some.id, effects(&some, "keep_alive")), ("ports_running_out", vec!["limit"]));
    let unknown = part(busy()).unknown;
    assert!(
        unknown.iter().any(|what| what.starts_with("what --comm checkout-api leaves out:")),
        "{unknown:?}"
    );
    // A pool that is picked is whole.
    let scoped = left(busy(), &["--netns 7", "--dport 80", "--port 443"]);
    assert_eq!(only(&scoped), whole);
    // That none is left needs no rate.
    let none = with_tuple(Tuple { created: 900, ..full(Ports { time_wait: 1000, ..Ports::default() }, 0) });
    assert_eq!(only(&part(none.clone())).severity, Severity::Critical);
    assert!(only(&part(none)).what.contains("run out now"));
    let few = Ports { time_wait: 300, ..Ports::default() };
    let early = only(&part(with_tuple(Tuple { created: 600, now: few, peak: few, ..full(few, 0) })));
    assert!(early.what.contains("at a rate that is not known as a whole; 300 of 1,000"), "{}", early.what);
}

#[test]
fn whoever_was_left_out_may_be_who_was_not_seen() {
    let unknown = Share { time_wait: 55, ..Share::default() };
    let held = Ports { time_wait: 1000, ..Ports::default() };
    let told = only(&part(with_tuple(Tuple { shares: vec![unknown, client()], ..full(held, 13) }))).what;
    let want = "by checkout-api (pid 97) (400), and a process that twtrace did not see, or that --comm checkout-api leaves out (55)";
    assert!(told.contains(want), "{told}");
}

#[test]
fn what_the_kernel_counted_of_all_is_not_told_of_some() {
    let counters = Counters { abort_on_data: Some(31), abort_on_close: Some(0), ..Counters::default() };
    let netns = |linger| {
        let aborted = Aborted { process: share(7, "probe").process, linger, unread_data: 0, other: 0 };
        facts(Netns { aborted: vec![aborted], counters: Some(counters), ..netns() })
    };
    let finding = only(&part(netns(13)));
    assert!(finding.what.starts_with("13 closes ended in an RST"), "{}", finding.what);
    assert_eq!((ids(&netns(3)), ids(&part(netns(3)))), (vec!["closes_aborted"], vec!["nothing_wrong"]));
    assert_eq!(ids(&left(netns(3), &["--dport 80"])), ["nothing_wrong"]);
}

#[test]
fn a_table_gets_no_size_by_the_rate_of_some() {
    let mut full = Netns { overflow: 200, concerned: vec![client()], ..netns() };
    full.settings.max_tw_buckets = Some(400);
    let finding = only(&part(facts(full)));
    let remedy = finding.remedies.iter().find(|remedy| remedy.id == "max_tw_buckets").unwrap();
    assert_eq!((remedy.holds, &remedy.command), (Holds::Unknown, &None));
    assert!(effects(&finding, "keep_alive").is_empty());
}

#[test]
fn findings_of_others_are_left_out_and_counted() {
    let side = Side::On(8080);
    let pile = |comm: &str| {
        let shares = vec![share(11, comm)];
        Pile { state: State::CloseWait, side, count: 101, longest_ms: 5000, shares }
    };
    let about = |comm: &str, piles: &[Pile]| {
        let mut facts = facts(Netns { piles: piles.to_vec(), ..netns() });
        facts.about.comms = vec![comm.into()];
        (only(&facts), of_others(&facts))
    };
    let (told, others) = about("job", &[pile("job")]);
    assert_eq!((told.id, others), ("close_wait_pileup", 0));
    let (calm, others) = about("web", &[pile("job")]);
    assert_eq!((calm.id, others), ("nothing_wrong", 1));
    assert!(calm.what.starts_with("Nothing wrong with what --comm web asks about."), "{}", calm.what);
    assert_eq!(of_others(&facts(Netns { piles: vec![pile("job")], ..netns() })), 0);
    let mut lossy = Facts { lost: 7, ..facts(netns()) };
    lossy.about.comms = vec!["web".into()];
    assert!(only(&lossy).what.contains("7 events were lost"));
}

#[test]
fn whoever_is_in_the_way_of_those_asked_about_is_told() {
    let orphans = |dport, comm: &str, fin_wait2| {
        let ports = Ports { fin_wait2, ..Ports::default() };
        let shares = vec![Share { time_wait: fin_wait2.into(), ..share(u32::from(dport), comm) }];
        Tuple { dport, shares, created: 0, ..full(ports, 0) }
    };
    let about = |tuples: Vec<Tuple>, comm: &str| {
        let mut facts = facts(Netns { tuples, ..netns() });
        facts.about.comms = vec![comm.into()];
        only(&facts)
    };
    // Of several pools the worst is told: of those that are asked about.
    let both = vec![orphans(80, "job", 500), orphans(443, "web", 300)];
    assert_eq!(about(both.clone(), "web").subject.dport, Some(443));
    assert_eq!(about(both, "job").subject.dport, Some(80));
    // Where bind() of another program closes the ports, that one is named, and not whose pool it is.
    let pins = vec![Share { open: 900, ..share(11, "job") }];
    let shares = vec![Share { time_wait: 90, created: 90, ..share(7, "web") }];
    let ports = Ports { time_wait: 90, ..Ports::default() };
    let mut facts = facts(Netns {
        tuples: vec![Tuple { shares, created: 0, ..full(ports, 0) }],
        pinned: Some(900),
        pins,
        ..netns()
    });
    facts.about.comms = vec!["web".into()];
    assert_eq!(only(&facts).id, "ports_bound");
    // Of a server's sockets that harm nobody, only whoever is asked about hears.
    let served = |comm: &str, port| {
        let shares = vec![Share { time_wait: 600, created: 600, ..share(u32::from(port), comm) }];
        Served { port, time_wait: 600, shares, ..Served::default() }
    };
    let harmless = |comm: &str| {
        let all = vec![served("job", 81), served("web", 80)];
        let mut facts =
            super::facts(Netns { served: all, server_time_wait: 1200, time_wait: 1200, ..netns() });
        facts.about.comms = vec![comm.into()];
        only(&facts)
    };
    assert!(harmless("web").what.contains("port 80,") && harmless("job").what.contains("port 81,"));
    assert_eq!(harmless("cron").id, "nothing_wrong");
    // A table is short for everybody.
    let concerned = vec![Share { lost: 200, ..share(11, "job") }];
    let mut full = super::facts(Netns { overflow: 200, concerned, ..netns() });
    full.about.comms = vec!["web".into()];
    assert_eq!(only(&full).id, "table_overflow");
}
