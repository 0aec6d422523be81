//! Owns: the promise about the tracker's memory: bounded, and untouched by an event once the world is known.
//! Must not know: how the tracker does it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use twtrace::event::{Comm, Conn, Event, Kind, Opener, Process, Reason, Role, Substate, Via};
use twtrace::identity::Identity;
use twtrace::tracker::{By, Capacity, Tracker};

/// What one thread has allocated.
#[derive(Clone, Copy, Default)]
struct Use {
    bytes: isize,
    peak: isize,
    calls: u64,
}

thread_local! {
    static USE: Cell<Use> = const { Cell::new(Use { bytes: 0, peak: 0, calls: 0 }) };
}

struct Counting;

fn note(bytes: isize, calls: u64) {
    // Gone while a thread ends: then nobody asks any more.
    let _ = USE.try_with(|cell| {
        let mut now = cell.get();
        now.bytes += bytes;
        now.peak = now.peak.max(now.bytes);
        now.calls += calls;
        cell.set(now);
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a Cell of this thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may both be there for a moment.
        note(size as isize, 1);
        note(-(layout.size() as isize), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// A machine whose processes all make connections at the same steady rate, which live in TIME_WAIT for a minute.
struct Script {
    /// Live at any time, from the second minute on.
    sockets: u64,
    identities: Vec<Arc<Identity>>,
}

impl Script {
    fn new(processes: u64, sockets: u64) -> Self {
        let identity = |pid| Identity {
            exe: Some(format!("/usr/bin/worker-{pid}")),
            cmdline: Some(format!("worker --number {pid}")),
            cgroup: Some("/system.slice/worker.service".to_owned()),
            container: None,
        };
        Self { sockets, identities: (1..=processes).map(|pid| Arc::new(identity(pid))).collect() }
    }

    /// The `n`th connection: each process has its own peer and two tuples.
    fn conn(&self, n: u64) -> Conn {
        let processes = self.identities.len() as u64;
        let [_, a, b, c] = ((n % processes) as u32).to_be_bytes();
        Conn {
            netns: 4_026_531_840,
            ifindex: 0,
            saddr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            daddr: IpAddr::V4(Ipv4Addr::new(172, 16 + a, b, c)),
            sport: 32_768 + (n / processes % 28_001) as u16,
            dport: 443 + (n % 2) as u16,
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

    /// Births number `from` to `to`, each with the end of the one a minute earlier.
    fn run(&self, world: &mut Tracker, from: u64, to: u64) {
        for n in from..to {
            let now_ns = SECOND_NS + n * MINUTE_NS / self.sockets;
            if let Some(old) = n.checked_sub(self.sockets) {
                world.apply(&mut self.ended(old, now_ns));
            }
            world.apply(&mut self.created(n, now_ns));
        }
    }
}

#[test]
fn a_full_world_stays_under_100_mb() {
    let script = Script::new(10_007, 131_072);
    let before = USE.get();
    USE.set(Use { peak: before.bytes, ..before });
    let mut world = Tracker::new();
    let capacity =
        Capacity { range: (32_768, 60_999), reserved: Vec::new(), ports: 28_232, max_tw_buckets: 131_072 };
    world.set_capacity(4_026_531_840, capacity);
    script.run(&mut world, 0, 2 * 131_072);
    assert_eq!((world.live(), world.dropped().rows), (131_072, 0));
    let tracker_mb = (USE.get().peak - before.bytes) as f64 / 1e6;
    let snapshot = world.snapshot(By::ALL);
    assert_eq!(snapshot.processes.len(), 10_007);
    let all_mb = (USE.get().peak - before.bytes) as f64 / 1e6;
    eprintln!("tracker {tracker_mb:.1} MB at its peak, with a snapshot of everything {all_mb:.1} MB");
    assert!(all_mb < 100.0, "{all_mb:.1} MB");
}

#[test]
fn an_event_in_a_known_world_allocates_nothing() {
    let script = Script::new(11, 5_003);
    let mut world = Tracker::new();
    script.run(&mut world, 0, 40_009);
    let before = USE.get().calls;
    script.run(&mut world, 40_009, 45_013);
    let calls = USE.get().calls - before;
    assert_eq!(calls, 0, "in 10,008 events");
}
