//! A replay of a scripted recording, with a view that writes down what it is told, and a clock made of numbers.

mod limited;

use std::io::{self, Cursor};
use std::time::Duration;

use super::driver::Turn;
use super::*;
use crate::engine::{By, Snapshot, Tracker};
use crate::model::clock::Clock;
use crate::model::event::{Event, Kind, Reason};
use crate::model::filter::Filter;
use crate::present::report::sample::{NETNS, START_NS, Sample, sample};
use crate::recording::{OpenError, Recording};
use crate::source::{Flow, View};

const TICK: Duration = Duration::from_millis(25);
const SECOND_NS: u64 = 1_000_000_000;

/// Writes down what it is told.
#[derive(Default)]
struct Notes {
    reasons: Vec<Reason>,
    events: Vec<Event>,
    restarted: usize,
    /// When it was to look, and what it saw.
    ticks: Vec<(u64, Snapshot)>,
    backend: &'static str,
    /// It has had enough after so many looks.
    enough: Option<usize>,
}

impl View for Notes {
    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
    }

    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.count_only(&self.reasons);
    }

    fn begin(&mut self, _clock: Clock) -> io::Result<()> {
        Ok(())
    }

    fn restarted(&mut self) {
        self.restarted += 1;
        self.events.clear();
    }

    fn event(&mut self, event: &Event) -> io::Result<Flow> {
        self.events.push(event.clone());
        Ok(Flow::Go)
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> io::Result<Flow> {
        self.ticks.push((now_ns, tracker.snapshot(By::ALL)));
        Ok(if self.enough == Some(self.ticks.len()) { Flow::Stop } else { Flow::Go })
    }
}

impl Notes {
    fn now(&self) -> &Snapshot {
        &self.ticks.last().unwrap().1
    }
}

fn driver(sample: &Sample, filter: Filter, pace: Pace, speed: Speed) -> (Driver, Remote, Notes) {
    let (bytes, remote) = (sample.bytes(97, true), Remote::new(speed));
    let open: OpenReplay = Box::new(move || Recording::read(Cursor::new(bytes.clone()), "sample"));
    let mut notes = Notes { reasons: filter.reasons.clone(), ..Notes::default() };
    let mut driver = Driver::new(open, filter, pace, speed, remote.clone()).unwrap();
    driver.begin(&mut notes).unwrap();
    (driver, remote, notes)
}

fn turn(driver: &mut Driver, notes: &mut Notes, passed: Duration) -> Turn {
    driver.turn(passed, 77, notes).unwrap()
}

/// Everything up to a recorded time, by the book: told to a tracker one by one.
fn tracker(sample: &Sample, until_ns: u64) -> Tracker {
    let mut tracker = Tracker::new();
    tracker.advance(START_NS);
    for event in sample.listed.iter().chain(&sample.events).filter(|event| event.mono_ns <= until_ns) {
        tracker.apply(&mut event.clone());
    }
    tracker
}

fn counts(sample: &Sample, until_ns: u64) -> (u64, u64, u64) {
    let tracker = tracker(sample, until_ns);
    (tracker.total().created, tracker.total().ended(), tracker.live() as u64)
}

fn seen(snapshot: &Snapshot) -> (u64, u64, u64) {
    (snapshot.total.counts.created, snapshot.total.counts.ended(), snapshot.total.live)
}

#[test]
fn the_end_of_a_replay_is_the_state_that_was_recorded() {
    let sample = sample(3001);
    let (mut driver, remote, mut notes) = driver(&sample, Filter::default(), Pace::Own, Speed::Max);
    while !remote.replaying().is_over {
        assert_ne!(turn(&mut driver, &mut notes, TICK), Turn::Done, "a screen stays at the end");
    }
    assert_eq!(notes.events, sample.events);
    let recorded = sample.tracker.snapshot(By::ALL);
    let mut told = notes.now().clone();
    // A namespace that was met on the way had no say in the sample's own tracker.
    for row in &mut told.netns {
        row.capacity.take_if(|_| row.key != NETNS);
    }
    assert_eq!((told.total, told.processes.len()), (recorded.total, recorded.processes.len()));
    assert_eq!((told.netns, told.ports), (recorded.netns, recorded.ports));
    assert_eq!((notes.backend, driver.trouble()), ("tracepoint", None));
}

#[test]
fn time_passes_as_fast_as_asked() {
    let sample = sample(701);
    for (times, turns) in [(0.5, 80), (1.0, 40), (10.0, 4)] {
        let (mut driver, _, mut notes) = driver(&sample, Filter::default(), Pace::Own, Speed::Times(times));
        for _ in 0..turns {
            turn(&mut driver, &mut notes, TICK);
        }
        assert_eq!(notes.now().now_ns, START_NS + SECOND_NS, "{times}x");
        assert_eq!(seen(notes.now()), counts(&sample, START_NS + SECOND_NS), "{times}x");
        assert!(notes.ticks.iter().all(|(now_ns, _)| *now_ns == 77), "a screen lives in its own time");
    }
}

#[test]
fn pictures_come_at_exact_times_whatever_the_speed() {
    let sample = sample(701);
    let mut all = Vec::new();
    for speed in [Speed::Max, Speed::Times(1.0), Speed::Times(1000.0)] {
        let (mut driver, _, mut notes) = driver(&sample, Filter::default(), Pace::Recorded(SECOND_NS), speed);
        while turn(&mut driver, &mut notes, TICK) != Turn::Done {}
        let times: Vec<u64> = notes.ticks.iter().map(|(_, snapshot)| snapshot.now_ns).collect();
        let whole = (sample.tail.mono_ns - START_NS) / SECOND_NS;
        let mut want: Vec<u64> = (1..=whole).map(|second| START_NS + second * SECOND_NS).collect();
        want.push(sample.tail.mono_ns);
        assert_eq!(times, want, "{speed}");
        for (_, snapshot) in &notes.ticks {
            assert_eq!(seen(snapshot), counts(&sample, snapshot.now_ns));
        }
        all.push(notes.ticks);
    }
    assert!(all[0] == all[1] && all[1] == all[2], "pictures differ from speed to speed");
}

#[test]
fn a_view_that_has_had_enough_ends_it() {
    let (mut driver, _, mut notes) =
        driver(&sample(701), Filter::default(), Pace::Recorded(SECOND_NS), Speed::Max);
    notes.enough = Some(3);
    while turn(&mut driver, &mut notes, TICK) != Turn::Done {}
    assert_eq!(notes.ticks.len(), 3);
}

#[test]
fn paused_it_stands_still_but_for_steps_and_seeks() {
    let sample = sample(701);
    let (mut driver, remote, mut notes) = driver(&sample, Filter::default(), Pace::Own, Speed::Times(1.0));
    remote.pause(true);
    for _ in 0..3 {
        turn(&mut driver, &mut notes, TICK);
    }
    assert_eq!((notes.events.len(), notes.now().now_ns, remote.takes_picture()), (0, START_NS, false));
    for told in 1..=5 {
        remote.press(Command::Step);
        turn(&mut driver, &mut notes, TICK);
        assert_eq!(notes.events, sample.events[..told]);
        assert_eq!(notes.now().now_ns, sample.events[told - 1].mono_ns.max(START_NS));
        assert!(remote.takes_picture(), "what is new is to be seen, paused or not");
    }
    let from_ns = notes.now().now_ns;
    for (by_s, from_ns) in [(2, from_ns), (3, from_ns + 2 * SECOND_NS), (-4, from_ns + 5 * SECOND_NS)] {
        remote.press(Command::Seek(by_s * SECOND_NS as i64));
        turn(&mut driver, &mut notes, TICK);
        let now_ns = from_ns.saturating_add_signed(by_s * SECOND_NS as i64);
        assert_eq!((notes.now().now_ns, seen(notes.now())), (now_ns, counts(&sample, now_ns)), "{by_s}");
        assert!(remote.takes_picture());
        let told: Vec<&Event> = sample.events.iter().filter(|event| event.mono_ns <= now_ns).collect();
        assert_eq!(notes.events.iter().collect::<Vec<_>>(), told, "{by_s}");
    }
    assert_eq!(notes.restarted, 1, "only a way back begins anew");
}

#[test]
fn a_step_goes_on_to_what_the_filter_lets_pass() {
    let sample = sample(701);
    let filter = Filter { pids: vec![sample.events[400].owner.unwrap().pid], ..Filter::default() };
    let wanted: Vec<Event> =
        sample.events.iter().filter(|event| filter.passes(event)).take(3).cloned().collect();
    let (mut driver, remote, mut notes) = driver(&sample, filter, Pace::Own, Speed::Times(1.0));
    remote.pause(true);
    for told in 1..=wanted.len() {
        remote.press(Command::Step);
        turn(&mut driver, &mut notes, TICK);
        assert_eq!(notes.events, wanted[..told]);
    }
}

#[test]
fn seeking_stops_at_both_ends() {
    let sample = sample(701);
    let (mut driver, remote, mut notes) = driver(&sample, Filter::default(), Pace::Own, Speed::Times(1.0));
    remote.press(Command::Seek(3600 * SECOND_NS as i64));
    turn(&mut driver, &mut notes, TICK);
    assert_eq!(notes.now().now_ns, sample.tail.mono_ns);
    assert!(remote.replaying().is_over && !remote.replaying().is_seeking);
    remote.press(Command::Step);
    turn(&mut driver, &mut notes, TICK);
    assert_eq!(notes.events.len(), sample.events.len(), "there is nothing after the end");
    remote.press(Command::Seek(-3600 * SECOND_NS as i64));
    turn(&mut driver, &mut notes, Duration::ZERO);
    assert_eq!((notes.now().now_ns, notes.events.len()), (START_NS, 0));
    assert!(!remote.replaying().is_over);
    remote.press(Command::Seek(SECOND_NS as i64));
    remote.press(Command::Start);
    turn(&mut driver, &mut notes, Duration::ZERO);
    assert_eq!(
        (notes.now().now_ns, notes.now().total.live),
        (START_NS, 11),
        "the sockets of before are there again"
    );
}

#[test]
fn in_a_pipe_there_is_no_way_back() {
    let sample = sample(701);
    let (bytes, remote) = (sample.bytes(97, true), Remote::new(Speed::Times(1.0)));
    let mut first = Some(bytes);
    let open: OpenReplay = Box::new(move || match first.take() {
        Some(bytes) => Recording::read(Cursor::new(bytes), "sample"),
        None => Err(OpenError::Io { path: "-".to_owned(), error: io::ErrorKind::NotSeekable.into() }),
    });
    let mut notes = Notes::default();
    let mut driver =
        Driver::new(open, Filter::default(), Pace::Own, Speed::Times(1.0), remote.clone()).unwrap();
    driver.begin(&mut notes).unwrap();
    remote.press(Command::Seek(3600 * SECOND_NS as i64));
    turn(&mut driver, &mut notes, TICK);
    remote.press(Command::Start);
    remote.press(Command::Seek(-(SECOND_NS as i64)));
    turn(&mut driver, &mut notes, TICK);
    assert_eq!((notes.now().now_ns, notes.events.len()), (sample.tail.mono_ns, sample.events.len()));
}

#[test]
fn a_long_way_is_gone_in_pieces() {
    let sample = sample(40_009);
    assert!(sample.events.len() > 16_384);
    let (mut driver, remote, mut notes) = driver(&sample, Filter::default(), Pace::Own, Speed::Times(1.0));
    remote.press(Command::Seek(i64::MAX / 2));
    assert_eq!(turn(&mut driver, &mut notes, TICK), Turn::Busy);
    assert!(remote.replaying().is_seeking && !remote.replaying().is_over);
    assert!(notes.events.len() < sample.events.len());
    while turn(&mut driver, &mut notes, TICK) == Turn::Busy {}
    assert!(remote.replaying().is_over);
}

#[test]
fn filters_apply() {
    let sample = sample(1409);
    for filter in [
        Filter { comms: vec!["curl".into()], ..Filter::default() },
        Filter { dports: vec![5432], ..Filter::default() },
        Filter { reasons: vec![Reason::Expired], ..Filter::default() },
    ] {
        let (mut driver, remote, mut notes) = driver(&sample, filter.clone(), Pace::Own, Speed::Max);
        while !remote.replaying().is_over {
            turn(&mut driver, &mut notes, TICK);
        }
        let passed: Vec<&Event> = sample.events.iter().filter(|event| filter.passes(event)).collect();
        assert_eq!(notes.events.iter().collect::<Vec<_>>(), passed, "{filter:?}");
        let ended = passed.iter().filter(|event| event.kind == Kind::Ended).count() as u64;
        assert_eq!(notes.now().total.counts.ended(), ended, "{filter:?}");
    }
}

#[test]
fn a_recording_without_its_end_is_told_as_far_as_it_goes() {
    let sample = sample(701);
    let bytes = sample.bytes(97, false);
    let open: OpenReplay = Box::new(move || Recording::read(Cursor::new(bytes.clone()), "cut"));
    let remote = Remote::new(Speed::Max);
    let pace = Pace::Recorded(SECOND_NS);
    let mut driver = Driver::new(open, Filter::default(), pace, Speed::Max, remote).unwrap();
    let mut notes = Notes::default();
    driver.begin(&mut notes).unwrap();
    while turn(&mut driver, &mut notes, TICK) != Turn::Done {}
    assert_eq!(notes.events, sample.events);
    assert!(driver.trouble().is_some());
}

#[test]
fn speeds() {
    for (text, want) in [
        ("1x", Speed::Times(1.0)),
        ("0.5x", Speed::Times(0.5)),
        ("10", Speed::Times(10.0)),
        ("max", Speed::Max),
    ] {
        assert_eq!(text.parse(), Ok(want));
    }
    for bad in ["", "x", "0x", "-1x", "1xx", "nan", "inf", "fast"] {
        assert!(bad.parse::<Speed>().unwrap_err().contains(bad), "{bad}");
    }
    let mut speed = Speed::Times(0.1);
    let mut up = vec![speed];
    while speed != Speed::Max {
        speed = speed.faster();
        up.push(speed);
    }
    let mut down = vec![speed];
    while speed != Speed::Times(0.1) {
        speed = speed.slower();
        down.push(speed);
    }
    down.reverse();
    assert_eq!((up.len(), &up), (12, &down));
    assert_eq!((Speed::Max.faster(), Speed::Times(0.01).slower()), (Speed::Max, Speed::Times(0.01)));
    assert_eq!(
        (Speed::Times(3.0).faster(), Speed::Times(3.0).slower()),
        (Speed::Times(5.0), Speed::Times(2.0))
    );
}

/// A clock that jumps by centuries, in a way that nothing is wrong with: pictures of a time in which nothing happens are left out, and
/// however many there are, signals are looked for in between.
#[test]
fn a_clock_that_jumps_does_not_make_pictures_for_ever() {
    const CENTURIES_NS: u64 = 390 * 365 * 86_400 * SECOND_NS;
    let mut sample = sample(701);
    let half = sample.events.len() / 2;
    sample.events[half..].iter_mut().for_each(|event| event.mono_ns += CENTURIES_NS);
    sample.tail.mono_ns += CENTURIES_NS;
    let (mut driver, _, mut notes) =
        driver(&sample, Filter::default(), Pace::Recorded(SECOND_NS), Speed::Max);
    let mut turns = 0;
    while turn(&mut driver, &mut notes, TICK) != Turn::Done {
        turns += 1;
        assert!(turns < 1009, "it turns and turns");
    }
    assert!(turns > 7, "signals are looked for after a few pictures");
    assert_eq!(notes.events.len(), sample.events.len());
    assert!(notes.ticks.len() < 1009, "{} pictures", notes.ticks.len());
    let said = driver.left_out().unwrap();
    assert!(said.contains("are left out: 122990") && said.contains("the longest of"), "{said}");
    // What happens after is told in its own time.
    assert_eq!(notes.now().now_ns, sample.tail.mono_ns);
    assert_eq!(seen(notes.now()).0, counts(&sample, u64::MAX).0);
}

#[test]
fn a_pool_is_as_full_under_a_filter_as_without() {
    let sample = sample(3001);
    let pools = |filter: Filter| {
        let (mut driver, remote, mut notes) = driver(&sample, filter, Pace::Own, Speed::Times(1.0));
        remote.press(Command::Seek(3600 * SECOND_NS as i64));
        while turn(&mut driver, &mut notes, TICK) == Turn::Busy {}
        let rows = notes.now().tuples.clone().into_iter();
        rows.filter_map(|row| Some((row.key, row.pressure?.in_use, row.hidden)))
            .filter(|(_, in_use, _)| *in_use != 0)
            .collect::<Vec<_>>()
    };
    let whole = pools(Filter::default());
    let some = pools(Filter { comms: vec!["curl".into()], ..Filter::default() });
    assert!(some.iter().any(|(_, _, hidden)| *hidden != 0));
    assert!(whole.iter().all(|(_, _, hidden)| *hidden == 0));
    for (key, in_use, _) in some {
        assert!(whole.contains(&(key, in_use, 0)), "{key:?}: {in_use}; {whole:?}");
    }
}
