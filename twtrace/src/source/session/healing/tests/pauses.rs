//! Owns: how soon what was lost is put right.
//! Must not know: how the kernel of the other tests works inside.

use super::{Fate, SECOND_NS, STEP_NS, Simulation, comes};
use crate::model::filter::Filter;

/// Steps until the tracker knows as many live sockets as the kernel has.
fn steps_until_healed(sim: &mut Simulation) -> usize {
    (0..3000)
        .take_while(|_| {
            let healed = sim.tracker.live() == sim.kernel.len();
            sim.run(1, false);
            !healed
        })
        .count()
}

/// On a machine that is busy with other things a listing takes seconds and costs little. What gets lost while it is made is put
/// right by the next one, which must not wait as if the first had been dear.
#[test]
fn a_loss_that_a_long_listing_did_not_show_is_put_right_soon_after() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.run(10, false);
    (sim.takes_ns, sim.cost_ns) = (4 * SECOND_NS, SECOND_NS / 7);
    sim.fate = |_| Fate::Lost;
    (0..97).for_each(|sport| sim.born((7, sport), "curl"));
    while sim.tracker.live() == 0 {
        sim.run(1, false);
    }
    (97..113).for_each(|sport| sim.born((7, sport), "curl"));
    sim.fate = comes;
    let steps = steps_until_healed(&mut sim);
    assert_eq!(sim.listings, 3);
    // The pause, and the other listing.
    assert!(steps as u64 * STEP_NS < 9 * SECOND_NS, "{steps} steps");
}

/// A dear one is not made more than a tenth of the time, however much gets lost.
#[test]
fn listings_that_cost_much_are_far_apart() {
    let mut sim =
        Simulation::new(Filter::default(), |chance| if chance % 2 == 0 { Fate::Lost } else { Fate::Comes });
    sim.cost_ns = SECOND_NS;
    sim.run(3000, true);
    assert!((4..=6).contains(&sim.listings), "{} listings in a minute", sim.listings);
}

/// What was long ago puts off nothing.
#[test]
fn after_a_quiet_time_pauses_begin_anew() {
    let mut sim = Simulation::new(Filter::default(), comes);
    for _ in 0..5 {
        sim.loss.created += 1;
        sim.run(1000, false);
    }
    sim.run(3100, false);
    let before = sim.listings;
    sim.loss.created += 1;
    sim.run(10, false);
    sim.loss.created += 1;
    sim.run(70, false);
    assert_eq!(sim.listings, before + 2);
}

/// A skipped run that may have been a birth or an end is put right at once; one that told other things does not make a machine with many
/// sockets list them every few seconds.
#[test]
fn skipped_runs_that_told_neither_birth_nor_end_are_followed_by_few_listings() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.run(100, true);
    for _ in 0..89 {
        sim.loss.missed_runs += 1;
        sim.run(50, true);
        assert_eq!(sim.healing.owed, (false, false));
    }
    assert_eq!(sim.listings, 4, "one at the beginning, and one each 30 s of 91");
    // Not long enough for another one that is but seldom made.
    sim.run(500, true);
    let before = sim.listings;
    sim.loss.missed_runs += 1;
    sim.doubts += 1;
    sim.run(10, true);
    assert_eq!(sim.listings, before + 1);
    sim.agrees_with_the_kernel();
}
