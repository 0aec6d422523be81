//! Owns: what no program saw, of which only the kernel's books know.
//! Must not know: how the books are compared.

use super::{Fate, Simulation, comes};
use crate::model::event::Reason;
use crate::model::filter::Filter;

/// As on a machine where no program runs while a thread of its init is current.
#[test]
fn what_no_program_saw_is_told_as_missed_and_healed() {
    let unseen = |chance: u64| if chance.is_multiple_of(97) { Fate::Unseen } else { Fate::Comes };
    let mut sim = Simulation::new(Filter::default(), unseen);
    sim.run(9001, true);
    sim.fate = comes;
    sim.run(1500, false);
    sim.agrees_with_the_kernel();
    sim.agrees_with_its_recording();
    let total = sim.tracker.total();
    let births: u64 = sim.births.values().sum();
    assert!(total.created < births, "nothing was missed: the test proves nothing");
    assert_eq!(total.created + total.loss.missed, births);
    assert!(total.ended_for(Reason::Missed) > 0);
}

/// What no program saw is found at the end of a short trace as well, which is over before the next turn of the books.
#[test]
fn what_nobody_saw_is_found_when_the_books_are_compared_sooner() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..17).for_each(|sport| sim.born((7, sport), "curl"));
    sim.run(10, false);
    sim.fate = |_| Fate::Unseen;
    (17..30).for_each(|sport| sim.born((7, sport), "curl"));
    sim.fate = comes;
    sim.run(10, false);
    assert_eq!((sim.healing.missed(), sim.healing.is_comparing()), (0, false));
    sim.healing.compare_soon();
    sim.healing.hurry();
    sim.run(20, false);
    assert_eq!((sim.healing.missed(), sim.healing.is_comparing()), (13, false));
    sim.healing.hurry();
    sim.run(20, false);
    sim.agrees_with_the_kernel();
}
