//! Owns: what a replay tells of what could not be seen, some of which was found out on the way.
//! Must not know: how a view shows it.

use super::*;
use crate::model::limitation::{Limitation, What};

/// Keeps what it was told, and how much of it there was when it last looked.
#[derive(Default)]
struct Told {
    calls: usize,
    all: Vec<Limitation>,
    looked: usize,
    /// By when all was told, so many events had been.
    events: usize,
}

impl View for Told {
    fn begin(&mut self, _clock: Clock) -> io::Result<()> {
        assert_eq!(self.all.len(), 1, "what is known at the start is told before it");
        Ok(())
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.calls += 1;
        self.all = limitations.to_vec();
    }

    fn event(&mut self, _event: &Event) -> io::Result<Flow> {
        self.events += usize::from(self.all.len() == 1);
        Ok(Flow::Go)
    }

    fn tick(&mut self, _tracker: &mut Tracker, _now_ns: u64) -> io::Result<Flow> {
        self.looked = self.all.len();
        Ok(Flow::Go)
    }
}

fn limitation(what: What) -> Limitation {
    Limitation::new(what, "it is refused", "none")
}

/// A recording that says one thing at its start, and that and another one at its end.
fn recorded() -> (Sample, OpenReplay) {
    let mut sample = sample(701);
    sample.head.limitations = vec![limitation(What::Openers)];
    sample.tail.limitations = vec![limitation(What::Openers), limitation(What::GoneNamespaces)];
    let bytes = sample.bytes(97, true);
    (sample, Box::new(move || Recording::read(Cursor::new(bytes.clone()), "sample")))
}

#[test]
fn what_was_found_out_on_the_way_is_told_at_the_end_whoever_looks() {
    let whole = [limitation(What::Openers), limitation(What::GoneNamespaces)];
    for pace in [Pace::Own, Pace::Recorded(SECOND_NS)] {
        let ((sample, open), remote) = (recorded(), Remote::new(Speed::Max));
        let mut driver = Driver::new(open, Filter::default(), pace, Speed::Max, remote.clone()).unwrap();
        let mut told = Told::default();
        driver.begin(&mut told).unwrap();
        while !remote.replaying().is_over {
            driver.turn(TICK, 77, &mut told).unwrap();
        }
        assert_eq!((&told.all[..], told.looked, told.calls), (&whole[..], 2, 2), "{pace:?}");
        assert_eq!(told.events, sample.events.len(), "{pace:?}");
    }
}

#[test]
fn whoever_steps_to_the_end_and_goes_back_is_told_once() {
    let ((sample, open), remote) = (recorded(), Remote::new(Speed::Times(1.0)));
    let mut driver = Driver::new(open, Filter::default(), Pace::Own, Speed::Max, remote.clone()).unwrap();
    let mut told = Told::default();
    driver.begin(&mut told).unwrap();
    remote.pause(true);
    for step in 1..=sample.events.len() {
        assert_eq!((told.all.len(), told.calls), (1, 1), "{step}");
        remote.press(Command::Step);
        driver.turn(TICK, 77, &mut told).unwrap();
    }
    assert_eq!((told.all.len(), told.looked), (2, 2));
    remote.press(Command::Start);
    driver.turn(TICK, 77, &mut told).unwrap();
    assert_eq!((told.all.len(), told.calls), (2, 2), "it is known now");
}
