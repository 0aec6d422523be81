//! Owns: what a setting or a change comes to, in numbers: the formulas that predicted effects are computed with.
//! Must not know: findings, how numbers are shown.
//!
//! All of it is Little's law: ports in use = connections a second × seconds that each keeps its port.

/// How long a TIME_WAIT socket keeps its port, in seconds (`TCP_TIMEWAIT_LEN`, include/net/tcp.h): compiled in.
pub const TIME_WAIT_S: f64 = 60.0;
/// How long it keeps its port from a connect() that may reuse it, in seconds, where `tcp_tw_reuse_delay` does not say
/// otherwise (`tcp_twsk_unique`, net/ipv4/tcp_ipv4.c). Up to 6.13 it is the turn of the clock's second, so a second at most.
pub const REUSE_S: f64 = 1.0;
/// How long a NAT gateway keeps a closed connection's port, in seconds (`nf_conntrack_tcp_timeout_time_wait`'s default).
pub const NAT_TIME_WAIT_S: f64 = 120.0;
/// What a TIME_WAIT socket takes beside its slab object, in bytes: its share of bind buckets, as measured.
pub const BUCKET_BYTES: u64 = 160;

/// Ports that connect() can choose from: a range less what is reserved in it. Of an odd number it misses one now and then: it
/// steps through both parities the same number of times (`__inet_hash_connect`, net/ipv4/inet_hashtables.c: `remaining &=
/// ~1U`).
pub fn usable(range: (u16, u16), reserved: &[(u16, u16)]) -> u32 {
    let width = |low: u16, high: u16| (u32::from(high) + 1).saturating_sub(u32::from(low));
    let (low, high) = range;
    let inside = reserved.iter().map(|&(from, to)| width(from.max(low), to.min(high)));
    width(low, high).saturating_sub(inside.sum())
}

/// Connections a second that `ports` ports serve for ever, each kept for `hold_s` seconds.
pub fn limit(ports: u32, hold_s: f64) -> f64 {
    f64::from(ports) / hold_s
}

/// Ports that a steady `rate` of connections a second holds, each for `hold_s` seconds.
pub fn held(rate: f64, hold_s: f64) -> f64 {
    rate * hold_s
}

/// Seconds until `ports` ports are all in use, `in_use` of them being so now; `created` come and `ended` go each second.
/// `None`: never, at this rate.
pub fn full_in_s(ports: u32, in_use: u32, created: f64, ended: f64) -> Option<f64> {
    let free = f64::from(ports.saturating_sub(in_use));
    if free == 0.0 {
        return Some(0.0);
    }
    let net = created - ended;
    (net > 0.0).then(|| free / net)
}

/// Kernel memory of `sockets` TIME_WAIT sockets, in bytes.
pub fn memory(sockets: u64, object_bytes: u64) -> u64 {
    sockets * (object_bytes + BUCKET_BYTES)
}

/// A `tcp_max_tw_buckets` with room for a steady `rate` a second and as much again: a power of two.
pub fn buckets(rate: f64) -> u32 {
    let need = (2.0 * held(rate, TIME_WAIT_S)).ceil().clamp(1.0, f64::from(1_u32 << 30)) as u32;
    need.next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_cannot_be_chosen() {
        for (range, reserved, want) in [
            ((32_768, 60_999), vec![], 28_232),
            ((1024, 65_535), vec![], 64_512),
            ((40_000, 40_060), vec![(39_000, 40_001), (40_060, 50_000)], 58),
            ((40_007, 40_007), vec![], 1),
            ((40_007, 40_007), vec![(1, 65_535)], 0),
            ((1024, 65_535), vec![(1024, 39_999), (40_120, 65_535)], 120),
            ((0, 65_535), vec![(0, 0)], 65_535),
        ] {
            assert_eq!(usable(range, &reserved), want, "{range:?} {reserved:?}");
        }
    }

    #[test]
    fn limits_are_ports_over_time() {
        assert_eq!(limit(28_232, TIME_WAIT_S) as u32, 470);
        assert_eq!(limit(64_512, TIME_WAIT_S) as u32, 1075);
        assert_eq!(limit(28_232, REUSE_S) as u32, 28_232);
        assert_eq!(held(100.0, TIME_WAIT_S) as u32, 6000);
    }

    #[test]
    fn what_is_free_over_the_net_rate_is_the_time_left() {
        assert_eq!(full_in_s(1000, 400, 20.0, 5.0), Some(40.0));
        assert_eq!(full_in_s(1000, 400, 20.0, 20.0), None);
        assert_eq!(full_in_s(1000, 1200, 0.0, 20.0), Some(0.0));
    }

    #[test]
    fn room_is_for_twice_the_rate() {
        assert_eq!(buckets(100.0), 16_384);
        assert_eq!(buckets(0.0), 1);
        assert_eq!(buckets(f64::MAX), 1 << 30);
        assert_eq!(memory(1009, 248), 1009 * 408);
    }
}
