//! Owns: listings that could ask nobody.
//! Must not know: why.

use super::{Fate, Simulation, comes};
use crate::model::filter::Filter;

/// Steps in ten seconds of the simulation.
const TEN_SECONDS: usize = 500;

#[test]
fn a_listing_that_could_ask_nobody_is_made_again_until_one_can() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.run(100, false);
    assert_eq!((sim.listings, sim.healing.owes()), (1, false));
    sim.fails = true;
    sim.fate = |_| Fate::Lost;
    (0..97).for_each(|sport| sim.born((7, sport), "curl"));
    sim.fate = comes;
    sim.run(TEN_SECONDS, false);
    // One at once, and each after twice the pause of the one before.
    assert!((3..=6).contains(&sim.listings), "{} listings", sim.listings);
    assert_eq!((sim.tracker.live(), sim.healing.owes()), (0, true));
    sim.fails = false;
    sim.run(TEN_SECONDS, false);
    assert_eq!((sim.tracker.live(), sim.healing.owes()), (97, false));
    sim.agrees_with_the_kernel();
    let listings = sim.listings;
    sim.run(TEN_SECONDS, false);
    assert_eq!(sim.listings, listings, "nothing is amiss any more");
    sim.agrees_with_its_recording();
}

#[test]
fn where_nothing_was_lost_nothing_is_owed_though_nobody_can_be_asked() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.fails = true;
    sim.run(TEN_SECONDS, false);
    assert!((3..=6).contains(&sim.listings), "{} listings", sim.listings);
    assert!(!sim.healing.owes());
}
