//! Owns: from the ring's bytes to [`Event`]s. Accepts any bytes: what is not a record is an error, never a panic.
//! Must not know: aya, where the bytes came from.

use std::net::{IpAddr, Ipv4Addr};

use twtrace_common::{
    from_bytes,
    wire::{self, Aborted, Birth, Ended, Failed, Header, Task, Tuple, Words, bytes_of_words},
};

use crate::model::event::{
    AbortWhy, Comm, Conn, Errno, Event, Kind, Opener, PortVia, Process, Reason, Role, Substate, Via,
};

/// What one record says.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event is decoded in place and never stored through this enum"
)]
pub enum Record {
    /// An event.
    Event(Event),
    /// A process was met for the first time: a good moment to look it up.
    Process(Process),
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the header.
    #[error("a record of {len} bytes is shorter than its {} byte header", size_of::<Header>())]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// No such kind.
    #[error("records of kind {kind} are not known; was the BPF object built from the same sources?")]
    Kind {
        /// The kind it says.
        kind: u16,
    },
    /// Not as long as its kind.
    #[error("a record of kind {kind} has {len} bytes, not {expected}")]
    Length {
        /// The kind it says.
        kind: u16,
        /// Bytes there are.
        len: usize,
        /// Bytes of that kind.
        expected: usize,
    },
    /// A field holds a value that the wire does not define.
    #[error("a record of kind {kind} has {value} as its {field}")]
    Value {
        /// The kind it says.
        kind: u16,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
}

/// Decodes one record. An event is some 400 bytes long: it is made as what is returned, and not moved on the way.
///
/// # Errors
/// Where the bytes are not exactly one record of a known kind.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let head = bytes.get(..size_of::<Header>()).ok_or(DecodeError::Short { len: bytes.len() })?;
    let header: Header = from_bytes(head).ok_or(DecodeError::Short { len: bytes.len() })?;
    match header.kind {
        wire::KIND_CREATED => birth(Kind::Created, &read(bytes, header.kind)?),
        wire::KIND_OVERFLOW => birth(Kind::Overflow, &read(bytes, header.kind)?),
        wire::KIND_ENDED => ended(&read(bytes, header.kind)?),
        wire::KIND_CONNECT_FAILED => failed(Kind::ConnectFailed, &read(bytes, header.kind)?),
        wire::KIND_BIND_FAILED => failed(Kind::BindFailed, &read(bytes, header.kind)?),
        wire::KIND_ABORTED => aborted(&read(bytes, header.kind)?),
        wire::KIND_SYN_REFUSED => syn_refused(&read(bytes, header.kind)?),
        wire::KIND_PROCESS => Ok(Record::Process(process(&read::<wire::Process>(bytes, header.kind)?.task))),
        kind => Err(DecodeError::Kind { kind }),
    }
}

/// The connection that a `created` or an `ended` is about, where it is all that is wanted.
#[inline]
pub fn connection(bytes: &[u8]) -> Option<Conn> {
    let header: Header = from_bytes(bytes.get(..size_of::<Header>())?)?;
    if header.kind != wire::KIND_CREATED && header.kind != wire::KIND_ENDED {
        return None;
    }
    let tuple = bytes.get(size_of::<Header>()..size_of::<Header>() + size_of::<Tuple>())?;
    conn(&header, &from_bytes(tuple)?).ok()
}

fn read<T: twtrace_common::Plain>(bytes: &[u8], kind: u16) -> Result<T, DecodeError> {
    from_bytes(bytes).ok_or(DecodeError::Length { kind, len: bytes.len(), expected: size_of::<T>() })
}

fn process(task: &Task) -> Process {
    Process {
        pid: task.pid,
        tid: task.tid,
        uid: task.uid,
        cgroup_id: task.cgroup_id,
        start_ns: task.start_ns,
        comm: Comm::from_kernel(bytes_of_words(task.comm)),
    }
}

/// An address as the kernel side sends it: network order, IPv4 mapped.
#[inline]
fn address(words: Words, family: u8) -> IpAddr {
    if family == 4 {
        let [.., a, b, c, d] = words[1].to_ne_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(bytes_of_words(words).into())
    }
}

#[inline]
fn conn(header: &Header, tuple: &Tuple) -> Result<Conn, DecodeError> {
    if tuple.family != 4 && tuple.family != 6 {
        return Err(bad(header, "family", tuple.family));
    }
    Ok(Conn {
        netns: header.netns,
        ifindex: tuple.ifindex,
        saddr: address(tuple.saddr, tuple.family),
        daddr: address(tuple.daddr, tuple.family),
        sport: tuple.sport,
        dport: tuple.dport,
    })
}

fn bad(header: &Header, field: &'static str, value: impl Into<u32>) -> DecodeError {
    DecodeError::Value { kind: header.kind, field, value: value.into() }
}

fn role(header: &Header, tuple: &Tuple) -> Result<Role, DecodeError> {
    match tuple.role {
        wire::ROLE_UNKNOWN => Ok(Role::Unknown),
        wire::ROLE_CLIENT => Ok(Role::Client),
        wire::ROLE_SERVER => Ok(Role::Server),
        other => Err(bad(header, "role", other)),
    }
}

fn substate(header: &Header, tuple: &Tuple) -> Result<Substate, DecodeError> {
    match tuple.substate {
        wire::SUBSTATE_TIME_WAIT => Ok(Substate::TimeWait),
        wire::SUBSTATE_FIN_WAIT2 => Ok(Substate::FinWait2),
        other => Err(bad(header, "substate", other)),
    }
}

fn port_via(header: &Header, value: u32) -> Result<Option<PortVia>, DecodeError> {
    match value {
        wire::PORT_UNKNOWN => Ok(None),
        wire::PORT_CONNECT => Ok(Some(PortVia::Connect)),
        wire::PORT_BIND_ANY => Ok(Some(PortVia::BindAny)),
        wire::PORT_BIND => Ok(Some(PortVia::Bind)),
        wire::PORT_ACCEPT => Ok(Some(PortVia::Accept)),
        other => Err(bad(header, "port_via", other)),
    }
}

fn via(header: &Header, value: u32) -> Result<Via, DecodeError> {
    match value {
        wire::VIA_NONE => Ok(Via::None),
        wire::VIA_CLOSE => Ok(Via::Close),
        wire::VIA_SHUTDOWN => Ok(Via::Shutdown),
        wire::VIA_EXIT => Ok(Via::Exit),
        wire::VIA_OPENER => Ok(Via::Opener),
        other => Err(bad(header, "via", other)),
    }
}

#[inline]
fn birth(kind: Kind, birth: &Birth) -> Result<Record, DecodeError> {
    let header = &birth.header;
    let has = |flag: u16| header.flags & flag != 0;
    let is_created = kind == Kind::Created;
    let opener = || Opener {
        pid: birth.opener_pid,
        start_ns: birth.opener_start_ns,
        comm: Comm::from_kernel(bytes_of_words(birth.opener_comm)),
    };
    Ok(Record::Event(Event {
        role: role(header, &birth.tuple)?,
        via: Some(via(header, birth.via)?),
        port_via: port_via(header, birth.port_via)?,
        owner: has(wire::HAS_OWNER).then(|| process(&birth.owner)),
        opener: has(wire::HAS_OPENER).then(opener),
        age_ns: has(wire::HAS_AGE).then_some(birth.age_ns),
        bytes_sent: has(wire::HAS_BYTES).then_some(birth.bytes_sent),
        bytes_received: has(wire::HAS_BYTES).then_some(birth.bytes_received),
        substate: if is_created { Some(substate(header, &birth.tuple)?) } else { None },
        timeout_ms: is_created.then_some(birth.timeout_ms),
        cookie: (is_created && birth.cookie != 0).then_some(birth.cookie),
        ..Event::new(kind, header.mono_ns, Some(conn(header, &birth.tuple)?))
    }))
}

#[inline]
fn ended(ended: &Ended) -> Result<Record, DecodeError> {
    let header = &ended.header;
    let reason = match ended.tuple.reason {
        wire::REASON_UNKNOWN => Reason::Unknown,
        wire::REASON_EXPIRED => Reason::Expired,
        wire::REASON_REUSED_OUTGOING => Reason::ReusedOutgoing,
        wire::REASON_REUSED_INCOMING => Reason::ReusedIncoming,
        wire::REASON_RESET => Reason::Reset,
        wire::REASON_KILLED => Reason::Killed,
        wire::REASON_PURGED => Reason::Purged,
        other => return Err(bad(header, "reason", other)),
    };
    Ok(Record::Event(Event {
        substate: Some(substate(header, &ended.tuple)?),
        cookie: (ended.cookie != 0).then_some(ended.cookie),
        reason: Some(reason),
        ..Event::new(Kind::Ended, header.mono_ns, Some(conn(header, &ended.tuple)?))
    }))
}

fn failed(kind: Kind, failed: &Failed) -> Result<Record, DecodeError> {
    let header = &failed.header;
    let mut event = Event::new(kind, header.mono_ns, Some(conn(header, &failed.tuple)?));
    event.role = role(header, &failed.tuple)?;
    event.owner = Some(process(&failed.task));
    event.port_via = port_via(header, failed.port_via)?;
    event.reuseaddr =
        (header.flags & wire::HAS_REUSEADDR != 0).then_some(header.flags & wire::REUSEADDR != 0);
    event.own_range = (header.flags & wire::HAS_OWN_RANGE != 0)
        .then_some((failed.own_range as u16, (failed.own_range >> 16) as u16));
    event.errno = match i32::try_from(failed.errno) {
        Ok(errno @ 1..=MAX_ERRNO) => Some(Errno::from_raw(errno)),
        _ => return Err(bad(header, "errno", failed.errno)),
    };
    Ok(Record::Event(event))
}

/// `MAX_ERRNO` (include/linux/err.h, 5.10 to 7.3).
const MAX_ERRNO: i32 = 4095;

fn aborted(aborted: &Aborted) -> Result<Record, DecodeError> {
    let header = &aborted.header;
    let has = |flag: u16| header.flags & flag != 0;
    let mut event = Event::new(Kind::Aborted, header.mono_ns, Some(conn(header, &aborted.tuple)?));
    event.role = role(header, &aborted.tuple)?;
    event.via = Some(via(header, aborted.via)?);
    event.owner = has(wire::HAS_OWNER).then(|| process(&aborted.owner));
    event.cookie = (aborted.cookie != 0).then_some(aborted.cookie);
    event.port_via = port_via(header, aborted.port_via)?;
    event.why = Some(match aborted.why {
        wire::WHY_OTHER => AbortWhy::Other,
        wire::WHY_LINGER => AbortWhy::Linger,
        wire::WHY_UNREAD_DATA => AbortWhy::UnreadData,
        other => return Err(bad(header, "why", other)),
    });
    event.bytes_sent = has(wire::HAS_BYTES).then_some(aborted.bytes_sent);
    event.bytes_received = has(wire::HAS_BYTES).then_some(aborted.bytes_received);
    Ok(Record::Event(event))
}

fn syn_refused(refused: &Ended) -> Result<Record, DecodeError> {
    let header = &refused.header;
    let mut event = Event::new(Kind::SynRefused, header.mono_ns, Some(conn(header, &refused.tuple)?));
    event.substate = Some(substate(header, &refused.tuple)?);
    event.cookie = (refused.cookie != 0).then_some(refused.cookie);
    Ok(Record::Event(event))
}

#[cfg(test)]
mod tests;
