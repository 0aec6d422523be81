//! A kernel made of numbers, some of whose events get lost or are never seen, and what is told of it: the tracker, a report and a replay of
//! what was recorded must agree, and agree with that kernel once it was asked.

mod books;
mod end;
mod failed;
mod last;
mod left;
mod pauses;
mod replaced;
mod room;
mod unknown;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::lister::{SocketFate, SocketQuery};
use super::*;
use crate::engine::Seed;
use crate::host::net::books::Books;
use crate::model::event::{Comm, Conn, Process, Reason, Role, Substate, Via};
use crate::recording::{Encoder, Head, Recording, Tail};
use crate::source::replay::{Driver, OpenReplay, Pace, Remote, Speed};
use last::Last;

const START_NS: u64 = 1_000 * SECOND_NS;
const STEP_NS: u64 = 20_000_000;

/// What happens to an event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Comes,
    /// Dropped, and counted by the kernel side.
    Lost,
    /// No program ran: only the kernel's own counters have it.
    Unseen,
}

/// The kernel, and the program beside it.
struct Simulation {
    state: u64,
    now_ns: u64,
    /// Cookie, and when the timer runs out.
    kernel: BTreeMap<(u32, u16), (u64, u64)>,
    births: BTreeMap<u32, u64>,
    /// Ways lead here.
    reached: HashSet<u32>,
    loss: Loss,
    doubts: u64,
    reported: Loss,
    ring: Vec<Event>,
    tracker: Tracker,
    healing: Healing,
    requests: VecDeque<(u64, Request)>,
    told: Vec<Event>,
    fate: fn(u64) -> Fate,
    listings: usize,
    /// No thread can be started that asks namespaces.
    fails: bool,
    /// No socket can be asked after.
    is_deaf: bool,
    /// How long an answer takes, and the processor time in it.
    takes_ns: u64,
    cost_ns: u64,
    /// For so many lines in each turn.
    room: usize,
}

fn conn((netns, sport): (u32, u16)) -> Conn {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Conn { netns, ifindex: 0, saddr: here, daddr: here, sport, dport: 80 }
}

impl Simulation {
    fn new(filter: Filter, fate: fn(u64) -> Fate) -> Self {
        let mut tracker = Tracker::new();
        tracker.advance(START_NS);
        let mut healing = Healing::new(filter, true);
        healing.begin();
        Self {
            state: 0x2545_f491_4f6c_dd1d,
            now_ns: START_NS,
            kernel: BTreeMap::new(),
            births: BTreeMap::new(),
            reached: [7, 8, 9].into(),
            loss: Loss::default(),
            doubts: 0,
            reported: Loss::default(),
            ring: Vec::new(),
            tracker,
            healing,
            requests: VecDeque::new(),
            told: Vec::new(),
            fate,
            listings: 0,
            fails: false,
            is_deaf: false,
            takes_ns: 2 * STEP_NS,
            cost_ns: 0,
            room: 5,
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn send(&mut self, event: Event) {
        let chance = self.chance(1009);
        match (self.fate)(chance) {
            Fate::Comes => self.ring.push(event),
            Fate::Lost if event.kind == Kind::Created => self.loss.created += 1,
            Fate::Lost => self.loss.ended += 1,
            Fate::Unseen => {}
        }
    }

    fn born(&mut self, at: (u32, u16), owner: &str) {
        if self.kernel.contains_key(&at) {
            return;
        }
        *self.births.entry(at.0).or_default() += 1;
        let cookie = self.state;
        self.kernel.insert(at, (cookie, self.now_ns + 60 * SECOND_NS));
        let mut event = Event::new(Kind::Created, self.now_ns, Some(conn(at)));
        (event.role, event.substate, event.timeout_ms) =
            (Role::Client, Some(Substate::TimeWait), Some(60_000));
        (event.cookie, event.via) = (Some(cookie), Some(Via::Close));
        let comm = Comm::new(owner);
        event.owner = Some(Process { pid: 3, tid: 3, uid: 0, cgroup_id: 0, start_ns: 1, comm });
        self.send(event);
    }

    fn dies(&mut self, at: (u32, u16), reason: Reason) {
        let Some((cookie, _)) = self.kernel.remove(&at) else { return };
        let mut event = Event::new(Kind::Ended, self.now_ns, Some(conn(at)));
        (event.cookie, event.reason, event.substate) = (Some(cookie), Some(reason), Some(Substate::TimeWait));
        self.send(event);
    }

    /// Timers run out, some connections come and some ports are used again.
    fn happen(&mut self, busy: bool) {
        self.now_ns += STEP_NS;
        let due: Vec<_> = self
            .kernel
            .iter()
            .filter(|(_, (_, ends_ns))| *ends_ns <= self.now_ns)
            .map(|(at, _)| *at)
            .collect();
        due.into_iter().for_each(|at| self.dies(at, Reason::Expired));
        if busy {
            let at = (7 + self.chance(3) as u32, self.chance(211) as u16);
            if self.chance(3) == 0 { self.dies(at, Reason::ReusedOutgoing) } else { self.born(at, "curl") }
        }
    }

    /// The engine's turn: everything in the ring, then what is to be healed. Answers come some steps after they were asked for, and are of
    /// the moment in between; what they say is older than the ring by then.
    fn turn(&mut self, until_ns: u64) {
        for mut event in std::mem::take(&mut self.ring) {
            self.healing.note(&event);
            let known = event.kind == Kind::Ended && self.tracker.knows_socket_of(&event);
            if !(self.healing.scope.passes(&event) || known) {
                continue;
            }
            let applied = self.tracker.apply(&mut event);
            applied.before.iter().for_each(|before| self.healing.note(before));
            self.told.extend(applied.before);
            self.told.extend(applied.is_new.then_some(event));
        }
        let mut loss = self.loss;
        loss.missed = self.healing.missed();
        let news = loss.since(&self.reported);
        self.healing.lost(&loss, &news, self.doubts, self.now_ns);
        if !news.is_empty() {
            self.reported = loss;
            let mut event = Event::new(Kind::Lost, self.now_ns, None);
            event.loss = Some(Box::new(news));
            let _ = self.tracker.apply(&mut event);
            self.told.push(event);
        }
        let step = self.healing.step(self.now_ns, until_ns, self.room, &mut self.tracker);
        self.told.extend(step.events);
        self.requests.extend(step.requests.into_iter().map(|request| (self.now_ns, request)));
    }

    fn books(&self, netns: u32) -> Read {
        let live = self.kernel.keys().filter(|at| at.0 == netns).count() as u64;
        let tw = self.births.get(&netns).copied().unwrap_or(0);
        (netns, self.now_ns, Books { tw, sockstat_tw: live, ..Books::default() })
    }

    /// The lister answers what was asked long enough ago.
    fn answer(&mut self) {
        while self.requests.front().is_some_and(|(at_ns, _)| *at_ns + self.takes_ns <= self.now_ns) {
            let Some((began_ns, request)) = self.requests.pop_front() else { return };
            let span = Span { began_ns, ended_ns: self.now_ns };
            let seed = |at: &(u32, u16), (cookie, ends_ns): (u64, u64)| Seed {
                conn: conn(*at),
                cookie: Some(cookie),
                substate: Substate::TimeWait,
                role: Role::Unknown,
                ends_ns,
            };
            let reply = match request {
                Request::List { .. } => {
                    if self.listings == 0 {
                        let books = self.reached.iter().map(|netns| self.books(*netns)).collect();
                        self.healing.take(Reply::Opened { span, books });
                    }
                    self.listings += 1;
                    let is_asked = |netns: &u32| !self.fails && self.reached.contains(netns);
                    let shown = self.kernel.iter().filter(|(at, _)| is_asked(&at.0));
                    let seeds = shown.map(|(at, socket)| seed(at, *socket)).collect();
                    let netns = self.reached.iter().copied().filter(is_asked).collect();
                    self.healing.take(Reply::Namespaces { netns, span, seeds });
                    Reply::Listed {
                        span,
                        cost_ns: self.cost_ns,
                        reached: self.reached.clone(),
                        is_incomplete: self.fails,
                        limitations: Vec::new(),
                    }
                }
                Request::LookUp { sockets } => {
                    let found = |asked: SocketQuery| {
                        let at = (asked.0.netns, asked.0.sport);
                        let there = self.kernel.get(&at).filter(|(cookie, _)| asked.1 == Some(*cookie));
                        let found = match there {
                            _ if self.is_deaf || !self.reached.contains(&at.0) => SocketFate::Unknown,
                            Some(socket) => SocketFate::There(seed(&at, *socket)),
                            None => SocketFate::Gone,
                        };
                        (asked, found)
                    };
                    Reply::LookedUp { span, found: sockets.into_iter().map(found).collect() }
                }
                Request::Check { netns } => {
                    let netns = netns.into_iter().filter(|netns| self.reached.contains(netns));
                    Reply::Checked { span, books: netns.map(|netns| self.books(netns)).collect() }
                }
                Request::Books { .. } | Request::AreToldApart => continue,
            };
            self.healing.take(reply);
        }
    }

    fn run(&mut self, steps: usize, busy: bool) {
        for _ in 0..steps {
            self.happen(busy);
            self.answer();
            // Now and then the engine is behind.
            if self.chance(5) != 0 {
                self.turn(self.now_ns);
                self.adds_up();
            }
        }
        self.turn(self.now_ns);
    }

    fn adds_up(&self) {
        let total = self.tracker.total();
        assert_eq!(total.created + total.listed - total.ended(), self.tracker.live() as u64);
    }

    fn agrees_with_the_kernel(&self) {
        let mut known: Vec<_> =
            self.tracker.sockets().map(|(conn, live)| (conn.netns, conn.sport, live.cookie)).collect();
        known.sort_unstable();
        let kernel: Vec<_> =
            self.kernel.iter().map(|(at, (cookie, _))| (at.0, at.1, Some(*cookie))).collect();
        assert_eq!(known, kernel);
    }

    /// What was told, as a recording.
    fn recorded(&self) -> Vec<u8> {
        let head = Head { mono_ns: START_NS, ..Head::default() };
        let mut encoder = Encoder::new(&head).unwrap();
        self.told.iter().for_each(|event| encoder.append(event));
        let live = self.tracker.live() as u64;
        encoder.finish(&Tail { mono_ns: self.now_ns, live, ..Tail::default() }).unwrap();
        std::mem::take(encoder.bytes())
    }

    /// The live view, a report and a replay of the same history say the same.
    fn agrees_with_its_recording(&self) {
        let bytes = self.recorded();
        let recording = Recording::read(Cursor::new(bytes.clone()), "told").unwrap();
        let report =
            crate::present::report::read(recording, &crate::present::report::Options::default()).unwrap();
        let (live, mut total) = (self.tracker.live() as u64, self.tracker.total());
        assert_eq!((report.total.live, report.total.counts), (live, total));
        let open: OpenReplay = Box::new(move || Recording::read(Cursor::new(bytes.clone()), "told"));
        let mut driver = Driver::new(
            open,
            Filter::default(),
            Pace::Recorded(SECOND_NS),
            Speed::Max,
            Remote::new(Speed::Max),
        )
        .unwrap();
        let mut last = Last::default();
        driver.begin(&mut last).unwrap();
        while driver.turn(Duration::from_secs(1), 77, &mut last).unwrap() != crate::source::replay::Turn::Done
        {
        }
        total.loss = last.counts.loss;
        assert_eq!((last.live, last.counts), (live, total));
        assert!(last.always, "what lived in the replay was not what had come and not gone");
    }
}

fn comes(_chance: u64) -> Fate {
    Fate::Comes
}

#[test]
fn without_loss_everything_is_told_once() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..31).for_each(|sport| sim.born((7, 500 + sport), "before"));
    sim.ring.clear();
    sim.run(9001, true);
    sim.run(300, false);
    sim.agrees_with_the_kernel();
    sim.agrees_with_its_recording();
    let total = sim.tracker.total();
    assert_eq!((total.listed, total.ended_for(Reason::Missed), total.loss.missed), (31, 0, 0));
    assert_eq!(sim.listings, 1, "nothing was amiss");
}

#[test]
fn after_losses_the_tracker_a_report_and_a_replay_agree_with_the_kernel() {
    let mut sim =
        Simulation::new(Filter::default(), |chance| if chance % 3 == 0 { Fate::Lost } else { Fate::Comes });
    sim.run(2003, true);
    sim.fate = comes;
    sim.run(2500, false);
    sim.agrees_with_the_kernel();
    sim.agrees_with_its_recording();
    let total = sim.tracker.total();
    assert!(total.loss.created > 100 && total.loss.ended > 100, "{total:?}");
    assert!(total.listed > 20 && total.ended_for(Reason::Missed) > 20, "{total:?}");
    assert_eq!(total.loss.missed, 0, "what was counted as lost was counted again as missed");
}

#[test]
fn a_loss_under_a_filter_on_the_owner_forgets_nobody() {
    let filter = Filter { comms: vec!["curl".into()], ..Filter::default() };
    let mut sim = Simulation::new(filter, comes);
    (0..46).for_each(|sport| sim.born((7, sport), "curl"));
    (50..97).for_each(|sport| sim.born((7, sport), "other"));
    sim.run(100, false);
    assert_eq!(sim.tracker.live(), 46);
    sim.loss.created += 3;
    sim.run(300, false);
    assert_eq!((sim.listings, sim.tracker.live(), sim.tracker.total().listed), (2, 46, 0));
    sim.run(3000, false);
    let total = sim.tracker.total();
    assert_eq!((total.ended_for(Reason::Expired), total.ended(), sim.tracker.live()), (46, 46, 0));
    sim.agrees_with_its_recording();
}

#[test]
fn a_timer_that_was_armed_anew_is_no_end() {
    let mut sim = Simulation::new(Filter::default(), comes);
    (0..17).for_each(|sport| sim.born((7, sport), "curl"));
    sim.kernel.values_mut().for_each(|(_, ends_ns)| *ends_ns += 60 * SECOND_NS);
    sim.run(5000, false);
    assert_eq!((sim.tracker.live(), sim.tracker.total().ended()), (17, 0));
    sim.run(1300, false);
    assert_eq!((sim.tracker.live(), sim.tracker.total().ended_for(Reason::Expired)), (0, 17));
}
