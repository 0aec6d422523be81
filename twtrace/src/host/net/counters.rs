//! Owns: what the kernel counts of a network namespace beside TIME_WAIT: refused SYNs, SYNs sent again, closes that ended in an RST,
//! orphans.
//! Must not know: what it is for.

use serde::{Deserialize, Serialize};

use super::Error;
use super::books::{pair_value, table_value};

const NETSTAT: &str = "/proc/thread-self/net/netstat";
const SOCKSTAT: &str = "/proc/thread-self/net/sockstat";
const MAX_ORPHANS: &str = "/proc/sys/net/ipv4/tcp_max_orphans";

/// Counts since the namespace's birth (`LINUX_MIB_*`, include/uapi/linux/snmp.h, 5.10 to 7.3), IPv4 and IPv6 together;
/// a counter that the kernel does not have is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// PAWSTimewait: segments that a TIME_WAIT socket refused for their timestamp (tcp_timewait_state_process(),
    /// net/ipv4/tcp_minisocks.c, 7.3); from 6.16 on.
    pub paws_timewait: Option<u64>,
    /// TCPAbortOnData: closes with SO_LINGER 0, or with data that came afterwards.
    pub abort_on_data: Option<u64>,
    /// TCPAbortOnClose: closes with data that nobody had read.
    pub abort_on_close: Option<u64>,
    /// TCPSynRetrans: SYNs and SYN-ACKs that were sent again.
    pub syn_retrans: Option<u64>,
    /// ListenOverflows: connections that a listener had no room for.
    pub listen_overflows: Option<u64>,
    /// `TCP: orphan` in sockstat: sockets now that no descriptor holds, of the whole machine.
    pub orphans: Option<u64>,
    /// `tcp_max_orphans`.
    pub max_orphans: Option<u64>,
}

impl Counters {
    /// Those of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn read_here() -> Result<Self, Error> {
        let text = |path| std::fs::read_to_string(path).map_err(Error::io(path));
        let max_orphans = std::fs::read_to_string(MAX_ORPHANS).ok().and_then(|text| text.trim().parse().ok());
        Ok(Self { max_orphans, ..Self::parse(&text(NETSTAT)?, &text(SOCKSTAT)?) })
    }

    fn parse(netstat: &str, sockstat: &str) -> Self {
        let ext = |name| table_value(netstat, "TcpExt:", name);
        Self {
            paws_timewait: ext("PAWSTimewait"),
            abort_on_data: ext("TCPAbortOnData"),
            abort_on_close: ext("TCPAbortOnClose"),
            syn_retrans: ext("TCPSynRetrans"),
            listen_overflows: ext("ListenOverflows"),
            orphans: pair_value(sockstat, "TCP:", "orphan"),
            max_orphans: None,
        }
    }

    /// What came since `earlier`; what is there now stays as it is.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// What came in both times; what is there now is as it was in this one.
    #[must_use]
    pub fn and(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_add)
    }

    /// Each number that only grows, together with an earlier one, where both are known.
    fn with(&self, earlier: &Self, both: fn(u64, u64) -> u64) -> Self {
        let of = |now: Option<u64>, then: Option<u64>| Some(both(now?, then?));
        Self {
            paws_timewait: of(self.paws_timewait, earlier.paws_timewait),
            abort_on_data: of(self.abort_on_data, earlier.abort_on_data),
            abort_on_close: of(self.abort_on_close, earlier.abort_on_close),
            syn_retrans: of(self.syn_retrans, earlier.syn_retrans),
            listen_overflows: of(self.listen_overflows, earlier.listen_overflows),
            ..*self
        }
    }

    /// Each counter that is known, changed.
    #[must_use]
    pub(crate) fn map(self, change: impl Fn(u64) -> u64) -> Self {
        let Self {
            paws_timewait,
            abort_on_data,
            abort_on_close,
            syn_retrans,
            listen_overflows,
            orphans,
            max_orphans,
        } = self;
        Self {
            paws_timewait: paws_timewait.map(&change),
            abort_on_data: abort_on_data.map(&change),
            abort_on_close: abort_on_close.map(&change),
            syn_retrans: syn_retrans.map(&change),
            listen_overflows: listen_overflows.map(&change),
            orphans: orphans.map(&change),
            max_orphans: max_orphans.map(&change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_from_its_own_place_and_a_missing_one_is_not_nought() {
        let netstat =
            "TcpExt: TCPAbortOnData TCPAbortOnClose TCPSynRetrans ListenOverflows\nTcpExt: 3 5 7 11\n";
        let first = Counters::parse(netstat, "TCP: inuse 1 orphan 13 tw 0\n");
        let want = Counters {
            paws_timewait: None,
            abort_on_data: Some(3),
            abort_on_close: Some(5),
            syn_retrans: Some(7),
            listen_overflows: Some(11),
            orphans: Some(13),
            max_orphans: None,
        };
        assert_eq!(first, want);
        let later = Counters::parse(&netstat.replace("3 5 7 11", "20 5 8 11"), "TCP: orphan 2\n");
        let moved = later.since(&first);
        assert_eq!((moved.abort_on_data, moved.abort_on_close, moved.orphans), (Some(17), Some(0), Some(2)));
        assert_eq!((moved.paws_timewait, moved.syn_retrans), (None, Some(1)));
        assert!(Counters::read_here().unwrap().abort_on_data.is_some());
    }
}
