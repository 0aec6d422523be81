//! Owns: the form of `/proc/net/tcp` and `/proc/net/tcp6`, which every kernel has and which list TIME_WAIT sockets
//! too (tcp4_seq_show(), net/ipv4/tcp_ipv4.c; tcp6_seq_show(), net/ipv6/tcp_ipv6.c, 5.10 to 7.3).
//! Must not know: when it is read instead of something better.

use std::io;

use super::{DiagSocket, States, map_v4, wire_family};
use crate::host::net::Error;

/// Milliseconds in one of the clock ticks that the kernel shows times in: USER_HZ is 100 on every architecture that
/// Rust's Linux targets have, whatever CONFIG_HZ.
const TICK_MS: u64 = 10;

/// The TCP sockets in `states` of the calling thread's network namespace. They have neither cookie nor interface.
pub(super) fn read(states: States) -> Result<Vec<DiagSocket>, Error> {
    let mut sockets = Vec::new();
    for (path, family) in [("/proc/thread-self/net/tcp", 4), ("/proc/thread-self/net/tcp6", 6)] {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // No IPv6 in this kernel: then there are no IPv6 sockets.
            Err(missing) if family == 6 && missing.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::io(path)(source)),
        };
        sockets.extend(parse(path, &text)?.into_iter().filter(|socket| states.contains(socket.state)));
    }
    Ok(sockets)
}

pub(super) fn parse(path: &str, text: &str) -> Result<Vec<DiagSocket>, Error> {
    let lines = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    lines
        .map(|text| line(text).ok_or_else(|| Error::malformed(path, format!("a line reads {text:?}"))))
        .collect()
}

/// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`
fn line(line: &str) -> Option<DiagSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, state, _, timer, _, uid, _, inode, ..] = fields[..] else { return None };
    let ((saddr, sport), (daddr, dport)) = (endpoint(local)?, endpoint(remote)?);
    let (timer, when) = timer.split_once(':')?;
    let when = u64::from_str_radix(when, 16).ok()?;
    let family = wire_family(saddr, daddr);
    Some(DiagSocket {
        family,
        // An address of an IPv6 socket has 32 digits.
        is_mapped: family == 4 && local.len() > 32,
        state: u8::from_str_radix(state, 16).ok()?,
        timer: u8::from_str_radix(timer, 16).ok()?,
        saddr,
        daddr,
        sport,
        dport,
        ifindex: 0,
        expires_ms: u32::try_from(when.saturating_mul(TICK_MS)).unwrap_or(u32::MAX),
        uid: uid.parse().ok()?,
        inode: inode.parse().ok()?,
        cookie: 0,
    })
}

/// `0100007F:1F90`: the address as one or four words, each printed as a number of the machine's byte order; the port
/// as a number.
fn endpoint(text: &str) -> Option<([u8; 16], u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => map_v4(word(0)?),
        32 => {
            let mut all = [0; 16];
            for (index, bytes) in all.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(index * 8)?);
            }
            all
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}
