//! Owns: what is read of a `struct sock` and of an `inet_timewait_sock`, which share `struct sock_common`.
//! Must not know: events, maps, who asks.

use twtrace_common::wire::{Tuple, Words};

use crate::{
    config::setting,
    mem::{Mem, Probed},
};

/// `AF_INET6` (include/linux/socket.h).
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP` (include/uapi/linux/in.h).
pub(crate) const IPPROTO_TCP: u16 = 6;

/// Bit of `enum sock_flags` (include/net/sock.h): the process has let go of the socket.
pub(crate) const SOCK_DEAD: u64 = 1 << 0;
/// Bit of `enum sock_flags`: the peer's FIN is in (set by tcp_fin, net/ipv4/tcp_input.c).
pub(crate) const SOCK_DONE: u64 = 1 << 1;

/// What tells one connection from all others.
pub(crate) struct Conn {
    pub(crate) tuple: Tuple,
    pub(crate) netns: u32,
}

/// One round of a 64-bit mixer (a multiply by the golden ratio's odd fraction and a fold).
#[inline(always)]
pub(crate) fn mix(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

impl Conn {
    /// Key in the map of closing sockets: the same from the `struct sock` and from the TIME_WAIT socket that follows
    /// it. Namespace and interface go in one after the other: in one word, an interface could be given the index that undoes
    /// the difference of two namespaces. The seed is drawn at each start, so nobody can choose connections that collide.
    #[inline(always)]
    pub(crate) fn key(&self) -> u64 {
        let t = &self.tuple;
        let ports = u64::from(t.sport) << 48 | u64::from(t.dport) << 32 | u64::from(t.ifindex);
        let ([s0, s1], [d0, d1]) = (t.saddr, t.daddr);
        let mut h = mix(setting!(seed), u64::from(self.netns));
        h = mix(mix(mix(h, ports), s1), d1);
        if t.family == 6 {
            h = mix(mix(h, s0), d0);
        }
        h
    }

    /// The peer in one word, to check that a remembered `struct sock *` is still the same connection.
    #[inline(always)]
    pub(crate) fn peer_check(&self) -> u64 {
        let [d0, d1] = self.tuple.daddr;
        let h = mix(mix(setting!(seed), u64::from(self.netns)), u64::from(self.tuple.dport));
        mix(mix(h, d0), d1)
    }
}

/// `::ffff:0:0/96` in front of an IPv4 address in network order.
#[inline(always)]
pub(crate) fn mapped(address: u32) -> Words {
    [0, u64::from(MAPPED) | u64::from(address) << 32]
}

/// Bytes 8 to 11 of an IPv4-mapped address, as they lie in memory.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

#[inline(always)]
fn is_mapped([high, low]: Words) -> bool {
    high == 0 && low as u32 == MAPPED
}

/// Reads the identity. `sport` is in network order: `inet_sock.inet_sport` of a full socket, whose `skc_num` is
/// already 0 when an autobound one closes, or `tw_sport`.
///
/// # Safety
/// `base` is a `struct sock_common` that `M` may read.
#[inline(always)]
unsafe fn identify<M: Mem>(base: *const u8, sport_be: u16) -> Conn {
    // SAFETY: by the caller; offsets are from BTF. IPv6 addresses are read with the helper: they are unions, which not
    // every verifier lets a program load from directly.
    unsafe {
        let (saddr, daddr, family) = if M::load::<u16>(base, setting!(offsets.skc_family)) == AF_INET6 {
            let saddr: Words = Probed::load(base, setting!(offsets.skc_v6_rcv_saddr));
            let daddr: Words = Probed::load(base, setting!(offsets.skc_v6_daddr));
            (saddr, daddr, if is_mapped(daddr) { 4 } else { 6 })
        } else {
            let saddr = mapped(M::load(base, setting!(offsets.skc_rcv_saddr)));
            (saddr, mapped(M::load(base, setting!(offsets.skc_daddr))), 4)
        };
        let net: *const u8 = M::load(base, setting!(offsets.skc_net));
        Conn {
            netns: M::load(net, setting!(offsets.net_inum)),
            tuple: Tuple {
                saddr,
                daddr,
                sport: u16::from_be(sport_be),
                dport: u16::from_be(M::load(base, setting!(offsets.skc_dport))),
                ifindex: M::load(base, setting!(offsets.skc_bound_dev_if)),
                family,
                role: 0,
                substate: 0,
                reason: 0,
                pad: 0,
            },
        }
    }
}

/// Identity of a full socket.
///
/// # Safety
/// `sk` is a `struct sock` of TCP that `M` may read.
#[inline(always)]
pub(crate) unsafe fn of_sk<M: Mem>(sk: *const u8) -> Conn {
    // SAFETY: by the caller. `inet_sport` lies behind `struct sock`, outside the argument's type.
    unsafe { identify::<M>(sk, Probed::load(sk, setting!(offsets.inet_sport))) }
}

/// Identity of a TIME_WAIT socket.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn of_tw<M: Mem>(tw: *const u8) -> Conn {
    // SAFETY: by the caller.
    unsafe {
        let mut conn = identify::<M>(tw, M::load(tw, setting!(offsets.tw_sport)));
        conn.tuple.substate = M::load(tw, setting!(offsets.tw_substate));
        conn
    }
}

/// Whether a TIME_WAIT socket is TCP's: DCCP (gone since 6.16) used the same kernel functions.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn tw_is_tcp<M: Mem>(tw: *const u8) -> bool {
    // SAFETY: by the caller; `skc_prot` is a pointer, read through the helper. "TCP" or "TCPv6".
    let name: [u8; 4] = unsafe {
        let proto: u64 = Probed::load(tw, setting!(offsets.skc_prot));
        Probed::load(proto as *const u8, setting!(offsets.proto_name))
    };
    u32::from_ne_bytes(name) & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]) == u32::from_ne_bytes(*b"TCP\0")
}

/// Payload of a connection: (sent without retransmissions, received without the peer's FIN), or `None` where the
/// kernel does not count it. `tcp_sock.bytes_received` counts the FIN, as `rcv_nxt` does (tcp_rcv_nxt_update).
///
/// # Safety
/// `sk` is a `struct tcp_sock`.
#[inline(always)]
pub(crate) unsafe fn payload(sk: *const u8, fin_received: bool) -> Option<(u64, u64)> {
    use twtrace_common::config::MISSING;
    if setting!(offsets.bytes_sent) == MISSING
        || setting!(offsets.bytes_retrans) == MISSING
        || setting!(offsets.bytes_received) == MISSING
    {
        return None;
    }
    // SAFETY: by the caller.
    unsafe {
        let sent: u64 = Probed::load(sk, setting!(offsets.bytes_sent));
        let again: u64 = Probed::load(sk, setting!(offsets.bytes_retrans));
        let received: u64 = Probed::load(sk, setting!(offsets.bytes_received));
        Some((sent.wrapping_sub(again), received.saturating_sub(u64::from(fin_received))))
    }
}
