//! Owns: reading the kernel's own books of a network namespace: its counters and its list of TCP sockets.
//! Must not know: what they should say.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail};

/// States as /proc/net/tcp prints them (include/net/tcp_states.h, 5.10 to 7.3); of a TIME_WAIT socket, the substate.
pub const ESTABLISHED: u8 = 1;
/// See [`ESTABLISHED`].
pub const FIN_WAIT1: u8 = 4;
/// See [`ESTABLISHED`].
pub const FIN_WAIT2: u8 = 5;
/// See [`ESTABLISHED`].
pub const TIME_WAIT: u8 = 6;
/// See [`ESTABLISHED`].
pub const LISTEN: u8 = 10;
/// TCP_CLOSE_WAIT.
pub const CLOSE_WAIT: u8 = 8;
/// See [`ESTABLISHED`].
pub const CLOSING: u8 = 11;

/// `timer_active` in /proc/net/tcp of a TIME_WAIT socket, whatever its substate (get_timewait4_sock(),
/// net/ipv4/tcp_ipv4.c, 5.10 to 7.3).
const TIMER_TIME_WAIT: u8 = 3;

/// The kernel's counters of a namespace, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// TIME_WAIT sockets now, FIN_WAIT2 mini-sockets included.
    pub tw: u64,
    /// TcpExt TW.
    pub tw_counter: u64,
    /// TcpExt TWKilled.
    pub tw_killed: u64,
    /// TcpExt TWRecycled.
    pub tw_recycled: u64,
    /// TcpExt TCPTimeWaitOverflow.
    pub overflow: u64,
}

/// Reads the books of the namespace of `process`: a pid, or `self`.
pub fn read(process: &str) -> Result<Books> {
    let netstat = netstat(process)?;
    let counter = |name| tcp_ext(&netstat, name)?.with_context(|| format!("no TcpExt {name}"));
    Ok(Books {
        tw: live(process)?,
        tw_counter: counter("TW")?,
        tw_killed: counter("TWKilled")?,
        tw_recycled: counter("TWRecycled")?,
        overflow: counter("TCPTimeWaitOverflow")?,
    })
}

/// The counter TcpExt of this name in the namespace of `process`; `None` where the kernel has none.
pub fn counter(process: &str, name: &str) -> Result<Option<u64>> {
    tcp_ext(&netstat(process)?, name)
}

fn netstat(process: &str) -> Result<String> {
    let path = format!("/proc/{process}/net/netstat");
    fs::read_to_string(&path).context(path)
}

fn tcp_ext(netstat: &str, name: &str) -> Result<Option<u64>> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { bail!("netstat without TcpExt") };
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let value = both.find(|(key, _)| *key == name).map(|(_, value)| value.parse());
    value.transpose().with_context(|| format!("TcpExt {name}"))
}

/// TIME_WAIT sockets that exist now in the namespace of `process`.
pub fn live(process: &str) -> Result<u64> {
    sockstat(process, "tw")
}

/// Full TCP sockets that exist now in the calling process's namespace, listeners included (IPv4).
pub fn in_use() -> Result<u64> {
    sockstat("self", "inuse")
}

fn sockstat(process: &str, key: &str) -> Result<u64> {
    let path = format!("/proc/{process}/net/sockstat");
    let sockstat = fs::read_to_string(&path).context(path)?;
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).context("sockstat without TCP")?;
    let mut words = tcp.split_whitespace();
    words.find(|word| *word == key).with_context(|| format!("sockstat without {key}"))?;
    Ok(words.next().with_context(|| format!("sockstat {key} without a value"))?.parse()?)
}

/// A line of /proc/net/tcp or tcp6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Local address; v4-mapped ones as IPv4.
    pub local: SocketAddr,
    /// Remote address.
    pub peer: SocketAddr,
    /// TCP state, the substate of a TIME_WAIT socket.
    pub state: u8,
    /// It is a TIME_WAIT socket.
    pub time_wait: bool,
    /// Bytes that nobody has read; of a listener, connections that nobody has accepted.
    pub unread: u64,
    /// What is left of its timer, in hundredths of a second.
    pub left_cs: u64,
}

/// All TCP sockets of the namespace of `process`.
///
/// # Errors
/// Where the list cannot be read; a kernel without IPv6 has no second one.
pub fn rows(process: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{process}/net/{table}");
        let text = match fs::read_to_string(&path) {
            Err(error) if table == "tcp6" && error.kind() == ErrorKind::NotFound => continue,
            read => read.context(path)?,
        };
        for line in text.lines().skip(1) {
            rows.push(row(line).with_context(|| format!("{table}: {line:?}"))?);
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Result<Row> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, local, peer, state, queues, timer, ..] = columns[..] else { bail!("too few columns") };
    let (_, unread) = queues.split_once(':').context("no queues")?;
    let (active, left) = timer.split_once(':').context("no timer")?;
    Ok(Row {
        local: address(local)?,
        peer: address(peer)?,
        state: u8::from_str_radix(state, 16)?,
        time_wait: u8::from_str_radix(active, 16)? == TIMER_TIME_WAIT,
        unread: u64::from_str_radix(unread, 16)?,
        left_cs: u64::from_str_radix(left, 16)?,
    })
}

/// Addresses are printed as 32-bit words of the machine's byte order, ports as numbers.
fn address(text: &str) -> Result<SocketAddr> {
    let (words, port) = text.split_once(':').context("no port")?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..words.len()).step_by(8) {
        let word = u32::from_str_radix(words.get(at..at + 8).context("odd address")?, 16)?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::from(Ipv4Addr::from(v4))
    } else {
        IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice())?)).to_canonical()
    };
    Ok(SocketAddr::new(ip, u16::from_str_radix(port, 16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_wait_row_of_each_family_is_read() {
        let v4 = "0: 0100007F:9C49 0100007F:2717 06 00000000:00000000 03:00001763 00000000 0 0 0 3 0";
        let v4 = row(v4).expect("a good line");
        assert_eq!(v4.local, "127.0.0.1:40009".parse().expect("an address"));
        assert_eq!((v4.state, v4.time_wait, v4.left_cs), (TIME_WAIT, true, 5987));
        let v6 =
            "1: 00000000000000000000000001000000:2717 0000000000000000FFFF00000100007F:9C49 01 0:65 00:0 0 0";
        let v6 = row(v6).expect("a good line");
        assert_eq!(v6.local, "[::1]:10007".parse().expect("an address"));
        assert_eq!(v6.peer, "127.0.0.1:40009".parse().expect("an address"));
        assert_eq!((v6.time_wait, v6.unread), (false, 101));
    }

    #[test]
    fn counters_are_found_by_name() {
        let netstat = "TcpExt: TW TWKilled\nTcpExt: 17 23\nIpExt: TWRecycled\nIpExt: 31\n";
        let counters = ["TWKilled", "TWRecycled"].map(|name| tcp_ext(netstat, name).expect("good text"));
        assert_eq!(counters, [Some(23), None]);
        assert!(tcp_ext("TcpExt: TW\nTcpExt: x\n", "TW").is_err() && tcp_ext("IpExt: TW\n", "TW").is_err());
    }
}
