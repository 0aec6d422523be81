//! Owns: what is said where a filter left a part of the sockets out before anything was counted.
//! Must not know: how facts are come by.

use super::*;
use crate::diagnose::facts::{Aborted, Pile};
use crate::host::net::counters::Counters;

/// As if these facts were what `--comm checkout-api` left.
fn part(mut facts: Facts) -> Facts {
    facts.count_a_part(&["--comm checkout-api".to_owned(), "--netns 7".to_owned()]);
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
    // A place is whole: nothing of it was left out.
    let mut place = busy();
    place.count_a_part(&["--netns 7".to_owned(), "--dport 80".to_owned(), "--role client".to_owned()]);
    assert_eq!(only(&place), whole);
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
    let shares = vec![share(11, "job")];
    let side = crate::diagnose::facts::Side::On(8080);
    let pile = Pile { state: State::CloseWait, side, count: 101, longest_ms: 5000, shares };
    let about = |comm: &str| {
        let mut facts = facts(Netns { piles: vec![pile.clone()], ..netns() });
        facts.about.comms = vec![comm.into()];
        only(&facts)
    };
    assert_eq!(about("job").id, "close_wait_pileup");
    let calm = about("web");
    assert_eq!(calm.id, "nothing_wrong");
    assert!(
        calm.what.ends_with("That is of --comm web; others have 1 finding: ask without it."),
        "{}",
        calm.what
    );
}
