//! Owns: a machine whose processes all make connections at the same steady rate, as events.
//! Must not know: what they are used for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use twtrace::engine::{Capacity, Tracker};
use twtrace::model::event::{Comm, Conn, Event, Kind, Opener, Process, Reason, Role, Substate, Via};
use twtrace::model::identity::Identity;
use twtrace::model::settings::Settings;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// Network namespace of all.
pub(crate) const NETNS: u32 = 4_026_531_840;

/// A machine whose processes all make connections at the same steady rate, which live in TIME_WAIT for a minute.
pub(crate) struct Steady {
    /// Live at any time, from the second minute on.
    sockets: u64,
    identities: Vec<Arc<Identity>>,
    /// All connect to one peer, of whose ports each takes the next.
    pub(crate) is_one_pool: bool,
}

impl Steady {
    pub(crate) fn new(processes: u64, sockets: u64) -> Self {
        let identity = |pid| Identity {
            exe: Some(format!("/usr/bin/worker-{pid}")),
            cmdline: format!("worker --number {pid}").into(),
            cgroup: Some("/system.slice/worker.service".to_owned()),
            ..Identity::default()
        };
        let identities = (1..=processes).map(|pid| Arc::new(identity(pid))).collect();
        Self { sockets, identities, is_one_pool: false }
    }

    /// The `n`th connection: each process has its own peer and two tuples.
    fn conn(&self, n: u64) -> Conn {
        let processes = if self.is_one_pool { 1 } else { self.identities.len() as u64 };
        let [_, a, b, c] = ((n % processes) as u32).to_be_bytes();
        Conn {
            netns: NETNS,
            ifindex: 0,
            saddr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            daddr: IpAddr::V4(Ipv4Addr::new(172, 16 + a, b, c)),
            sport: 32_768 + (n / processes % 28_001) as u16,
            dport: 443 + if self.is_one_pool { 0 } else { (n % 2) as u16 },
        }
    }

    fn created(&self, n: u64, mono_ns: u64) -> Event {
        let index = (n % self.identities.len() as u64) as usize;
        let pid = index as u32 + 1;
        let mut event = Event::new(Kind::Created, mono_ns, Some(self.conn(n)));
        event.role = Role::Client;
        event.substate = Some(Substate::TimeWait);
        event.timeout_ms = Some(60_000);
        event.cookie = Some(n + 1);
        event.via = Some(Via::Close);
        let comm = Comm::new("worker");
        event.owner = Some(Process { pid, tid: pid, uid: 33, cgroup_id: 7, start_ns: u64::from(pid), comm });
        event.opener = Some(Opener { pid, start_ns: u64::from(pid), comm });
        event.identity = Some(self.identities[index].clone());
        event.age_ns = Some(n * 7_919 % 1_009 * 39_643);
        event.bytes_sent = Some(n * 104_729 % 1_013 * 9);
        event.bytes_received = Some(n * 1_299_709 % 1_019 * 883);
        event
    }

    fn ended(&self, n: u64, mono_ns: u64) -> Event {
        let mut event = Event::new(Kind::Ended, mono_ns, Some(self.conn(n)));
        event.reason = Some(Reason::Expired);
        event.substate = Some(Substate::TimeWait);
        event
    }

    /// An empty tracker that knows how many ports there are.
    pub(crate) fn tracker(&self) -> Tracker {
        let mut tracker = Tracker::new();
        let settings = Settings { max_tw_buckets: Some(131_072), ..Settings::of_range(32_768, 60_999) };
        tracker.set_capacity(NETNS, Capacity { name: None, settings });
        tracker
    }

    /// Births number `from` to `to`, each with the end of the one a minute earlier.
    pub(crate) fn run(&self, tracker: &mut Tracker, from: u64, to: u64) {
        for n in from..to {
            let now_ns = SECOND_NS + n * MINUTE_NS / self.sockets;
            if let Some(old) = n.checked_sub(self.sockets) {
                tracker.apply(&mut self.ended(old, now_ns));
            }
            tracker.apply(&mut self.created(n, now_ns));
        }
    }
}
