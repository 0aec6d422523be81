//! Owns: the settings of a network namespace that decide how many ports there are and how TIME_WAIT behaves.
//! Must not know: how they are read, what would be better ones.

use serde::{Deserialize, Serialize};

/// What a network namespace allows (Documentation/networking/ip-sysctl.rst); those of ports govern IPv6 as well. `None` is what nobody
/// knows. As JSON, and so in recordings, each is called as in `net.ipv4`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `ip_local_port_range`: first and last ephemeral port, both included.
    #[serde(rename = "ip_local_port_range")]
    pub port_range: Option<(u16, u16)>,
    /// `ip_local_reserved_ports`: ranges of ports that are never chosen, both ends included; sorted and apart.
    #[serde(rename = "ip_local_reserved_ports")]
    pub reserved: Vec<(u16, u16)>,
    /// Ports that connect() can choose from: see [`usable`].
    #[serde(skip)]
    pub ports: Option<u32>,
    /// 0: never, 1: reuse for outgoing connections, 2: for loopback only.
    #[serde(rename = "tcp_tw_reuse")]
    pub tw_reuse: Option<u32>,
    /// Age in milliseconds from which on `tcp_tw_reuse` applies; `None` also in a kernel that has one second fixed.
    #[serde(rename = "tcp_tw_reuse_delay")]
    pub tw_reuse_delay_ms: Option<u32>,
    /// How many TIME_WAIT sockets there may be.
    #[serde(rename = "tcp_max_tw_buckets")]
    pub max_tw_buckets: Option<u32>,
    /// What the kernel would have set that to.
    #[serde(skip)]
    pub max_tw_buckets_default: Option<u32>,
    /// 0: none, 1: with random offsets, 2: without.
    #[serde(rename = "tcp_timestamps")]
    pub timestamps: Option<u32>,
    /// 1: an RST does not end a TIME_WAIT socket.
    #[serde(rename = "tcp_rfc1337")]
    pub rfc1337: Option<u32>,
    /// How long an orphan stays in FIN_WAIT2, in seconds. No say over TIME_WAIT.
    #[serde(rename = "tcp_fin_timeout")]
    pub fin_timeout_s: Option<u32>,
    /// `tcp_tw_recycle`: no kernel since 4.12 has it.
    #[serde(skip)]
    pub tw_recycle: Option<u32>,
}

impl Settings {
    /// A range of ports, of which nothing is reserved, and nothing else that is known.
    pub fn of_range(low: u16, high: u16) -> Self {
        let range = (low, high);
        Self { port_range: Some(range), ports: Some(usable(range, &[])), ..Self::default() }
    }

    /// The same with its ports counted; `None` where it is not what a kernel has, so that a file is not what it says.
    pub fn counted(self) -> Option<Self> {
        let in_order = self.reserved.iter().all(|(from, to)| from <= to)
            && self.reserved.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let range = self.port_range.filter(|(low, high)| low <= high && in_order)?;
        Some(Self { ports: Some(usable(range, &self.reserved)), ..self })
    }

    /// Whether connect() may choose this port by itself; never where the range is not known.
    #[inline]
    pub fn has(&self, port: u16) -> bool {
        self.port_range.is_some_and(|(low, high)| (low..=high).contains(&port)) && !self.reserves(port)
    }

    /// Whether it is a port that is never chosen.
    #[inline]
    pub fn reserves(&self, port: u16) -> bool {
        self.reserved.iter().any(|(from, to)| (*from..=*to).contains(&port))
    }
}

/// Ports that connect() can choose from: a range less what is reserved in it. Of an odd number it misses one now and then: it
/// steps through both parities the same number of times (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to
/// 7.3: `remaining &= ~1U`).
pub fn usable(range: (u16, u16), reserved: &[(u16, u16)]) -> u32 {
    let width = |low: u16, high: u16| (u32::from(high) + 1).saturating_sub(u32::from(low));
    let (low, high) = range;
    let inside = reserved.iter().map(|&(from, to)| width(from.max(low), to.min(high)));
    width(low, high).saturating_sub(inside.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_range_less_what_is_reserved_in_it() {
        for (range, reserved, want) in [
            ((32_768, 60_999), vec![], 28_232),
            ((32_768, 60_999), vec![(8080, 8080), (40_009, 40_013)], 28_227),
            ((40_000, 40_010), vec![(39_990, 40_001), (40_010, 40_999)], 8),
            ((40_000, 40_010), vec![(1, 65_535)], 0),
            ((40_007, 40_007), vec![], 1),
            ((0, 65_535), vec![(0, 0)], 65_535),
            ((1, 65_535), vec![], 65_535),
        ] {
            let settings = Settings { port_range: Some(range), reserved, ..Settings::default() };
            let settings = settings.counted().unwrap();
            assert_eq!(settings.ports, Some(want), "{settings:?}");
            let all = (0..=u16::MAX).filter(|port| settings.has(*port)).count();
            assert_eq!(all as u32, want);
        }
    }

    #[test]
    fn what_no_kernel_has_is_no_setting() {
        let good = Settings::of_range(40_000, 40_999);
        assert_eq!(good.clone().counted(), Some(good.clone()));
        for bad in [
            Settings { port_range: Some((2, 1)), ..good.clone() },
            Settings { port_range: None, ..good.clone() },
            Settings { reserved: vec![(9, 7)], ..good.clone() },
            Settings { reserved: vec![(5, 9), (9, 9)], ..good },
        ] {
            assert_eq!(bad.clone().counted(), None, "{bad:?}");
        }
    }
}
