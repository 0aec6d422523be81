//! Owns: the form of sock_diag's messages for TCP: `inet_diag_req_v2` and `inet_diag_msg`
//! (include/uapi/linux/inet_diag.h, 5.10 to 7.3) in a `nlmsghdr` (include/uapi/linux/netlink.h, 5.10 to 7.3).
//! Must not know: sockets, namespaces.
//!
//! Not done with the netlink-packet-sock-diag crate: its reader drops `idiag_expires` of TIME_WAIT sockets.

use std::net::IpAddr;

use super::{DiagSocket, States, map_v4, wire_family};
use crate::model::event::Conn;

/// SOCK_DIAG_BY_FAMILY (include/uapi/linux/sock_diag.h, 6.12).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// TCPDIAG_GETSOCK (include/uapi/linux/inet_diag.h, 6.12): the older way to ask.
const TCPDIAG_GETSOCK: u16 = 18;
/// Size of `nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Size of `inet_diag_req_v2`.
const REQUEST_LEN: usize = 56;
/// Size of `inet_diag_req`.
const OLD_REQUEST_LEN: usize = 60;
/// Size of `inet_diag_msg`; attributes follow it.
const SOCKET_LEN: usize = 72;
/// The attribute that holds a `struct tcp_info`, which is asked for by the bit one below.
const INET_DIAG_INFO: u16 = 2;
/// Where `tcpi_options` is in it (include/uapi/linux/tcp.h, 5.10 to 7.3).
const INFO_OPTIONS: usize = 5;
/// `TCPI_OPT_TIMESTAMPS`.
const OPTION_TIMESTAMPS: u8 = 1;

/// A request to list the TCP sockets of one address family.
pub(super) fn request(family: u8, states: States, ask: Ask, sequence: u32) -> [u8; HEADER_LEN + REQUEST_LEN] {
    let mut out = [0; HEADER_LEN + REQUEST_LEN];
    put_header(&mut out, SOCK_DIAG_BY_FAMILY, sequence);
    out[16] = family;
    out[17] = libc::IPPROTO_TCP as u8;
    out[18] = ask.extensions();
    // Padding (19).
    out[20..24].copy_from_slice(&states.0.to_ne_bytes());
    // The rest would name a single socket.
    out
}

/// A request to list the TCP sockets of both address families. The kernel walks its table of all sockets once for a
/// request, so that this costs half of two; a family cannot be named in it, for the kernel does not look
/// (inet_diag_dump_compat(), net/ipv4/inet_diag.c, 5.10 to 7.3).
pub(super) fn request_both(states: States, ask: Ask, sequence: u32) -> [u8; HEADER_LEN + OLD_REQUEST_LEN] {
    let mut out = [0; HEADER_LEN + OLD_REQUEST_LEN];
    put_header(&mut out, TCPDIAG_GETSOCK, sequence);
    // Family (16) and lengths of addresses (17, 18): none.
    out[19] = ask.extensions();
    // A socket's name (20..68): none.
    out[68..72].copy_from_slice(&states.0.to_ne_bytes());
    out
}

fn put_header(out: &mut [u8], kind: u16, sequence: u32) {
    let length = out.len() as u32;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    out[0..4].copy_from_slice(&length.to_ne_bytes());
    out[4..6].copy_from_slice(&kind.to_ne_bytes());
    out[6..8].copy_from_slice(&flags.to_ne_bytes());
    out[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // Sender's port id (12..16): 0, the kernel knows it.
}

/// What to ask of each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Where it is and what it is in.
    Plain,
    /// What tcp_info(7) says of it as well.
    Info,
}

impl Ask {
    /// Attributes that are wanted.
    fn extensions(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Info => 1 << (INET_DIAG_INFO - 1),
        }
    }
}

/// A request for one socket, whatever its state (inet_diag_find_one_icsk(), net/ipv4/inet_diag.c, 5.10 to 6.12, since
/// 6.18 in net/ipv4/tcp_diag.c, 7.3). Whichever cookie it has: the answer says which.
pub(super) fn request_one(conn: &Conn, sequence: u32) -> [u8; HEADER_LEN + REQUEST_LEN] {
    let family = if conn.saddr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut out = request(family as u8, States::ALL, Ask::Plain, sequence);
    out[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    out[24..26].copy_from_slice(&conn.sport.to_be_bytes());
    out[26..28].copy_from_slice(&conn.dport.to_be_bytes());
    for (at, address) in [(28, conn.saddr), (44, conn.daddr)] {
        match address {
            IpAddr::V4(v4) => out[at..at + 4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out[at..at + 16].copy_from_slice(&v6.octets()),
        }
    }
    out[60..64].copy_from_slice(&conn.ifindex.to_ne_bytes());
    // INET_DIAG_NOCOOKIE, both halves.
    out[64..72].copy_from_slice(&[0xff; 8]);
    out
}

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A socket.
    Socket(DiagSocket),
    /// The last message; 0 or a positive errno.
    End(i32),
    /// Nothing of interest.
    Other,
}

/// A message and what its header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The number of the request that this answers.
    pub(super) sequence: u32,
    /// Whether the kernel's tables changed under the dump (NLM_F_DUMP_INTR).
    pub(super) interrupted: bool,
    /// What is in it.
    pub(super) message: Message,
    /// Whether the socket's connection has TCP timestamps, where that was asked for.
    pub(super) timestamps: Option<bool>,
}

/// Reads the messages of one datagram, in order; an `Err` says what is wrong and is the last item.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Envelope, String>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (next, item) = match split(rest) {
            Ok((message, next)) => (next, envelope(message)),
            Err(why) => (&[][..], Err(why)),
        };
        rest = if item.is_err() { &[] } else { next };
        Some(item)
    })
}

/// The first message, header included, and what follows it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let length =
        u32_at(bytes, 0).ok_or_else(|| format!("{} bytes where a header should be", bytes.len()))? as usize;
    if length < HEADER_LEN || length > bytes.len() {
        return Err(format!("a message of {length} bytes in {} bytes", bytes.len()));
    }
    let next = length.next_multiple_of(4).min(bytes.len());
    Ok((&bytes[..length], &bytes[next..]))
}

fn envelope(message: &[u8]) -> Result<Envelope, String> {
    let too_short = || format!("a message of only {} bytes", message.len());
    let (kind, flags) =
        (u16_at(message, 4).ok_or_else(too_short)?, u16_at(message, 6).ok_or_else(too_short)?);
    let sequence = u32_at(message, 8).ok_or_else(too_short)?;
    let body = message.get(HEADER_LEN..).ok_or_else(too_short)?;
    // An answer is of the kind that was asked for.
    let is_socket = matches!(kind, SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK);
    let timestamps = if is_socket { timestamps(body) } else { None };
    let message = match i32::from(kind) {
        _ if is_socket => socket(body).ok_or_else(too_short)?,
        // Both may carry a negative errno; a dump that fails after its start says so in NLMSG_DONE.
        libc::NLMSG_ERROR => Message::End(errno(body).ok_or_else(too_short)?),
        libc::NLMSG_DONE => Message::End(errno(body).unwrap_or(0)),
        _ => Message::Other,
    };
    Ok(Envelope { sequence, interrupted: i32::from(flags) & libc::NLM_F_DUMP_INTR != 0, message, timestamps })
}

/// Of the attributes behind an `inet_diag_msg`, the one bit of `tcp_info` that is of interest.
fn timestamps(body: &[u8]) -> Option<bool> {
    let mut rest = body.get(SOCKET_LEN..)?;
    // `struct rtattr`: length with its own four bytes, type; padded to four.
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let value = rest.get(4..length)?;
        if kind == INET_DIAG_INFO {
            return value.get(INFO_OPTIONS).map(|options| options & OPTION_TIMESTAMPS != 0);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn errno(body: &[u8]) -> Option<i32> {
    u32_at(body, 0).map(|raw| (raw as i32).saturating_neg())
}

/// An `inet_diag_msg`. A family that is neither IPv4 nor IPv6 is of no interest.
fn socket(body: &[u8]) -> Option<Message> {
    let body: &[u8; SOCKET_LEN] = body.first_chunk()?;
    let (source, target): ([u8; 16], [u8; 16]) = (*body[8..].first_chunk()?, *body[24..].first_chunk()?);
    let (family, saddr, daddr) = match i32::from(body[0]) {
        libc::AF_INET => (4, map_v4(*source.first_chunk()?), map_v4(*target.first_chunk()?)),
        libc::AF_INET6 => (wire_family(source, target), source, target),
        _ => return Some(Message::Other),
    };
    let is_mapped = family == 4 && i32::from(body[0]) == libc::AF_INET6;
    Some(Message::Socket(DiagSocket {
        family,
        is_mapped,
        state: body[1],
        timer: body[2],
        saddr,
        daddr,
        sport: u16::from_be_bytes(*body[4..].first_chunk()?),
        dport: u16::from_be_bytes(*body[6..].first_chunk()?),
        ifindex: u32_at(body, 40)?,
        expires_ms: u32_at(body, 52)?,
        uid: u32_at(body, 64)?,
        inode: u32_at(body, 68)?,
        // Two words, the low one first, each in the machine's order.
        cookie: u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32,
    }))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}
