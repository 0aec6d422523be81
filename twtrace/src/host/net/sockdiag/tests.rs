//! Owns: what the two readers make of the same sockets, captured at one moment in one namespace (Linux 6.18,
//! little-endian): `testdata/sockdiag*.hex` has a dump a family, a message a line; `testdata/tcp*` are the files.
//!
//! The namespace held TIME_WAIT sockets (one bound to an interface, one IPv6, one IPv4-mapped), and three in
//! FIN_WAIT2: a TIME_WAIT socket (port 41039), a full socket with a file (41047), and an orphaned full socket
//! without one (41051, TCP_LINGER2 of 97 s). So neither the state nor inode 0 tells which is which; the timer does.
#![cfg(target_endian = "little")]

use super::message::{Ask, Envelope, Message, messages, request, request_both};
use super::*;

const SEQUENCE: u32 = 17;
const HEX: [&str; 2] = [include_str!("../testdata/sockdiag4.hex"), include_str!("../testdata/sockdiag6.hex")];

/// A dump as the datagram that it was.
fn datagram(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

fn from_netlink() -> Vec<DiagSocket> {
    let mut sockets = Vec::new();
    for hex in HEX {
        let all: Vec<Envelope> = messages(&datagram(hex)).collect::<Result<_, _>>().unwrap();
        assert!(all.iter().all(|envelope| envelope.sequence == SEQUENCE && !envelope.interrupted));
        assert_eq!(all.last().unwrap().message, Message::End(0));
        sockets.extend(all.iter().filter_map(|envelope| match envelope.message {
            Message::Socket(socket) => Some(socket),
            _ => None,
        }));
    }
    sockets
}

fn from_proc() -> Vec<DiagSocket> {
    let texts = [include_str!("../testdata/tcp"), include_str!("../testdata/tcp6")];
    texts.iter().flat_map(|text| proctcp::parse("captured", text).unwrap()).collect()
}

#[test]
fn each_field_is_where_the_kernel_put_it() {
    let all = from_netlink();
    assert_eq!(all.len(), 12);
    let bound = all.iter().find(|socket| socket.sport == 41_029).unwrap();
    let want = DiagSocket {
        family: 4,
        is_mapped: false,
        state: 6,
        timer: TIMER_TIME_WAIT,
        saddr: "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets(),
        daddr: "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets(),
        sport: 41_029,
        dport: 7001,
        ifindex: 1,
        expires_ms: 59_700,
        uid: 0,
        inode: 0,
        cookie: 15,
    };
    assert_eq!(*bound, want);
    let listener = all.iter().find(|socket| socket.state == 10).unwrap();
    assert_eq!(
        (listener.sport, listener.inode, listener.local_ip().to_string().as_str()),
        (7001, 38_262, "127.0.0.1")
    );
}

#[test]
fn the_timer_alone_tells_time_wait_sockets_from_full_ones_in_fin_wait2() {
    for sockets in [from_netlink(), from_proc()] {
        let mut mini: Vec<_> = sockets
            .iter()
            .filter(|s| s.is_time_wait())
            .map(|s| (s.sport, state_name(s.state), s.family, s.is_mapped))
            .collect();
        mini.sort_unstable();
        assert_eq!(
            mini,
            [
                (7002, "TIME_WAIT", 4, true),
                (41_011, "TIME_WAIT", 4, false),
                (41_017, "TIME_WAIT", 6, false),
                (41_029, "TIME_WAIT", 4, false),
                (41_039, "FIN_WAIT2", 4, false),
            ]
        );
        let mut full: Vec<_> = sockets
            .iter()
            .filter(|s| s.state == 5 && !s.is_time_wait())
            .map(|s| (s.sport, s.inode == 0, s.timer))
            .collect();
        full.sort_unstable();
        assert_eq!(full, [(41_047, false, 0), (41_051, true, 2)]);
    }
}

#[test]
fn both_readers_see_the_same_sockets() {
    let key =
        |s: &DiagSocket| (s.is_mapped, s.saddr, s.sport, s.daddr, s.dport, s.state, s.timer, s.uid, s.inode);
    let [mut netlink, mut proc] = [from_netlink(), from_proc()];
    netlink.sort_by_key(key);
    proc.sort_by_key(key);
    assert_eq!(netlink.iter().map(key).collect::<Vec<_>>(), proc.iter().map(key).collect::<Vec<_>>());
    for (a, b) in netlink.iter().zip(&proc) {
        assert!(a.expires_ms.abs_diff(b.expires_ms) < 1000, "{a:?} {b:?}");
    }
}

#[test]
fn a_request_is_what_the_kernel_reads() {
    let bytes = request(libc::AF_INET6 as u8, States::TIME_WAIT_OR_FIN_WAIT2, Ask::Plain, 23);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..24], [72, 0, 0, 0, 20, 0, 1, 3, 23, 0, 0, 0, 0, 0, 0, 0, 10, 6, 0, 0, 0x60, 0, 0, 0]);
    assert_eq!(bytes[24..], [0; 48]);
    let both = request_both(States::TIME_WAIT_OR_FIN_WAIT2, Ask::Info, 23);
    assert_eq!(both.len(), 76);
    assert_eq!(both[..20], [76, 0, 0, 0, 18, 0, 1, 3, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!((&both[20..68], &both[68..]), (&[0; 48][..], &[0x60, 0, 0, 0, 0, 0, 0, 0][..]));
}

/// A header, then `body`.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u32;
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(SEQUENCE.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(body);
    out
}

#[test]
fn ends_carry_the_kernels_errno_and_the_mark_of_a_torn_dump() {
    let only = |bytes: Vec<u8>| messages(&bytes).collect::<Vec<_>>().pop().unwrap().unwrap();
    for (kind, body, want) in [
        (2, &(-libc::ENOENT).to_ne_bytes()[..], libc::ENOENT),
        (3, &(-libc::EINVAL).to_ne_bytes(), libc::EINVAL),
        (3, &0_i32.to_ne_bytes(), 0),
        (3, &[], 0),
        (2, &i32::MIN.to_ne_bytes(), i32::MAX),
    ] {
        assert_eq!(only(message(kind, 0, body)).message, Message::End(want));
    }
    assert!(only(message(3, libc::NLM_F_DUMP_INTR as u16, &[])).interrupted);
    assert!(!only(message(3, libc::NLM_F_MULTI as u16, &[])).interrupted);
    assert_eq!(only(message(1, 0, &[])).message, Message::Other);
}

#[test]
fn a_damaged_answer_is_an_error_and_never_a_panic() {
    let whole = datagram(HEX[0]);
    for cut in 0..whole.len() {
        let read: Vec<_> = messages(&whole[..cut]).collect();
        assert!(read.iter().rev().skip(1).all(Result::is_ok), "only the last may fail");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            assert!(messages(&bytes).count() < 1000);
        }
    }
    for short in
        [message(20, 0, &[2; 71]), message(2, 0, &[1; 3]), vec![5, 0, 0, 0], vec![0; 16], vec![16, 0, 0]]
    {
        let read: Vec<_> = messages(&short).collect();
        assert!(matches!(read[..], [Err(_)]), "{short:?}: {read:?}");
    }
}

#[test]
fn a_damaged_file_is_an_error_that_quotes_the_line() {
    let good = include_str!("../testdata/tcp");
    for (from, to) in [
        ("0100007F:A04F", "0100007F"),
        ("0100007F:A04F", "0100007:A04F"),
        ("0100007F:A04F", "0100é7F:A04F"),
        ("03:00001752", "03"),
        ("03:00001752", "zz:00001752"),
        (" 38274 ", " -1 "),
        (" 38274 1 00000000e8421db9 20 0 0 11 -1", ""),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        let text = proctcp::parse("/proc/net/tcp", &bad).unwrap_err().to_string();
        assert!(text.contains("/proc/net/tcp: a line reads \"   "), "{text}");
    }
    assert_eq!(proctcp::parse("/proc/net/tcp", "").unwrap(), []);
}

#[test]
fn state_numbers_have_the_kernels_names() {
    assert_eq!(state_name(1), "ESTABLISHED");
    assert_eq!(state_name(twtrace_common::wire::SUBSTATE_FIN_WAIT2), "FIN_WAIT2");
    assert_eq!(state_name(twtrace_common::wire::SUBSTATE_TIME_WAIT), "TIME_WAIT");
    assert_eq!(state_name(10), "LISTEN");
    assert_eq!(state_name(11), "CLOSING");
    assert_eq!(state_name(12), "UNKNOWN");
    assert_eq!(state_name(255), "UNKNOWN");
}

#[test]
fn sets_of_states() {
    let both = States::TIME_WAIT_OR_FIN_WAIT2;
    let within: Vec<u8> = (0..=255).filter(|state| both.contains(*state)).collect();
    assert_eq!(within, [5, 6]);
    assert_eq!((0..=255).filter(|state| States::ALL.contains(*state)).count(), 11);
}

#[test]
fn what_is_tried_takes_no_port_of_the_range() {
    for range @ (low, high) in
        [(32_768, 60_999), (1024, 65_535), (1, 65_535), (40_000, 65_535), (1033, 65_530)]
    {
        let port = port_beside(range);
        assert!(!(low..=high).contains(&port) || range == (1, 65_535), "{port} is in {range:?}");
    }
}

#[test]
fn own_listener_is_listed_with_its_cookie() {
    use std::net::TcpListener;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let listing = tcp(&Netns::own().unwrap(), States::LISTEN).unwrap();
    let found: Vec<_> = listing.sockets.iter().filter(|socket| socket.sport == port).collect();
    assert_eq!(found.len(), 1, "{listing:?}");
    assert_eq!((found[0].family, found[0].state, found[0].is_time_wait()), (4, 10, false));
    let others = DiagSocket { state: 1, sport: port + 1, ..*found[0] };
    assert_eq!(listening_ports::<std::hash::RandomState>(&[*found[0], others]), HashSet::from([port]));
    assert_eq!(found[0].local_ip(), listener.local_addr().unwrap().ip());
    let without = listing.degraded.is_some();
    assert_eq!(found[0].cookie == 0, without, "{:?}", listing.degraded);
}

#[test]
fn own_connections_say_whether_they_have_timestamps() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = client.local_addr().unwrap().port();
    let own = Netns::own().unwrap();
    let all = timestamps(&own).unwrap();
    let ours = all.iter().find(|(socket, _)| socket.sport == port).map(|(_, has)| *has);
    let set = crate::host::net::sysctls::read(&own).unwrap().timestamps != Some(0);
    assert_eq!(ours, Some(set));
}
