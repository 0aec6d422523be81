//! Owns: sockets and namespaces that cannot be asked after.
//! Must not know: why.

use super::*;

#[test]
fn sockets_of_a_namespace_that_went_away_unseen_are_no_ghosts() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..154).for_each(|sport| sim.born((9, sport), "curl"));
    sim.run(50, false);
    // Its sockets are purged, and nobody hears of it.
    sim.reached.remove(&9);
    sim.kernel.clear();
    sim.loss.ended += 154;
    sim.run(300, false);
    assert_eq!((sim.tracker.live(), sim.tracker.total().ended_for(Reason::Missed)), (0, 154));
    sim.agrees_with_its_recording();
}

#[test]
fn what_cannot_be_asked_after_goes_once_it_is_past_its_end() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.reached.remove(&9);
    (0..13).for_each(|sport| sim.born((9, sport), "curl"));
    sim.run(50, false);
    sim.kernel.clear();
    sim.loss.ended += 13;
    sim.run(2900, false);
    assert_eq!(sim.tracker.live(), 13, "no way ever led there: it may be alive");
    sim.run(700, false);
    assert_eq!((sim.tracker.live(), sim.tracker.total().ended_for(Reason::Missed)), (0, 13));
}

#[test]
fn what_could_not_be_asked_after_is_asked_after_again() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..13).for_each(|sport| sim.born((7, sport), "curl"));
    sim.run(100, false);
    sim.fate = |_| Fate::Lost;
    (0..13).for_each(|sport| sim.dies((7, sport), Reason::Purged));
    (sim.fate, sim.is_deaf) = (comes, true);
    sim.run(200, false);
    assert_eq!((sim.tracker.live(), sim.healing.owes()), (13, true));
    let listings = sim.listings;
    sim.is_deaf = false;
    sim.run(100, false);
    assert_eq!((sim.tracker.live(), sim.healing.owes(), sim.listings), (0, false, listings));
    sim.agrees_with_the_kernel();
}
