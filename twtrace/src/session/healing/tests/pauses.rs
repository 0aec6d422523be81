//! Owns: how soon what was lost is put right.
//! Must not know: how the world of the other tests works inside.

use super::{Fate, SECOND_NS, STEP_NS, World, comes};
use crate::filter::Filter;

/// Steps until the tracker knows as many live sockets as the kernel has.
fn steps_until_healed(world: &mut World) -> usize {
    (0..3000)
        .take_while(|_| {
            let healed = world.tracker.live() == world.kernel.len();
            world.run(1, false);
            !healed
        })
        .count()
}

/// On a machine that is busy with other things a listing takes seconds and costs little. What gets lost while it is made is put
/// right by the next one, which must not wait as if the first had been dear.
#[test]
fn a_loss_that_a_long_listing_did_not_show_is_put_right_soon_after() {
    let mut world = World::new(Filter::default(), comes);
    world.run(10, false);
    (world.takes_ns, world.cost_ns) = (4 * SECOND_NS, SECOND_NS / 7);
    world.fate = |_| Fate::Lost;
    (0..97).for_each(|sport| world.born((7, sport), "curl"));
    while world.tracker.live() == 0 {
        world.run(1, false);
    }
    (97..113).for_each(|sport| world.born((7, sport), "curl"));
    world.fate = comes;
    let steps = steps_until_healed(&mut world);
    assert_eq!(world.listings, 3);
    // The pause, and the other listing.
    assert!(steps as u64 * STEP_NS < 9 * SECOND_NS, "{steps} steps");
}

/// A dear one is not made more than a tenth of the time, however much gets lost.
#[test]
fn listings_that_cost_much_are_far_apart() {
    let mut world =
        World::new(Filter::default(), |chance| if chance % 2 == 0 { Fate::Lost } else { Fate::Comes });
    world.cost_ns = SECOND_NS;
    world.run(3000, true);
    assert!((4..=6).contains(&world.listings), "{} listings in a minute", world.listings);
}

/// What was long ago puts off nothing.
#[test]
fn after_a_quiet_time_pauses_begin_anew() {
    let mut world = World::new(Filter::default(), comes);
    for _ in 0..5 {
        world.loss.created += 1;
        world.run(1000, false);
    }
    world.run(3100, false);
    let before = world.listings;
    world.loss.created += 1;
    world.run(10, false);
    world.loss.created += 1;
    world.run(70, false);
    assert_eq!(world.listings, before + 2);
}
