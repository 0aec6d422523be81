//! Owns: what becomes of a listing whose lines nobody has room for yet.
//! Must not know: how the world of the other tests works inside.

use super::{Fate, World, comes};
use crate::filter::Filter;

#[test]
fn a_listing_waits_for_its_reader_and_not_for_ever() {
    let mut world = World::new(Filter::default(), comes);
    (0..97).for_each(|sport| world.born((7, sport), "curl"));
    world.ring.clear();
    world.run(3, false);
    let first = world.tracker.live();
    assert!((1..97).contains(&first), "{first}");
    world.room = 0;
    world.run(140, false);
    assert_eq!(world.tracker.live(), first, "there was no room");
    world.room = 1;
    world.run(7, false);
    let more = world.tracker.live();
    assert!((first + 3..97).contains(&more), "{first}, then {more}");
    world.room = 0;
    world.run(160, false);
    assert_eq!((world.tracker.live(), world.tracker.total().listed), (97, 97), "three seconds are over");
    world.agrees_with_its_recording();
}

/// Sockets of the listing end and are born again, with and without being told, while it waits.
#[test]
fn what_happens_meanwhile_is_told_in_its_order() {
    let lost = |chance: u64| if chance.is_multiple_of(7) { Fate::Lost } else { Fate::Comes };
    let mut world = World::new(Filter::default(), lost);
    (0..211).for_each(|sport| world.born((7, sport), "curl"));
    world.ring.clear();
    for room in [0, 1, 0, 3, 0, 1, 97].repeat(7) {
        world.room = room;
        world.run(61, true);
    }
    world.fate = comes;
    (world.room, world.loss.created) = (5, world.loss.created + 1);
    world.run(4000, false);
    world.agrees_with_the_kernel();
    world.agrees_with_its_recording();
    let total = world.tracker.total();
    assert!(total.listed > 97 && total.loss.created > 97 && total.loss.ended > 61, "{total:?}");
}
