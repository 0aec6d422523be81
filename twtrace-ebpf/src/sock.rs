//! Owns: what is read of a `struct sock` and of an `inet_timewait_sock`, which share `struct sock_common`.
//! Must not know: events, maps, who asks.

use twtrace_common::{
    config::MISSING,
    wire::{
        PORT_ACCEPT, PORT_BIND, PORT_BIND_ANY, PORT_CONNECT, PORT_UNKNOWN, ROLE_CLIENT, ROLE_SERVER, Tuple,
        Words,
    },
};

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};

use crate::{
    config::setting,
    maps,
    mem::{Mem, Probed, Typed},
};

/// `AF_INET6` (include/linux/socket.h, 6.12).
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP` (include/uapi/linux/in.h, 6.12).
pub(crate) const IPPROTO_TCP: u16 = 6;

/// Bit of `enum sock_flags` (include/net/sock.h, 5.10 to 7.3): the process has let go of the socket.
pub(crate) const SOCK_DEAD: u64 = 1 << 0;
/// Bit of `enum sock_flags`: SO_LINGER is set.
pub(crate) const SOCK_LINGER: u64 = 1 << 4;
/// Bit of `enum sock_flags`: the peer's FIN is in (set by tcp_fin(), net/ipv4/tcp_input.c, 5.10 to 7.3).
pub(crate) const SOCK_DONE: u64 = 1 << 1;

/// Of `sk_userlocks` (include/net/sock.h, 5.10 to 7.3): bind() asked for the port by its number.
const SOCK_BINDPORT_LOCK: u8 = 8;

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
    /// Key where the kernel hands out no cookies: the same from the `struct sock` and from the TIME_WAIT socket that
    /// follows it. Namespace and interface go in one after the other, or one could be chosen to undo the other; the seed is
    /// drawn at each start, so nobody can choose connections that collide.
    #[inline(always)]
    fn key(&self) -> u64 {
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

    /// What a full socket and its TIME_WAIT socket share, cookie or not, to pair them within one call.
    #[inline(always)]
    pub(crate) fn pairing(&self, key: u64) -> u64 {
        if key == 0 { self.key() } else { key }
    }

    /// The peer in one word, to check that a remembered `struct sock *` is still the same connection.
    #[inline(always)]
    fn peer_check(&self) -> u64 {
        let [d0, d1] = self.tuple.daddr;
        let h = mix(mix(setting!(seed), d0), d1);
        mix(mix(h, u64::from(self.tuple.dport)), u64::from(self.netns))
    }
}

/// What tells a full socket from all others, now and ever: its cookie, which the kernel copies into the TIME_WAIT socket and
/// which nobody can choose. Without the helper: the connection itself.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn key_of_sk(sk: *const u8) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        if setting!(socket_cookie) != 0 {
            bpf_get_socket_cookie(sk.cast_mut().cast())
        } else {
            of_sk::<Typed>(sk).key()
        }
    }
}

/// The same, but no cookie is made where there is none: then it is 0.
///
/// # Safety
/// As [`key_of_sk`].
#[inline(always)]
pub(crate) unsafe fn known_key_of_sk(sk: *const u8) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        if setting!(socket_cookie) != 0 {
            Typed::load(sk, setting!(offsets.skc_cookie))
        } else {
            of_sk::<Typed>(sk).key()
        }
    }
}

/// The same of a TIME_WAIT socket; 0 where the connection had no cookie, that is, was closed before twtrace began.
#[inline(always)]
pub(crate) fn key_of_tw(conn: &Conn, cookie: u64) -> u64 {
    if setting!(socket_cookie) != 0 { cookie } else { conn.key() }
}

/// A pointer as a number to reckon with: the verifier lets nobody multiply a pointer, but forgets what it is in a map.
#[inline(always)]
fn number(pointer: *const u8) -> u64 {
    let Some(scratch) = maps::SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: a live map value of this CPU. Who interrupts and writes it as well makes this socket's opener unknown.
    unsafe {
        scratch.write_volatile(pointer as u64);
        scratch.read_volatile()
    }
}

/// Key of a socket's opener, and what must agree with it: cookie and 0, or address and peer.
///
/// # Safety
/// As [`key_of_sk`]; `M` may read `sk`.
#[inline(always)]
pub(crate) unsafe fn opener_key<M: Mem>(sk: *const u8, typed: bool) -> (u64, u64) {
    // SAFETY: by the caller.
    unsafe {
        if setting!(socket_cookie) == 0 {
            (number(sk), of_sk::<M>(sk).peer_check())
        } else if typed {
            (bpf_get_socket_cookie(sk.cast_mut().cast()), 0)
        } else {
            (Probed::load(sk, setting!(offsets.skc_cookie)), 0)
        }
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
pub(crate) fn is_mapped([high, low]: Words) -> bool {
    high == 0 && low as u32 == MAPPED
}

/// Reads the identity. `sport` is in network order: `inet_sock.inet_sport` of a full socket, whose `skc_num` is
/// already 0 when an autobound one closes (tcp_set_state(), net/ipv4/tcp.c, 5.10 to 7.3), or `tw_sport`.
///
/// # Safety
/// `base` is a `struct sock_common` that `M` may read.
#[inline(always)]
unsafe fn identify<M: Mem>(base: *const u8, sport_be: u16) -> Conn {
    // SAFETY: by the caller; offsets are from BTF.
    unsafe {
        let (saddr, daddr, family) = if M::load::<u16>(base, setting!(offsets.skc_family)) == AF_INET6 {
            let saddr: Words = M::wide(base, setting!(offsets.skc_v6_rcv_saddr));
            let daddr: Words = M::wide(base, setting!(offsets.skc_v6_daddr));
            (saddr, daddr, if is_mapped(daddr) { 4 } else { 6 })
        } else {
            let saddr = mapped(M::load(base, setting!(offsets.skc_rcv_saddr)));
            (saddr, mapped(M::load(base, setting!(offsets.skc_daddr))), 4)
        };
        let net: *const u8 = M::load(base, setting!(offsets.skc_net));
        Conn {
            netns: M::behind(net, setting!(offsets.net_inum)),
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

/// Namespace of a full socket.
///
/// # Safety
/// `sk` is a `struct sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn netns<M: Mem>(sk: *const u8) -> u32 {
    // SAFETY: by the caller.
    unsafe {
        let net: *const u8 = M::load(sk, setting!(offsets.skc_net));
        M::behind(net, setting!(offsets.net_inum))
    }
}

/// Local port of a full socket that is still hashed, in host order.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn port_of(sk: *const u8) -> u16 {
    // SAFETY: by the caller.
    unsafe { Typed::load(sk, setting!(offsets.skc_num)) }
}

/// Whether SO_REUSEADDR is set, where this kernel's BTF tells.
///
/// # Safety
/// As [`port_is_locked`].
#[inline(always)]
pub(crate) unsafe fn reuses_address<M: Mem>(sk: *const u8) -> Option<bool> {
    let at = setting!(offsets.skc_reuse_bit);
    if at == MISSING {
        return None;
    }
    // SAFETY: by the caller.
    Some(unsafe { M::load::<u8>(sk, at / 8) } >> (at % 8) & 0xf != 0)
}

/// The socket's own range of ports (IP_LOCAL_PORT_RANGE), as `Failed::own_range`: 0 where it has none. A kernel that has no such
/// field has no such option.
///
/// # Safety
/// `sk` is a `struct sock` of TCP; it is read with the helper, as the field lies behind it.
#[inline(always)]
pub(crate) unsafe fn own_range(sk: *const u8) -> u32 {
    let at = setting!(offsets.local_port_range);
    // SAFETY: by the caller.
    if at == MISSING { 0 } else { unsafe { Probed::load(sk, at) } }
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

/// Whether a TIME_WAIT socket is TCP's: DCCP (net/dccp/, in 6.12, gone since 6.16) used the same kernel functions.
///
/// # Safety
/// `tw` is an `inet_timewait_sock` that `M` may read.
#[inline(always)]
pub(crate) unsafe fn tw_is_tcp<M: Mem>(tw: *const u8) -> bool {
    // SAFETY: by the caller. "TCP" or "TCPv6".
    let name: [u8; 4] = unsafe {
        let proto: *const u8 = M::load(tw, setting!(offsets.skc_prot));
        M::behind::<u32>(proto, setting!(offsets.proto_name)).to_ne_bytes()
    };
    u32::from_ne_bytes(name) & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]) == u32::from_ne_bytes(*b"TCP\0")
}

/// Payload of a connection: (sent without retransmissions, received without the peer's FIN), or `None` where the
/// kernel does not count it. `tcp_sock.bytes_received` counts the FIN, as `rcv_nxt` does (tcp_rcv_nxt_update(),
/// net/ipv4/tcp_input.c, 5.10 to 7.3).
///
/// # Safety
/// `sk` is a `struct tcp_sock`; with `typed` the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn payload(sk: *const u8, fin_received: bool, typed: bool) -> Option<(u64, u64)> {
    if setting!(offsets.bytes_sent) == MISSING
        || setting!(offsets.bytes_retrans) == MISSING
        || setting!(offsets.bytes_received) == MISSING
    {
        return None;
    }
    // SAFETY: by the caller. The helper gives the same address the type that holds the counters.
    unsafe {
        let (sent, again, received) = if typed {
            let tcp = bpf_skc_to_tcp_sock(sk.cast_mut().cast()).cast::<u8>().cast_const();
            if tcp.is_null() {
                return None;
            }
            counters::<Typed>(tcp)
        } else {
            counters::<Probed>(sk)
        };
        Some((sent.wrapping_sub(again), received.saturating_sub(u64::from(fin_received))))
    }
}

#[inline(always)]
unsafe fn counters<M: Mem>(tcp: *const u8) -> (u64, u64, u64) {
    // SAFETY: by the caller.
    unsafe {
        (
            M::load(tcp, setting!(offsets.bytes_sent)),
            M::load(tcp, setting!(offsets.bytes_retrans)),
            M::load(tcp, setting!(offsets.bytes_received)),
        )
    }
}

/// Whether bind() asked for the port by its number.
///
/// # Safety
/// `sk` is a `struct sock` that `M` may read.
#[inline(always)]
unsafe fn port_is_locked<M: Mem>(sk: *const u8) -> bool {
    let at = setting!(offsets.sk_userlocks_bit);
    // SAFETY: by the caller.
    let locks = unsafe { M::load::<u8>(sk, at / 8) } >> (at % 8);
    locks & SOCK_BINDPORT_LOCK != 0
}

/// How the local port of a socket was had that has one (`PORT_*`): connect() takes a port only if no bind() has had to do with it
/// (`fastreuse` below 0, __inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3), so the port's bucket tells,
/// and whoever shares the bucket of a bind() is as closed to other connects as that one.
///
/// # Safety
/// `sk` is the typed argument of a tracing program.
#[inline(always)]
pub(crate) unsafe fn port_via(sk: *const u8, role: u8) -> u32 {
    if setting!(offsets.sk_userlocks_bit) == MISSING
        || setting!(offsets.icsk_bind_hash) == MISSING
        || setting!(offsets.bind_fastreuse) == MISSING
    {
        return PORT_UNKNOWN;
    }
    if role == ROLE_SERVER {
        return PORT_ACCEPT;
    }
    if role != ROLE_CLIENT {
        return PORT_UNKNOWN;
    }
    // SAFETY: by the caller.
    unsafe {
        let tcp = bpf_skc_to_tcp_sock(sk.cast_mut().cast()).cast::<u8>().cast_const();
        if tcp.is_null() {
            return PORT_UNKNOWN;
        }
        if port_is_locked::<Typed>(sk) {
            return PORT_BIND;
        }
        let bucket: *const u8 = Typed::load(tcp, setting!(offsets.icsk_bind_hash));
        if bucket.is_null() {
            return PORT_UNKNOWN;
        }
        let fastreuse: i8 = Typed::load(bucket, setting!(offsets.bind_fastreuse));
        if fastreuse < 0 { PORT_CONNECT } else { PORT_BIND_ANY }
    }
}

/// How the port was had that connect() was called with, 0 where it was to choose one.
///
/// # Safety
/// As [`port_is_locked`].
#[inline(always)]
pub(crate) unsafe fn port_before<M: Mem>(sk: *const u8, sport: u16) -> u32 {
    if sport == 0 {
        return PORT_CONNECT;
    }
    if setting!(offsets.sk_userlocks_bit) == MISSING {
        return PORT_UNKNOWN;
    }
    // SAFETY: by the caller.
    if unsafe { port_is_locked::<M>(sk) } { PORT_BIND } else { PORT_BIND_ANY }
}
