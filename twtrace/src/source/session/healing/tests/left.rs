//! Owns: namespaces that were asked for and are gone, while others have their inodes.
//! Must not know: how that is found out.

use super::super::super::lister::{Became, Changed};
use super::*;
use crate::model::limitation::What;

fn became(sim: &mut Simulation, became: Became) {
    let span = Span { began_ns: sim.now_ns, ended_ns: sim.now_ns };
    let limitation = Some(Limitation::new(What::GoneNamespaces, "7 is gone", "none"));
    sim.healing.take(Reply::Changed { span, changed: vec![Changed { netns: 7, became, limitation }] });
}

fn created(sim: &Simulation) -> usize {
    sim.told.iter().filter(|event| [Kind::Created, Kind::Listed].contains(&event.kind)).count()
}

#[test]
fn what_another_namespace_does_with_the_inode_of_one_that_is_gone_is_not_told() {
    let mut sim = Simulation::new(Filter { netns: vec![7], ..Filter::default() }, comes);
    (0..13).for_each(|sport| sim.born((7, sport), "curl"));
    sim.run(10, false);
    // What it did before is told, though it is heard of late.
    (13..17).for_each(|sport| sim.born((7, sport), "curl"));
    (0..17).for_each(|sport| sim.dies((7, sport), Reason::Purged));
    became(&mut sim, Became::Left);
    sim.run(10, false);
    assert_eq!((created(&sim), sim.tracker.live()), (17, 0));
    (20..43).for_each(|sport| sim.born((7, sport), "curl"));
    // The list has them, and the books.
    sim.loss.ended += 1;
    sim.run(1000, false);
    assert!(sim.listings > 1, "no list was made: the test proves nothing");
    assert_eq!((created(&sim), sim.tracker.live(), sim.tracker.total().loss.missed), (17, 0, 0));
}

#[test]
fn one_that_nothing_leads_to_goes_on_where_the_kernel_side_tells_it_from_others() {
    let mut sim = Simulation::new(Filter { netns: vec![7], ..Filter::default() }, comes);
    became(&mut sim, Became::Unreached);
    sim.run(10, false);
    (0..13).for_each(|sport| sim.born((7, sport), "curl"));
    sim.run(10, false);
    assert_eq!(created(&sim), 13);
}

#[test]
fn one_that_is_asked_for_is_looked_at_though_nothing_happens_until_it_is_gone() {
    for (filter, want) in [
        (Filter::default(), [0, 0]),
        (Filter { netns: vec![7], ..Filter::default() }, [3, 0]),
        (Filter { netns: vec![7], dports: vec![80], ..Filter::default() }, [3, 0]),
        // Nothing to compare, and nobody who is meant: nobody is asked, though something lives.
        (Filter { dports: vec![80], ..Filter::default() }, [0, 0]),
    ] {
        let mut sim = Simulation::new(filter.clone(), comes);
        let is_a_part = !filter.only_netns();
        sim.healing.watch(filter.netns);
        (0..13).filter(|_| is_a_part).for_each(|sport| sim.born((8, sport), "curl"));
        sim.run(20, false);
        let checks = |sim: &mut Simulation| {
            let mut count = 0;
            for _ in 0..750 {
                sim.run(1, false);
                // One is on its way for some turns.
                count += usize::from(
                    matches!(sim.requests.back(), Some((at, Request::Check { .. })) if *at == sim.now_ns),
                );
            }
            count
        };
        let before = checks(&mut sim);
        became(&mut sim, Became::Left);
        sim.run(20, false);
        assert_eq!([before, checks(&mut sim)], want);
    }
}

/// An answer about books waits for news of losses, which comes once a second: nothing else may wait for that at the start.
#[test]
fn the_first_listing_waits_for_no_look_at_what_is_asked_for() {
    let mut sim = Simulation::new(Filter { netns: vec![7], ..Filter::default() }, comes);
    sim.healing.watch([7]);
    (0..13).for_each(|sport| sim.born((7, sport), "before"));
    sim.ring.clear();
    for _ in 0..20 {
        sim.run(1, false);
        let is_check = |(_, request): &(u64, Request)| matches!(request, Request::Check { .. });
        assert!(!sim.requests.iter().any(is_check));
    }
    assert_eq!((sim.tracker.total().listed, sim.healing.is_listing()), (13, false));
}

/// As above, where something comes from a namespace that was not there when the first books were read.
#[test]
fn the_first_listing_waits_for_no_look_at_what_is_new() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..13).for_each(|sport| sim.born((7, sport), "before"));
    sim.ring.clear();
    sim.born((11, 500), "curl");
    let is_check = |(_, request): &(u64, Request)| matches!(request, Request::Check { .. });
    while sim.listings == 0 || sim.healing.is_listing() {
        assert!(!sim.requests.iter().any(is_check));
        sim.run(1, false);
    }
    assert!(sim.requests.iter().any(is_check), "it is looked at after that");
}

/// What would wait for news of losses that nobody brings any more does not keep what comes behind it.
#[test]
fn once_books_are_not_compared_any_more_their_answers_hold_up_nothing() {
    for is_late in [false, true] {
        let mut sim = Simulation::new(Filter::default(), comes);
        sim.run(100, false);
        let span = Span { began_ns: sim.now_ns, ended_ns: sim.now_ns + 1 };
        let checked = || Reply::Checked { span, books: Vec::new() };
        if !is_late {
            sim.healing.take(checked());
        }
        sim.healing.stop_comparing();
        if is_late {
            sim.healing.take(checked());
        }
        sim.healing.take(Reply::LookedUp { span, found: Vec::new() });
        sim.healing.step(sim.now_ns, u64::MAX, usize::MAX, &mut sim.tracker);
        assert!(!sim.healing.wants_mark() && sim.healing.held.is_empty(), "late: {is_late}");
    }
}

/// Not all that one did is compared with the books of the next.
#[test]
fn the_books_of_the_next_one_say_nothing_of_what_was_told_of_the_first() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..13).for_each(|sport| sim.born((7, sport), "curl"));
    sim.run(300, false);
    (0..13).for_each(|sport| sim.dies((7, sport), Reason::Purged));
    // It has had more than the first, of which all was told.
    became(&mut sim, Became::Another);
    sim.births.insert(7, 97);
    sim.run(600, false);
    assert_eq!(sim.healing.missed(), 0);
    sim.agrees_with_the_kernel();
}
