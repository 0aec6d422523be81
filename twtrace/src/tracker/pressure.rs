//! Owns: how close a pool of ports is to running out.
//! Must not know: where the numbers come from.

/// How long a TIME_WAIT socket keeps its port, in seconds (`TCP_TIMEWAIT_LEN`, include/net/tcp.h): compiled in.
const TIME_WAIT_S: f64 = 60.0;

/// What a network namespace allows (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// `ip_local_port_range`, both ends included.
    pub range: (u16, u16),
    /// `ip_local_reserved_ports`: ranges, both ends included, sorted and apart.
    pub reserved: Vec<(u16, u16)>,
    /// Ports in `range` less those in `reserved`.
    pub ports: u32,
    /// `tcp_max_tw_buckets`.
    pub max_tw_buckets: u32,
}

impl Capacity {
    /// Whether connect() may choose this port by itself.
    pub fn has(&self, port: u16) -> bool {
        let (low, high) = self.range;
        (low..=high).contains(&port) && !self.reserved.iter().any(|(from, to)| (*from..=*to).contains(&port))
    }
}

/// Ephemeral ports in use on a tuple ÷ ports that the netns allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Ports in use, by TIME_WAIT sockets and, where that was handed in, by others.
    pub in_use: u32,
    /// Ports that the netns allows.
    pub ports: u32,
    /// Seconds until none is left, at the present rates; 0 when none is left. `None`: it does not come to that.
    pub full_in_s: Option<f64>,
}

impl Pressure {
    /// `created` and `ended` are TIME_WAIT sockets a second; `others` the ports in use by sockets that are in other
    /// states, which are part of `in_use`.
    pub(super) fn new(in_use: u32, others: u32, ports: u32, created: f64, ended: f64) -> Self {
        Self { in_use, ports, full_in_s: full_in_s(in_use, others, ports, created - ended, created) }
    }

    /// Between 0 and 1, and above 1 where more is in use than is allowed now.
    pub fn fraction(&self) -> f64 {
        if self.ports == 0 { 1.0 } else { f64::from(self.in_use) / f64::from(self.ports) }
    }

    /// Ports left.
    pub fn left(&self) -> u32 {
        self.ports.saturating_sub(self.in_use)
    }
}

/// Each port is free again after a minute, so a steady rate never holds more than a minute's worth of it: below that there
/// is no end to wait for, even while the number still rises.
fn full_in_s(in_use: u32, others: u32, ports: u32, net: f64, created: f64) -> Option<f64> {
    let free = f64::from(ports.saturating_sub(in_use));
    if free == 0.0 {
        return Some(0.0);
    }
    let levels_off = created * TIME_WAIT_S + f64::from(others) < f64::from(ports);
    (net > 0.0 && !levels_off).then(|| free / net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_full_is_what_is_free_over_the_net_rate() {
        for (in_use, others, created, ended, want) in [
            // 1000 ports.
            (400, 0, 20.0, 0.0, Some(30.0)),
            (400, 0, 20.0, 5.0, Some(40.0)),
            (400, 0, 20.0, 20.0, None),
            (400, 0, 20.0, 30.0, None),
            // 16 a second make 960 in a minute and no more.
            (400, 0, 16.0, 0.0, None),
            (400, 100, 16.0, 0.0, Some(37.5)),
            (1000, 0, 0.0, 0.0, Some(0.0)),
            (1100, 0, 0.0, 50.0, Some(0.0)),
        ] {
            let got = Pressure::new(in_use, others, 1000, created, ended);
            assert_eq!(got.full_in_s, want, "{in_use} {others} {created} {ended}");
        }
    }

    #[test]
    fn a_namespace_without_ports_is_full() {
        let none = Pressure::new(0, 0, 0, 0.0, 0.0);
        assert_eq!((none.fraction(), none.left(), none.full_in_s), (1.0, 0, Some(0.0)));
    }

    #[test]
    fn only_ports_that_connect_may_choose_count() {
        let capacity =
            Capacity { range: (32_768, 60_999), reserved: vec![(40_009, 40_013)], ..Capacity::default() };
        for (port, want) in [
            (32_767, false),
            (32_768, true),
            (40_008, true),
            (40_009, false),
            (40_013, false),
            (60_999, true),
            (61_000, false),
        ] {
            assert_eq!(capacity.has(port), want, "{port}");
        }
    }
}
