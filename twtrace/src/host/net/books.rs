//! Owns: the kernel's own counts of TIME_WAIT sockets in a network namespace, to reconcile ours against.
//! Must not know: our counts.

use std::io;

use serde::{Deserialize, Serialize};

use super::Error;
use super::netns::{Each, Netns, cookie_here};
use crate::model::clock;

const NETSTAT: &str = "/proc/thread-self/net/netstat";
const SOCKSTAT: &str = "/proc/thread-self/net/sockstat";
const SOCKSTAT6: &str = "/proc/thread-self/net/sockstat6";

/// What the kernel has counted, IPv4 and IPv6 together. The first four count up from the namespace's birth
/// (`LINUX_MIB_*`, include/uapi/linux/snmp.h, 5.10 to 7.3), the others say what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    /// TcpExt TW. From 5.18 on: created with a timer of more than 4 s (__inet_twsk_schedule(),
    /// net/ipv4/inet_timewait_sock.c, 6.1 to 7.3). Before: ended by such a timer (tw_timer_handler(), there, 5.10).
    pub tw: u64,
    /// TcpExt TWRecycled: reused by a local connect() (__inet_check_established(), net/ipv4/inet_hashtables.c, 5.10 to
    /// 7.3).
    pub tw_recycled: u64,
    /// TcpExt TWKilled. From 5.18 on: created with a timer of 4 s or less, whatever the name says.
    pub tw_killed: u64,
    /// TcpExt TCPTimeWaitOverflow: refused because of `tcp_max_tw_buckets` or for want of memory (tcp_time_wait(),
    /// net/ipv4/tcp_minisocks.c, 5.10 to 7.3).
    pub tw_overflow: u64,
    /// `tw` in sockstat: TIME_WAIT sockets now, both substates.
    pub sockstat_tw: u64,
    /// `TCP: inuse` in sockstat: IPv4 TCP sockets now, TIME_WAIT sockets not among them.
    pub inuse: u64,
    /// `TCP6: inuse` in sockstat6: the same for IPv6; 0 in a kernel without IPv6.
    pub inuse6: u64,
}

impl Books {
    /// The books of `ns`.
    ///
    /// # Errors
    /// Those of [`Netns::within`]; [`Error::Io`] or [`Error::Malformed`] if a file cannot be read.
    pub fn read(ns: &Netns) -> Result<Self, Error> {
        ns.within(Self::read_here)?
    }

    /// All that was counted since the namespace was made.
    pub fn counted(&self) -> u64 {
        self.tw + self.tw_recycled + self.tw_killed + self.tw_overflow
    }

    /// Those of the calling thread's network namespace.
    fn read_here() -> Result<Self, Error> {
        let text = |path| std::fs::read_to_string(path).map_err(Error::io(path));
        let sockstat6 = match std::fs::read_to_string(SOCKSTAT6) {
            Ok(text) => Some(text),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::io(SOCKSTAT6)(source)),
        };
        Self::parse(&text(NETSTAT)?, &text(SOCKSTAT)?, sockstat6.as_deref())
    }

    fn parse(netstat: &str, sockstat: &str, sockstat6: Option<&str>) -> Result<Self, Error> {
        let ext =
            |name| table_value(netstat, "TcpExt:", name).ok_or_else(|| missing(NETSTAT, "TcpExt", name));
        let tcp = |name| pair_value(sockstat, "TCP:", name).ok_or_else(|| missing(SOCKSTAT, "TCP", name));
        let inuse6 = match sockstat6 {
            Some(text) => {
                pair_value(text, "TCP6:", "inuse").ok_or_else(|| missing(SOCKSTAT6, "TCP6", "inuse"))?
            }
            None => 0,
        };
        Ok(Self {
            tw: ext("TW")?,
            tw_recycled: ext("TWRecycled")?,
            tw_killed: ext("TWKilled")?,
            tw_overflow: ext("TCPTimeWaitOverflow")?,
            sockstat_tw: tcp("tw")?,
            inuse: tcp("inuse")?,
            inuse6,
        })
    }
}

/// The books of a namespace at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// CLOCK_MONOTONIC in nanoseconds just before they were read.
    pub read_ns: u64,
    /// Whose they are: see [`cookie_here`].
    pub cookie: Option<u64>,
    /// What they say.
    pub books: Books,
}

/// The books of each of `all`, in order, with its inode. One thread goes round, so this is cheap for hundreds.
///
/// # Errors
/// Only if that thread could not be started; what goes wrong with one namespace is in its entry.
pub fn snapshot_all(all: &[Netns]) -> Result<Each<Snapshot>, Error> {
    Netns::within_each(all, |_| {
        let (cookie, read_ns) = (cookie_here(), clock::mono_ns());
        Ok(Snapshot { read_ns, cookie, books: Books::read_here()? })
    })
}

/// How many TIME_WAIT sockets each of `all` has, in order, with its inode. Far cheaper than listing them: a list walks the machine's whole
/// table once for each namespace.
///
/// # Errors
/// Only if no thread could be started; what goes wrong with one namespace is in its entry.
pub fn time_waits(all: &[Netns]) -> Result<Each<u64>, Error> {
    Netns::within_each(all, |_| time_waits_in(&sockstat()?))
}

/// How many TCP sockets other than TIME_WAIT ones each of `all` has, listening ones among them.
///
/// # Errors
/// As [`time_waits`].
pub fn in_use(all: &[Netns]) -> Result<Each<u64>, Error> {
    Netns::within_each(all, |_| in_use_here(&sockstat()?))
}

/// How many TCP sockets each of `all` has, in whatever state.
///
/// # Errors
/// As [`time_waits`].
pub fn sockets(all: &[Netns]) -> Result<Each<u64>, Error> {
    Netns::within_each(all, |_| {
        let sockstat = sockstat()?;
        Ok(time_waits_in(&sockstat)? + in_use_here(&sockstat)?)
    })
}

fn sockstat() -> Result<String, Error> {
    std::fs::read_to_string(SOCKSTAT).map_err(Error::io(SOCKSTAT))
}

fn time_waits_in(sockstat: &str) -> Result<u64, Error> {
    pair_value(sockstat, "TCP:", "tw").ok_or_else(|| missing(SOCKSTAT, "TCP", "tw"))
}

/// Of the calling thread's network namespace.
fn in_use_here(sockstat: &str) -> Result<u64, Error> {
    let v4 = pair_value(sockstat, "TCP:", "inuse").ok_or_else(|| missing(SOCKSTAT, "TCP", "inuse"))?;
    // Without IPv6 there are no IPv6 sockets.
    let v6 = std::fs::read_to_string(SOCKSTAT6).ok().and_then(|text| pair_value(&text, "TCP6:", "inuse"));
    Ok(v4 + v6.unwrap_or(0))
}

fn missing(path: &str, row: &str, name: &str) -> Error {
    Error::malformed(path, format!("it has no number {name} in its {row} row"))
}

/// A value from two rows with the same first word, the upper one of names, the lower one of numbers.
pub(super) fn table_value(text: &str, row: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter(|line| line.split_ascii_whitespace().next() == Some(row));
    let names = rows.next()?.split_ascii_whitespace();
    let values = rows.next()?.split_ascii_whitespace();
    names.zip(values).find(|(known, _)| *known == name)?.1.parse().ok()
}

/// A value from a row of `name value` pairs.
pub(super) fn pair_value(text: &str, row: &str, name: &str) -> Option<u64> {
    let row = text.lines().find(|line| line.split_ascii_whitespace().next() == Some(row))?;
    let mut words = row.split_ascii_whitespace().skip(1);
    while let (Some(known), Some(value)) = (words.next(), words.next()) {
        if known == name {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT_TEXT: &str = "\
TcpExt: SyncookiesSent TW TWRecycled TWKilled PAWSActive TCPTimeWaitOverflow TCPWqueueTooBig
TcpExt: 0 20011 157 43 0 1009 0
IpExt: InNoRoutes TW
IpExt: 3 999
";
    const SOCKSTAT_TEXT: &str = "\
sockets: used 231
TCP: inuse 17 orphan 3 tw 4999 alloc 29 mem 7
UDP: inuse 5 mem 2
";
    const SOCKSTAT6_TEXT: &str = "TCP6: inuse 11\nUDP6: inuse 2\n";

    #[test]
    fn each_number_comes_from_its_own_place() {
        let books = Books::parse(NETSTAT_TEXT, SOCKSTAT_TEXT, Some(SOCKSTAT6_TEXT)).unwrap();
        let want = Books {
            tw: 20_011,
            tw_recycled: 157,
            tw_killed: 43,
            tw_overflow: 1009,
            sockstat_tw: 4999,
            inuse: 17,
            inuse6: 11,
        };
        assert_eq!(books, want);
        assert_eq!(Books::parse(NETSTAT_TEXT, SOCKSTAT_TEXT, None).unwrap(), Books { inuse6: 0, ..want });
    }

    #[test]
    fn what_is_not_there_is_named() {
        let without = NETSTAT_TEXT.replace("TCPTimeWaitOverflow", "Other");
        let text = Books::parse(&without, SOCKSTAT_TEXT, None).unwrap_err().to_string();
        assert!(text.contains("netstat") && text.contains("TCPTimeWaitOverflow"), "{text}");
        let torn = &NETSTAT_TEXT[..NETSTAT_TEXT.find(" 1009").unwrap()];
        assert!(Books::parse(torn, SOCKSTAT_TEXT, None).is_err());
        for sockstat in ["", "TCP:", "TCP: inuse", "TCP: inuse 1 tw x", "TCP: inuse 1 orphan 0 tw -1"] {
            let text = Books::parse(NETSTAT_TEXT, sockstat, None).unwrap_err().to_string();
            assert!(text.contains("sockstat"), "{text}");
        }
    }

    #[test]
    fn own_books_can_be_read_without_privilege() {
        let own = Netns::own().unwrap();
        let all = snapshot_all(&[own.clone(), own.clone()]).unwrap();
        assert_eq!(all.len(), 2);
        for (inode, books) in all {
            assert_eq!(inode, own.inode);
            assert!(books.unwrap().books.tw <= Books::read(&own).unwrap().tw);
        }
    }
}
