//! Owns: a pool of ports, as all parts speak of it: how much of it is in use, and when it will be full.
//! Must not know: where the numbers come from, what holds the ports.

use std::cmp::Ordering;

/// How long a TIME_WAIT socket keeps its port, in seconds (`TCP_TIMEWAIT_LEN`, include/net/tcp.h, 5.10 to 7.3):
/// compiled in.
pub const TIME_WAIT_S: f64 = 60.0;
/// How long it keeps its port from a connect() that may reuse it, in seconds, where `tcp_tw_reuse_delay` (since 6.14) does not say
/// otherwise (tcp_twsk_unique(), net/ipv4/tcp_ipv4.c, 5.10 to 7.3). Up to 6.13 it is the turn of the clock's second, so
/// a second at most.
pub const REUSE_S: f64 = 1.0;
/// From this share on, ports run short.
const SHORT: f64 = 0.7;
/// What is full so soon, in seconds, may as well be full now.
const SOON_S: f64 = 10.0;

/// Ephemeral ports in use on a tuple ÷ ports that the netns allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Ports in use, by TIME_WAIT sockets and, where that was handed in, by others.
    pub in_use: u32,
    /// Of those, ports that are in use by TIME_WAIT sockets.
    pub time_wait: u32,
    /// Ports that the netns allows.
    pub ports: u32,
    /// Seconds until none is left, at the present rates; 0 when none is left. `None`: it does not come to that, or the rates are not known.
    pub full_in_s: Option<f64>,
    /// Whether the rates are known of all who draw from it.
    pub has_rates: bool,
}

impl Pressure {
    /// Of a moment, of which no rate is known.
    pub fn now(time_wait: u32, others: u32, ports: u32) -> Self {
        let in_use = time_wait + others;
        Self { in_use, time_wait, ports, full_in_s: (in_use >= ports).then_some(0.0), has_rates: false }
    }

    pub(crate) fn new(pool: &PoolUse) -> Self {
        // Others were listed earlier than the last event: what was open then may be in TIME_WAIT now. Which of them is not known, but that
        // there are no more than TIME_WAIT leaves.
        let others = pool.others.min(pool.ports.saturating_sub(pool.time_wait));
        Self {
            in_use: pool.time_wait + others,
            time_wait: pool.time_wait,
            ports: pool.ports,
            full_in_s: pool.full_in_s(),
            has_rates: !pool.is_part,
        }
    }

    /// Between 0 and 1, and above 1 where more is in use than is allowed now.
    pub fn fraction(&self) -> f64 {
        if self.ports == 0 { 1.0 } else { f64::from(self.in_use) / f64::from(self.ports) }
    }

    /// Whether most of its ports are in use.
    pub fn is_short(&self) -> bool {
        self.fraction() >= SHORT
    }

    /// Whether ports run short, or will within a minute.
    pub(crate) fn is_pressing(&self) -> bool {
        self.is_short() || self.full_in_s.is_some_and(|full_in_s| full_in_s <= TIME_WAIT_S)
    }

    /// By how much a pool wants to be seen: how full it will be in 10 s at the present rates, then how full it is.
    pub(crate) fn heat(&self) -> (f64, f64) {
        let fraction = self.fraction();
        let soon = match self.full_in_s {
            Some(full_in_s) if full_in_s > SOON_S => fraction + (1.0 - fraction) * SOON_S / full_in_s,
            Some(_) => 1.0,
            None => fraction.min(1.0),
        };
        (soon, fraction)
    }

    /// Orders pools by how much they want to be seen.
    pub fn cmp_heat(&self, other: &Self) -> Ordering {
        cmp_heats(self.heat(), other.heat())
    }

    /// Ports left.
    pub fn left(&self) -> u32 {
        self.ports.saturating_sub(self.in_use)
    }
}

/// As [`Pressure::cmp_heat`], of what [`Pressure::heat`] says.
pub(crate) fn cmp_heats((soon, fraction): (f64, f64), (other_soon, other_fraction): (f64, f64)) -> Ordering {
    soon.total_cmp(&other_soon).then_with(|| fraction.total_cmp(&other_fraction))
}

/// Whether so many TIME_WAIT sockets a second, each of which holds its port for `held_s`, never come to hold all ports that `others` leave.
pub(crate) fn levels_off(created: f64, held_s: f64, others: u32, ports: u32) -> bool {
    created * held_s + f64::from(others) < f64::from(ports)
}

/// What is known of a pool of ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolUse {
    /// Ports in use by TIME_WAIT sockets.
    pub(crate) time_wait: u32,
    /// Ports in use by sockets in other states.
    pub(crate) others: u32,
    /// Ports that the netns allows.
    pub(crate) ports: u32,
    /// TIME_WAIT sockets made a second.
    pub(crate) created: f64,
    /// TIME_WAIT sockets gone a second.
    pub(crate) ended: f64,
    /// connect() took ports of TIME_WAIT sockets lately.
    pub(crate) is_reused: bool,
    /// Only some of those who draw from it are counted: the rates are theirs.
    pub(crate) is_part: bool,
}

impl PoolUse {
    /// A port is free again after a minute, or after a second where it is reused. So a steady rate never holds more than so many
    /// seconds' worth of ports: below that there is no end to wait for, even while the number still rises.
    fn full_in_s(&self) -> Option<f64> {
        let held_s = if self.is_reused { REUSE_S } else { TIME_WAIT_S };
        let levels_off = levels_off(self.created, held_s, self.others, self.ports);
        if levels_off && self.is_reused {
            return None;
        }
        let full_in_s = full_in_s(self.ports, self.time_wait + self.others, self.created, self.ended);
        full_in_s.filter(|full_in_s| *full_in_s == 0.0 || !levels_off)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_full_is_what_is_free_over_the_net_rate() {
        let pool = |time_wait, others, created, ended| PoolUse {
            time_wait,
            others,
            ports: 1000,
            created,
            ended,
            is_reused: false,
            is_part: false,
        };
        for (pool, want) in [
            (pool(400, 0, 20.0, 0.0), Some(30.0)),
            (pool(400, 0, 20.0, 5.0), Some(40.0)),
            (pool(400, 0, 20.0, 20.0), None),
            (pool(400, 0, 20.0, 30.0), None),
            // 16 a second make 960 in a minute and no more.
            (pool(400, 0, 16.0, 0.0), None),
            (pool(300, 100, 16.0, 0.0), Some(37.5)),
            (pool(1000, 0, 0.0, 0.0), Some(0.0)),
            (pool(900, 200, 0.0, 50.0), Some(0.0)),
            // Where ports are reused after a second, it takes over 1000 a second.
            (PoolUse { is_reused: true, ..pool(400, 0, 500.0, 100.0) }, None),
            (PoolUse { is_reused: true, ..pool(1000, 0, 500.0, 500.0) }, None),
            (PoolUse { is_reused: true, ..pool(400, 0, 1100.0, 100.0) }, Some(0.6)),
            (PoolUse { is_reused: true, ..pool(0, 1000, 0.0, 0.0) }, Some(0.0)),
        ] {
            assert_eq!(Pressure::new(&pool).full_in_s, want, "{pool:?}");
        }
    }

    #[test]
    fn what_was_open_and_is_in_time_wait_now_is_not_in_use_twice() {
        let pool = |time_wait, others| {
            Pressure::new(&PoolUse {
                time_wait,
                others,
                ports: 64,
                created: 0.0,
                ended: 0.0,
                is_reused: false,
                is_part: false,
            })
        };
        let seen = |pool: Pressure| (pool.in_use, pool.time_wait, pool.left(), pool.fraction());
        assert_eq!(seen(pool(64, 1)), (64, 64, 0, 1.0));
        assert_eq!(seen(pool(53, 8)), (61, 53, 3, 61.0 / 64.0));
        // The range was made smaller.
        assert_eq!(seen(pool(96, 7)), (96, 96, 0, 1.5));
    }

    #[test]
    fn a_namespace_without_ports_is_full() {
        let pool = PoolUse {
            time_wait: 0,
            others: 0,
            ports: 0,
            created: 0.0,
            ended: 0.0,
            is_reused: false,
            is_part: false,
        };
        let none = Pressure::new(&pool);
        assert_eq!((none.fraction(), none.left(), none.full_in_s), (1.0, 0, Some(0.0)));
    }

    #[test]
    fn what_runs_out_soon_comes_before_what_is_fuller_and_lasts() {
        let pool =
            |in_use, full_in_s| Pressure { in_use, time_wait: 0, ports: 100, full_in_s, has_rates: true };
        let order = [
            pool(100, Some(0.0)),
            pool(90, Some(9.0)),
            pool(10, Some(5.0)),
            pool(95, None),
            pool(50, Some(20.0)),
            pool(70, None),
            pool(0, Some(43.0)),
            pool(0, None),
        ];
        for pair in order.windows(2) {
            assert_eq!(pair[0].cmp_heat(&pair[1]), Ordering::Greater, "{pair:?}");
        }
    }
}
