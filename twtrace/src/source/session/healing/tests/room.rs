//! Owns: what becomes of a listing whose lines nobody has room for yet.
//! Must not know: how the kernel of the other tests works inside.

use super::{Fate, Simulation, comes};
use crate::model::filter::Filter;

#[test]
fn a_listing_waits_for_its_reader_and_not_for_ever() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..97).for_each(|sport| sim.born((7, sport), "curl"));
    sim.ring.clear();
    sim.run(3, false);
    let first = sim.tracker.live();
    assert!((1..97).contains(&first), "{first}");
    sim.room = 0;
    sim.run(140, false);
    assert_eq!(sim.tracker.live(), first, "there was no room");
    sim.room = 1;
    sim.run(7, false);
    let more = sim.tracker.live();
    assert!((first + 3..97).contains(&more), "{first}, then {more}");
    sim.room = 0;
    sim.run(160, false);
    assert_eq!((sim.tracker.live(), sim.tracker.total().listed), (97, 97), "three seconds are over");
    sim.agrees_with_its_recording();
}

/// Sockets of the listing end and are born again, with and without being told, while it waits.
#[test]
fn what_happens_meanwhile_is_told_in_its_order() {
    let lost = |chance: u64| if chance.is_multiple_of(7) { Fate::Lost } else { Fate::Comes };
    let mut sim = Simulation::new(Filter::default(), lost);
    (0..211).for_each(|sport| sim.born((7, sport), "curl"));
    sim.ring.clear();
    for room in [0, 1, 0, 3, 0, 1, 97].repeat(7) {
        sim.room = room;
        sim.run(61, true);
    }
    sim.fate = comes;
    (sim.room, sim.loss.created) = (5, sim.loss.created + 1);
    sim.run(4000, false);
    sim.agrees_with_the_kernel();
    sim.agrees_with_its_recording();
    let total = sim.tracker.total();
    assert!(total.listed > 97 && total.loss.created > 97 && total.loss.ended > 61, "{total:?}");
}
