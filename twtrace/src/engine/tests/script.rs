//! Owns: short words for events, so that a test reads as a script.
//! Must not know: what is tested.

use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::{Capacity, ProcessKey, Tracker};
use crate::model::event::{Comm, Conn, Event, Kind, Process, Reason, Role, Substate, Via};
use crate::model::identity::{Identity, container_of};
use crate::model::settings::Settings;

pub(super) const SECOND_NS: u64 = 1_000_000_000;
/// When the script's time begins.
pub(super) const BEGAN_NS: u64 = 7_000 * SECOND_NS;
pub(super) const NETNS: u32 = 4_026_531_840;

/// A tracker and a clock that moves when it is told to.
pub(super) struct Script {
    pub(super) tracker: Tracker,
    pub(super) now_ns: u64,
}

/// One end of a connection and who it belongs to.
#[derive(Clone)]
pub(super) struct TestProcess {
    pub(super) pid: u32,
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) daddr: &'static str,
    pub(super) dport: u16,
    pub(super) identity: Option<Arc<Identity>>,
}

/// A client that connects to `daddr:dport`.
pub(super) fn client(pid: u32, daddr: &'static str, dport: u16) -> TestProcess {
    TestProcess { pid, name: "client", role: Role::Client, daddr, dport, identity: None }
}

/// A server that `daddr` connects to.
pub(super) fn server(pid: u32, daddr: &'static str) -> TestProcess {
    TestProcess { pid, name: "server", role: Role::Server, daddr, dport: 50_021, identity: None }
}

impl TestProcess {
    pub(super) fn key(&self) -> ProcessKey {
        ProcessKey { pid: self.pid, start_ns: u64::from(self.pid) * 1_000, comm: Comm::new(self.name) }
    }

    pub(super) fn in_cgroup(mut self, cgroup: &str) -> Self {
        let container = container_of(cgroup);
        self.identity =
            Some(Arc::new(Identity { cgroup: Some(cgroup.into()), container, ..Identity::default() }));
        self
    }

    pub(super) fn conn(&self, sport: u16) -> Conn {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        Conn {
            netns: NETNS,
            ifindex: 0,
            saddr: address("10.0.0.1"),
            daddr: address(self.daddr),
            sport,
            dport: self.dport,
        }
    }

    fn event(&self, kind: Kind, now_ns: u64, sport: u16) -> Event {
        let mut event = Event::new(kind, now_ns, Some(self.conn(sport)));
        let ProcessKey { pid, start_ns, comm } = self.key();
        event.role = self.role;
        event.owner = (pid != 0).then_some(Process { pid, tid: pid, uid: 33, cgroup_id: 7, start_ns, comm });
        event.identity = self.identity.clone();
        event
    }
}

impl Script {
    pub(super) fn new(tracker: Tracker) -> Self {
        let mut script = Self { tracker, now_ns: BEGAN_NS };
        script.tracker.advance(BEGAN_NS);
        script
    }

    /// Moves the clock to `seconds` after the beginning.
    pub(super) fn at(&mut self, seconds: f64) -> &mut Self {
        self.now_ns = BEGAN_NS + (seconds * 1e9) as u64;
        self.tracker.advance(self.now_ns);
        self
    }

    pub(super) fn capacity(&mut self, range: (u16, u16)) -> &mut Self {
        let settings = Settings { max_tw_buckets: Some(1_000), ..Settings::of_range(range.0, range.1) };
        let capacity = Capacity { name: None, settings };
        self.tracker.set_capacity(NETNS, capacity);
        self
    }

    /// A birth on each of the ports.
    pub(super) fn born(&mut self, who: &TestProcess, sports: impl IntoIterator<Item = u16>) -> &mut Self {
        for sport in sports {
            let mut event = who.event(Kind::Created, self.now_ns, sport);
            event.substate = Some(Substate::TimeWait);
            event.timeout_ms = Some(60_000);
            event.via = Some(Via::Close);
            event.age_ns = Some(u64::from(sport % 8) * 1_000_000);
            event.bytes_sent = Some(7);
            self.tracker.apply(&mut event);
        }
        self
    }

    /// An end on each of the ports.
    pub(super) fn ended(
        &mut self,
        who: &TestProcess,
        sports: impl IntoIterator<Item = u16>,
        reason: Reason,
    ) -> &mut Self {
        for sport in sports {
            let mut event = Event::new(Kind::Ended, self.now_ns, Some(who.conn(sport)));
            event.substate = Some(Substate::TimeWait);
            event.reason = Some(reason);
            self.tracker.apply(&mut event);
        }
        self
    }

    /// Overflows and failures.
    pub(super) fn fails(&mut self, who: &TestProcess, kind: Kind, sport: u16, times: u32) -> &mut Self {
        for _ in 0..times {
            self.tracker.apply(&mut who.event(kind, self.now_ns, sport));
        }
        self
    }
}
