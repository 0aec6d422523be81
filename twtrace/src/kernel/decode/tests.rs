//! Every record from its bytes, and bytes that are no record.

use std::net::IpAddr;

use twtrace_common::wire::{self, Aborted, Birth, Ended, Failed, Header, Task, Tuple, words_of_bytes};
use twtrace_common::{Plain, bytes_of};

use super::{DecodeError, Record, decode};
use crate::model::event::{AbortWhy, Errno, Event, Kind, PortVia, Reason, Role, Substate, Via};

const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7];
const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

fn header(kind: u16, flags: u16) -> Header {
    Header { kind, flags, netns: 4_026_531_840, mono_ns: 1_234_567 }
}

fn tuple(family: u8) -> Tuple {
    let address = words_of_bytes(if family == 4 { MAPPED } else { V6 });
    Tuple {
        saddr: address,
        daddr: address,
        sport: 41_009,
        dport: 443,
        ifindex: 3,
        family,
        role: wire::ROLE_CLIENT,
        substate: wire::SUBSTATE_TIME_WAIT,
        reason: 0,
        pad: 0,
    }
}

fn task() -> Task {
    // What a longer name left behind the NUL must not show.
    let comm = words_of_bytes(*b"nginx\0leftovers!");
    Task { pid: 101, tid: 103, uid: 33, pad: 0, cgroup_id: 7, start_ns: 5_000_000_001, comm }
}

fn birth(kind: u16, flags: u16) -> Birth {
    Birth {
        header: header(kind, flags),
        tuple: tuple(4),
        tw: 0xffff_8880_0000_1000,
        cookie: 17,
        timeout_ms: 60_000,
        via: wire::VIA_SHUTDOWN,
        owner: task(),
        opener_pid: 97,
        port_via: wire::PORT_BIND_ANY,
        opener_start_ns: 4,
        opener_comm: words_of_bytes(*b"master\0\0\0\0\0\0\0\0\0\0"),
        age_ns: 89,
        bytes_sent: 211,
        bytes_received: 101,
    }
}

fn ended() -> Ended {
    let mut tuple = tuple(6);
    tuple.reason = wire::REASON_REUSED_INCOMING;
    Ended { header: header(wire::KIND_ENDED, 0), tuple, tw: 1, cookie: 0 }
}

fn failed(kind: u16, errno: i32) -> Failed {
    Failed {
        header: header(kind, 0),
        tuple: tuple(4),
        errno: errno as u32,
        port_via: wire::PORT_CONNECT,
        own_range: 0,
        pad: 0,
        task: task(),
    }
}

fn event(bytes: &[u8]) -> Event {
    match decode(bytes) {
        Ok(Record::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

const ALL_FLAGS: u16 = wire::HAS_OWNER | wire::HAS_OPENER | wire::HAS_AGE | wire::HAS_BYTES;

#[test]
fn created_with_all_that_can_be_known() {
    let event = event(bytes_of(&birth(wire::KIND_CREATED, ALL_FLAGS)));
    let conn = event.conn.unwrap();
    assert_eq!(
        (event.kind, event.mono_ns, conn.netns, conn.ifindex),
        (Kind::Created, 1_234_567, 4_026_531_840, 3)
    );
    assert_eq!((conn.saddr, conn.sport, conn.dport), ("192.0.2.7".parse::<IpAddr>().unwrap(), 41_009, 443));
    assert_eq!(
        (event.role, event.substate, event.via),
        (Role::Client, Some(Substate::TimeWait), Some(Via::Shutdown))
    );
    assert_eq!((event.timeout_ms, event.cookie, event.age_ns), (Some(60_000), Some(17), Some(89)));
    assert_eq!((event.bytes_sent, event.bytes_received), (Some(211), Some(101)));
    let owner = event.owner.unwrap();
    assert_eq!(
        (owner.pid, owner.tid, owner.uid, owner.cgroup_id, owner.start_ns),
        (101, 103, 33, 7, 5_000_000_001)
    );
    assert_eq!((owner.comm.text(), event.opener.unwrap().comm.text()), ("nginx".into(), "master".into()));
}

#[test]
fn the_connection_alone_is_that_of_the_event() {
    let (born, gone) = (birth(wire::KIND_CREATED, ALL_FLAGS), ended());
    for bytes in [bytes_of(&born), bytes_of(&gone)] {
        assert_eq!(super::connection(bytes), event(bytes).conn);
        assert_eq!(super::connection(&bytes[..size_of::<Header>() + size_of::<Tuple>() - 1]), None);
    }
    // Of which no socket is known.
    assert_eq!(super::connection(bytes_of(&birth(wire::KIND_OVERFLOW, ALL_FLAGS))), None);
}

#[test]
fn what_is_not_known_is_none_and_not_zero() {
    let mut bare = birth(wire::KIND_CREATED, 0);
    bare.cookie = 0;
    bare.via = wire::VIA_NONE;
    let event = event(bytes_of(&bare));
    assert_eq!((event.owner, event.opener, event.age_ns, event.cookie), (None, None, None, None));
    assert_eq!((event.bytes_sent, event.bytes_received, event.via), (None, None, Some(Via::None)));
}

#[test]
fn overflow_has_neither_substate_nor_timeout() {
    let event = event(bytes_of(&birth(wire::KIND_OVERFLOW, ALL_FLAGS)));
    assert_eq!((event.kind, event.substate, event.timeout_ms), (Kind::Overflow, None, None));
    assert_eq!(event.owner.map(|owner| owner.pid), Some(101));
}

#[test]
fn ended_over_ipv6() {
    let event = event(bytes_of(&ended()));
    let conn = event.conn.unwrap();
    assert_eq!((event.kind, event.reason), (Kind::Ended, Some(Reason::ReusedIncoming)));
    assert_eq!((conn.daddr, conn.family()), ("2001:db8::9".parse::<IpAddr>().unwrap(), "ipv6"));
    assert_eq!(event.cookie, None);
}

#[test]
fn failures_name_the_caller() {
    for (kind, errno, expected, word) in [
        (wire::KIND_CONNECT_FAILED, libc::EADDRNOTAVAIL, Kind::ConnectFailed, Errno::AddrNotAvail),
        (wire::KIND_BIND_FAILED, libc::EADDRINUSE, Kind::BindFailed, Errno::AddrInUse),
    ] {
        let event = event(bytes_of(&failed(kind, errno)));
        assert_eq!((event.kind, event.errno, event.via), (expected, Some(word), None));
        assert_eq!(event.owner.map(|owner| owner.pid), Some(101));
    }
}

#[test]
fn a_process_is_not_an_event() {
    let process = wire::Process { header: header(wire::KIND_PROCESS, 0), task: task() };
    assert!(matches!(decode(bytes_of(&process)), Ok(Record::Process(process)) if process.pid == 101));
}

fn every_record() -> Vec<Vec<u8>> {
    fn raw<T: Plain>(value: &T) -> Vec<u8> {
        bytes_of(value).to_vec()
    }
    vec![
        raw(&birth(wire::KIND_CREATED, ALL_FLAGS)),
        raw(&birth(wire::KIND_OVERFLOW, ALL_FLAGS)),
        raw(&ended()),
        raw(&failed(wire::KIND_CONNECT_FAILED, libc::EADDRNOTAVAIL)),
        raw(&failed(wire::KIND_BIND_FAILED, libc::EADDRINUSE)),
        raw(&wire::Process { header: header(wire::KIND_PROCESS, 0), task: task() }),
    ]
}

#[test]
fn a_wrong_length_is_an_error_at_every_length() {
    for record in every_record() {
        for len in (0..record.len()).chain([record.len() + 1]) {
            let mut bytes = record.clone();
            bytes.resize(len, 0);
            let error = decode(&bytes).unwrap_err();
            let fits = matches!(error, DecodeError::Short { len: found } | DecodeError::Length { len: found, .. } if found == len);
            assert!(fits, "{len}: {error:?}");
        }
    }
}

#[test]
fn whether_a_socket_reuses_addresses_is_told_where_it_is_known() {
    let told = |flags| {
        let mut record = failed(wire::KIND_BIND_FAILED, 98);
        record.header.flags = flags;
        event(bytes_of(&record)).reuseaddr
    };
    let known = wire::HAS_REUSEADDR;
    assert_eq!([0, known, known | wire::REUSEADDR].map(told), [None, Some(false), Some(true)]);
}

#[test]
fn the_range_of_a_socket_is_told_where_it_was_looked_at() {
    let told = |flags, own_range| {
        let mut record = failed(wire::KIND_CONNECT_FAILED, 99);
        (record.header.flags, record.own_range) = (flags, own_range);
        event(bytes_of(&record)).own_range
    };
    let range = 40_009 << 16 | 40_000;
    assert_eq!(told(0, range), None);
    assert_eq!(told(wire::HAS_OWN_RANGE, 0), Some((0, 0)));
    assert_eq!(told(wire::HAS_OWN_RANGE, range), Some((40_000, 40_009)));
}

#[test]
fn an_unknown_kind_is_an_error() {
    for kind in [0, 9, u16::MAX] {
        let mut bytes = every_record().remove(0);
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        assert_eq!(decode(&bytes), Err(DecodeError::Kind { kind }));
    }
}

#[test]
fn a_value_that_the_wire_does_not_define_is_named() {
    let mut wrong = birth(wire::KIND_CREATED, 0);
    wrong.tuple.family = 5;
    let kind = wire::KIND_CREATED;
    assert_eq!(decode(bytes_of(&wrong)), Err(DecodeError::Value { kind, field: "family", value: 5 }));
    let mut wrong = birth(kind, 0);
    wrong.tuple.substate = 1;
    assert_eq!(decode(bytes_of(&wrong)), Err(DecodeError::Value { kind, field: "substate", value: 1 }));
    let mut wrong = birth(kind, 0);
    wrong.via = 9;
    assert_eq!(decode(bytes_of(&wrong)), Err(DecodeError::Value { kind, field: "via", value: 9 }));
    let wrong = failed(wire::KIND_BIND_FAILED, 4096);
    let kind = wire::KIND_BIND_FAILED;
    assert_eq!(decode(bytes_of(&wrong)), Err(DecodeError::Value { kind, field: "errno", value: 4096 }));
    let mut wrong = ended();
    wrong.tuple.reason = 7;
    let kind = wire::KIND_ENDED;
    assert_eq!(decode(bytes_of(&wrong)), Err(DecodeError::Value { kind, field: "reason", value: 7 }));
}

#[test]
fn any_single_byte_may_be_anything_without_a_panic() {
    for record in every_record() {
        for at in 0..record.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = record.clone();
                bytes[at] = value;
                let _ = decode(&bytes);
            }
        }
    }
}

#[test]
fn an_abort_says_who_and_why() {
    let record = Aborted {
        header: header(wire::KIND_ABORTED, wire::HAS_OWNER | wire::HAS_BYTES),
        tuple: tuple(4),
        cookie: 23,
        why: wire::WHY_UNREAD_DATA,
        port_via: wire::PORT_BIND,
        owner: task(),
        via: wire::VIA_CLOSE,
        pad: 0,
        bytes_sent: 5,
        bytes_received: 7,
    };
    let event = event(bytes_of(&record));
    assert_eq!(
        (event.kind, event.why, event.port_via),
        (Kind::Aborted, Some(AbortWhy::UnreadData), Some(PortVia::Bind))
    );
    assert_eq!((event.cookie, event.bytes_sent, event.bytes_received), (Some(23), Some(5), Some(7)));
    assert_eq!(event.owner.map(|owner| owner.pid), Some(101));
    assert!(matches!(
        decode(bytes_of(&Aborted { why: 9, ..record })),
        Err(DecodeError::Value { field: "why", value: 9, .. })
    ));
}

#[test]
fn a_refused_syn_and_an_errno_of_any_kind_are_told() {
    let mut refused = ended();
    refused.header.kind = wire::KIND_SYN_REFUSED;
    assert_eq!(event(bytes_of(&refused)).kind, Kind::SynRefused);
    let timed_out = event(bytes_of(&failed(wire::KIND_CONNECT_FAILED, libc::ETIMEDOUT)));
    assert_eq!((timed_out.errno, timed_out.port_via), (Some(Errno::TimedOut), Some(PortVia::Connect)));
    assert!(decode(bytes_of(&failed(wire::KIND_CONNECT_FAILED, 0))).is_err());
}
