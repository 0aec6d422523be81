//! Owns: what a setting or a change comes to, in numbers: the formulas that predicted effects are computed with.
//! Must not know: findings, how numbers are shown.
//!
//! All of it is Little's law: ports in use = connections a second × seconds that each keeps its port.

pub use crate::model::pool::{REUSE_S, TIME_WAIT_S, full_in_s};
pub use crate::model::settings::usable;

/// How long a NAT gateway keeps a closed connection's port, in seconds (`nf_conntrack_tcp_timeout_time_wait`'s default).
pub const NAT_TIME_WAIT_S: f64 = 120.0;
/// What a TIME_WAIT socket takes beside its slab object, in bytes: its share of bind buckets, as measured.
const BUCKET_BYTES: u64 = 160;

/// Connections a second that `ports` ports serve for ever, each kept for `hold_s` seconds.
pub fn limit(ports: u32, hold_s: f64) -> f64 {
    f64::from(ports) / hold_s
}

/// Ports that a steady `rate` of connections a second holds, each for `hold_s` seconds.
pub fn held(rate: f64, hold_s: f64) -> f64 {
    rate * hold_s
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
