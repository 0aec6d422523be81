//! Owns: sockets that took the place of others while a list was on its way.
//! Must not know: how the kernel of numbers works.

use super::*;

#[test]
fn one_that_a_list_shows_and_that_was_told_as_missed_since_is_no_ghost() {
    let mut sim = Simulation::new(Filter::default(), comes);
    sim.born((7, 1), "curl");
    sim.turn(sim.now_ns);
    sim.now_ns += sim.takes_ns;
    sim.answer();
    assert_eq!(sim.listings, 1, "no list was made");
    // Its end is lost, and the birth of the next one, of which only the end comes.
    sim.fate = |_| Fate::Lost;
    sim.dies((7, 1), Reason::ReusedOutgoing);
    sim.born((7, 1), "curl");
    sim.fate = comes;
    sim.dies((7, 1), Reason::Expired);
    sim.turn(sim.now_ns);
    let events = sim.told.iter().filter(|event| event.kind != Kind::Lost);
    let told: Vec<_> = events.map(|event| (event.kind, event.reason)).collect();
    let want = [
        (Kind::Created, None),
        (Kind::Ended, Some(Reason::Missed)),
        (Kind::Listed, None),
        (Kind::Ended, Some(Reason::Expired)),
    ];
    assert_eq!(told, want);
    sim.agrees_with_the_kernel();
    sim.agrees_with_its_recording();
}

/// Of an end nobody knows whose it was: it is told where its birth was, and not where only another socket of its connection is known.
#[test]
fn under_a_filter_on_the_owner_an_end_is_told_of_the_very_socket_that_is_known() {
    let mut sim = Simulation::new(Filter { comms: vec!["curl".into()], ..Filter::default() }, comes);
    sim.born((7, 1), "curl");
    sim.run(50, false);
    sim.fate = |_| Fate::Lost;
    sim.dies((7, 1), Reason::ReusedOutgoing);
    sim.fate = comes;
    sim.born((7, 1), "other");
    sim.dies((7, 1), Reason::Expired);
    sim.turn(sim.now_ns);
    assert_eq!(sim.told.iter().filter(|event| event.kind != Kind::Lost).count(), 1);
    sim.run(300, false);
    let total = sim.tracker.total();
    assert_eq!((total.created, total.listed, total.ended_for(Reason::Missed)), (1, 0, 1));
    sim.agrees_with_its_recording();
}
