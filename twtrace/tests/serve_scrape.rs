//! Owns: the promise that a scrape is small: fifty owners with fifty destinations and fifty pools, and as many in `other`, in 64 KiB.
//! Must not know: what is told of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use twtrace::engine::{Capacity, Tracker};
use twtrace::host::notify::Manager;
use twtrace::model::clock;
use twtrace::model::event::{Comm, Conn, Event, Kind, Process, Role, Via};
use twtrace::model::settings::Settings;
use twtrace::present::live::Upkeep;
use twtrace::present::serve::{Board, Server, Service, Shared};
use twtrace::source::View as _;

const TOP: usize = 50;
/// Twice as many as are told apart.
const OWNERS: u32 = 2 * TOP as u32;
/// As many and some of which there is a single socket.
const QUIET: u32 = OWNERS + 13;
/// Sockets of each.
const EACH: u16 = 17;
/// The most that an answer may have, compressed, in bytes.
const MOST: usize = 64 << 10;
/// A namespace that nobody has: upkeep does not change what it allows.
const NETNS: u32 = 7;

fn event(owner: u32, n: u16) -> Event {
    let (saddr, daddr) = ([10, 0, 0, 1].into(), [10, 1, 0, owner as u8].into());
    let conn = Conn { netns: NETNS, ifindex: 0, saddr, daddr, sport: 40_000 + n, dport: 5432 };
    let mut event = Event::new(Kind::Created, clock::mono_ns(), Some(conn));
    event.role = Role::Client;
    event.via = Some(Via::Close);
    let pid = 5_000_000 + owner;
    let comm = Comm::new(&format!("service-{owner}"));
    event.owner = Some(Process { pid, tid: pid, uid: 0, cgroup_id: 1, start_ns: 1, comm });
    event
}

/// The body of the answer, compressed.
fn scrape(at: std::net::SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(String::from_utf8_lossy(&answer[..end]).contains("content-encoding: gzip"));
    answer.split_off(end + 4)
}

#[test]
fn a_scrape_of_fifty_owners_and_fifty_pools_is_small() {
    let board = Arc::new(Board::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, None, Arc::new(Shared::new(Arc::clone(&board), None, TOP))).unwrap();
    let mut service = Service::new(board, TOP, Upkeep::start().unwrap(), Manager::default(), None);
    service.wake_with(Arc::default());
    let mut tracker = Tracker::new();
    let capacity = Capacity {
        name: None,
        settings: Settings { max_tw_buckets: Some(65_536), ..Settings::of_range(40_000, 41_008) },
    };
    for owner in 0..OWNERS {
        for n in 0..EACH {
            let mut event = event(owner, n);
            tracker.apply(&mut event);
            service.event(&event).unwrap();
        }
    }
    // Of pools with less than 1 % of their ports in use there may be no end: none of them is told apart.
    for owner in OWNERS..QUIET {
        tracker.apply(&mut event(owner, 0));
    }
    tracker.set_capacity(NETNS, capacity);
    let at = server.address();
    let asks = std::thread::spawn(move || {
        let began = Instant::now();
        (scrape(at), began.elapsed())
    });
    while !asks.is_finished() {
        service.tick(&mut tracker, clock::mono_ns()).unwrap();
        std::thread::yield_now();
    }
    let (body, took) = asks.join().unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    eprintln!("{} bytes, {} compressed, in {took:?}", text.len(), body.len());
    for (series, want) in [
        ("twtrace_owner_sockets_live{", TOP + 1),
        ("twtrace_destination_sockets_live{", TOP + 1),
        ("twtrace_pool_ports{", TOP + 1),
        (&format!("twtrace_pools {QUIET}"), 1),
    ] {
        assert_eq!(text.lines().filter(|line| line.starts_with(series)).count(), want, "{series}");
    }
    assert!(body.len() <= MOST, "{} bytes", body.len());
    server.stop().unwrap();
}
