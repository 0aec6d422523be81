//! Owns: what is taken in of an answer that came after the end of a trace.
//! Must not know: how a trace ends.

use super::*;

#[test]
fn what_was_after_the_end_of_a_trace_is_not_told_of_a_later_list() {
    let seed = |sport| Seed {
        conn: conn((7, sport)),
        cookie: Some(sport.into()),
        substate: Substate::TimeWait,
        role: Role::Unknown,
        ends_ns: START_NS + 60 * SECOND_NS,
    };
    let (mut healing, mut tracker) = (Healing::new(Filter::default(), true), Tracker::new());
    let span = Span { began_ns: START_NS, ended_ns: START_NS + 7 };
    let mut born = Event::new(Kind::Created, START_NS, Some(conn((7, 503))));
    born.cookie = Some(503);
    healing.note_beyond(&born);
    healing.todo.extend([501, 503].map(|sport| Todo::Enter(seed(sport), span)));
    let told = healing.step(START_NS + 9, START_NS + 9, 97, &mut tracker).events;
    let ports: Vec<u16> = told.iter().filter_map(|event| Some(event.conn?.sport)).collect();
    assert_eq!((ports, tracker.live()), (vec![501], 1));
}
