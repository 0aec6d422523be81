//! Owns: the promise that `serve` can run for ever: a day of a million short-lived processes leaves as many series and as much memory as its
//! first hours, and sums stay exact.
//! Must not know: how that is done.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use twtrace::engine::Tracker;
use twtrace::host::notify::Manager;
use twtrace::model::clock;
use twtrace::model::event::{Comm, Conn, Event, Kind, Process, Reason, Role, Via};
use twtrace::present::live::Upkeep;
use twtrace::present::serve::{Board, Server, Service, Shared};
use twtrace::source::View as _;

const SECOND_NS: u64 = 1_000_000_000;
const HOURS: u64 = 24;
const PROCESSES: u64 = 1_000_008;
const PER_HOUR: u64 = PROCESSES / HOURS;
/// Sockets that live at a time: a minute's.
const LIVE: u64 = PER_HOUR / 60;
const TOP: usize = 50;

/// What all threads have allocated and not given back, in bytes.
static HELD: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches an atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Of the `n`th process: half of them have a name of their own, the others one of 97, and each its destination.
fn event(kind: Kind, n: u64, mono_ns: u64) -> Event {
    let [_, a, b, c] = (n as u32).to_be_bytes();
    let (saddr, daddr) = ([10, 0, 0, 1].into(), [172, 16 + a, b, c].into());
    let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_000, dport: 443 };
    let mut event = Event::new(kind, mono_ns, Some(conn));
    event.role = Role::Client;
    event.via = Some(Via::Close);
    let name = if n.is_multiple_of(2) { format!("job-{n}") } else { format!("worker-{}", n % 97) };
    // No process has such a pid: all are gone when they are looked for.
    let pid = 5_000_000 + n as u32;
    let comm = Comm::new(&name);
    event.owner = Some(Process { pid, tid: pid, uid: 0, cgroup_id: 1, start_ns: n, comm });
    event.reason = (kind == Kind::Ended).then_some(Reason::Expired);
    event
}

fn get(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn sum(answer: &str, name: &str) -> u64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    answer.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Scrapes until the answer is of this moment: one that is a moment old may be given.
fn scrape(server: &Server, service: &mut Service, now_ns: u64, created: u64) -> String {
    let mut tracker = Tracker::new();
    loop {
        let at = server.address();
        let asks = std::thread::spawn(move || get(at));
        while !asks.is_finished() {
            service.tick(&mut tracker, now_ns).unwrap();
            std::thread::yield_now();
        }
        let answer = asks.join().unwrap();
        if sum(&answer, "twtrace_sockets_created_total") == created {
            return answer;
        }
    }
}

#[test]
fn a_day_of_a_million_processes_leaves_nothing_behind() {
    let board = Arc::new(Board::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, None, Arc::new(Shared::new(Arc::clone(&board), None, TOP))).unwrap();
    let mut service = Service::new(board, TOP, Upkeep::start().unwrap(), Manager::default(), None);
    service.wake_with(Arc::default());
    let began_ns = clock::mono_ns();
    let mut held = Vec::new();
    let mut series = Vec::new();
    for n in 0..PROCESSES {
        let now_ns = began_ns + n * (HOURS * 3600 * SECOND_NS / PROCESSES);
        service.event(&event(Kind::Created, n, now_ns)).unwrap();
        if let Some(old) = n.checked_sub(LIVE) {
            service.event(&event(Kind::Ended, old, now_ns)).unwrap();
        }
        if n % LIVE == 0 {
            service.tick(&mut Tracker::new(), now_ns).unwrap();
        }
        if (n + 1) % PER_HOUR == 0 {
            let answer = scrape(&server, &mut service, now_ns, n + 1);
            for name in ["twtrace_owner_sockets_created_total", "twtrace_destination_sockets_created_total"] {
                assert_eq!(sum(&answer, name), n + 1, "{name}");
            }
            assert_eq!(sum(&answer, "twtrace_owner_sockets_ended_total"), n + 1 - LIVE);
            assert_eq!(sum(&answer, "twtrace_owner_sockets_live"), LIVE);
            series.push(answer.lines().filter(|line| !line.starts_with('#')).count());
            held.push(HELD.load(Ordering::Relaxed));
        }
    }
    server.stop().unwrap();
    eprintln!("series {series:?}, bytes {held:?}");
    let later = &held[2..];
    let (least, most) = (later.iter().min().unwrap(), later.iter().max().unwrap());
    assert!(most - least < 1 << 20, "memory is not flat: {held:?}");
    assert!(series[2..].iter().all(|count| *count == series[1]), "series are not flat: {series:?}");
}
