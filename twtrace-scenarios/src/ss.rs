//! Owns: asking `ss`, a tool that twtrace has nothing to do with, about the TIME_WAIT sockets of the calling
//! process's network namespace, and what it can do on the running kernel.
//! Must not know: what it should say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use twtrace_kit::command::{on_path, read};
use twtrace_kit::kernel;

/// A TIME_WAIT socket as `ss` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// `sk:`; `None` where there is none.
    pub cookie: Option<u64>,
    /// Time left, in milliseconds; what is less than a second is cut off.
    pub left_ms: u64,
}

/// `TIME_WAIT` or `FIN_WAIT2`, the local and the remote end, as text.
pub(crate) type Line = (String, String, String);

/// Is there tcp_diag, with CONFIG_INET_DIAG_DESTROY? Without it `ss` reads /proc/net/tcp, and what it prints as `sk:` is
/// no cookie. Slow when asked for the first time; forked processes inherit the answer.
pub(crate) fn has_tcp_diag() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(detect_tcp_diag)
}

fn detect_tcp_diag() -> bool {
    // Asking makes the kernel load the module where it is one.
    let asked = Command::new("ss").args(["-tnH", "sport", "=", "1"]).output().is_ok();
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    asked && symbols.lines().any(|line| line.split_whitespace().nth(2) == Some("tcp_diag_destroy"))
}

/// Can `ss -K` end a TIME_WAIT socket here? Besides tcp_diag it needs a tcp_abort() that knows TIME_WAIT sockets
/// (net/ipv4/tcp.c, 6.1 to 7.3; 5.10 answers EOPNOTSUPP).
pub(crate) fn can_kill_time_wait() -> bool {
    has_tcp_diag() && kernel::version().is_ok_and(|version| version >= (6, 1))
}

/// All TIME_WAIT sockets of this namespace, FIN_WAIT2 mini-sockets included; `None` where there is no `ss`.
pub(crate) fn time_waits() -> Result<Option<Vec<Shown>>> {
    if on_path("ss").is_none() {
        return Ok(None);
    }
    let text = run(&["-tanHOeo"])?;
    let lines = text.lines().filter(|line| line.contains("timer:(timewait"));
    lines.map(|line| shown(line).with_context(|| format!("ss: {line:?}"))).collect::<Result<_>>().map(Some)
}

fn run(args: &[&str]) -> Result<String> {
    read(Command::new("ss").args(args))
}

/// The lines of `ss -tan state time-wait`, and those of `fin-wait-2` that are mini-sockets.
pub(crate) fn time_wait_lines() -> Result<BTreeSet<Line>> {
    let mut lines = BTreeSet::new();
    for (state, name) in [("time-wait", "TIME_WAIT"), ("fin-wait-2", "FIN_WAIT2")] {
        let text = run(&["-tanHOo", "state", state])?;
        for line in text.lines().filter(|line| line.contains("timer:(timewait")) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, _, local, peer, ..] = columns[..] else { bail!("ss: {line:?}: too few columns") };
            lines.insert((name.to_owned(), local.to_owned(), peer.to_owned()));
        }
    }
    Ok(lines)
}

/// How many sockets are in each state, by the kernel's names.
pub(crate) fn states() -> Result<BTreeMap<String, u64>> {
    let mut states = BTreeMap::new();
    for line in run(&["-tanHO"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let name = match name {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "UNCONN" => "CLOSE".to_owned(),
            other => other.replace('-', "_").replace("WAIT_", "WAIT"),
        };
        *states.entry(name).or_default() += 1;
    }
    Ok(states)
}

/// `timewait` of `ss -s`.
pub(crate) fn time_waits_in_summary() -> Result<u64> {
    let text = run(&["-s"])?;
    let number = text.lines().find_map(|line| line.split("timewait ").nth(1));
    let digits = number.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("ss -s: {text:?}"))
}

/// `ss -K`: ends the TIME_WAIT socket with this local end. Whether it did shows in the kernel's books.
pub(crate) fn kill(local: SocketAddr) -> Result<()> {
    let filter = [format!("{}", local.ip()), format!("{}", local.port())];
    let [address, port] = &filter;
    run(&["-K", "-tnH", "state", "time-wait", "state", "fin-wait-2", "src", address, "sport", "=", port])
        .map(drop)
}

fn shown(line: &str) -> Result<Shown> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, local, peer, ..] = columns[..] else { bail!("too few columns") };
    let cookie = columns.iter().find_map(|column| column.strip_prefix("sk:"));
    let cookie = cookie.map(|hex| u64::from_str_radix(hex, 16)).transpose()?;
    let timer =
        columns.iter().find_map(|column| column.strip_prefix("timer:(timewait,")).context("no timer")?;
    let left_ms = milliseconds(timer.split(',').next().unwrap_or_default()).context("no time left")?;
    let cookie = cookie.filter(|cookie| *cookie != 0);
    Ok(Shown { local: address(local)?, peer: address(peer)?, cookie, left_ms })
}

/// `1min`, `1min12sec`, `59sec`, `9.850ms`, `850ms`: minutes, seconds, and after a point thousandths of a second.
fn milliseconds(text: &str) -> Option<u64> {
    let (minutes, rest) = text.split_once("min").unwrap_or(("0", text));
    let minutes: u64 = minutes.parse().ok()?;
    let rest = match rest.strip_suffix("sec") {
        Some(seconds) => seconds.parse::<u64>().ok()? * 1000,
        None => match rest.strip_suffix("ms") {
            Some(text) => {
                let (seconds, thousandths) = text.split_once('.').unwrap_or(("0", text));
                seconds.parse::<u64>().ok()? * 1000 + thousandths.parse::<u64>().ok()?
            }
            None if rest.is_empty() => 0,
            None => return None,
        },
    };
    Some(minutes * 60_000 + rest)
}

/// `127.0.0.1:80`, `[::1]:80`, `[::ffff:127.0.0.1]:80`, `127.0.0.1%lo:80`.
fn address(text: &str) -> Result<SocketAddr> {
    let (host, port) = text.rsplit_once(':').context("no port")?;
    let host = host.split('%').next().unwrap_or(host).trim_matches(['[', ']']);
    let ip: IpAddr = host.parse()?;
    Ok(SocketAddr::new(ip.to_canonical(), port.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_each_kind_is_read() {
        let line = "TIME-WAIT 0 0 127.0.0.1:40009 127.0.0.1:10007 timer:(timewait,59sec,0) ino:0 sk:1001 ";
        let got = shown(line).expect("a good line");
        assert_eq!(got.local, "127.0.0.1:40009".parse().expect("an address"));
        assert_eq!(got.cookie, Some(0x1001));
        let line = "FIN-WAIT-2 0 0 [::ffff:127.0.0.1]:1 [::1]:2 timer:(timewait,59sec,0) ino:0 sk:0";
        let got = shown(line).expect("a good line");
        assert_eq!(got.local, "127.0.0.1:1".parse().expect("an address"));
        assert_eq!(got.peer, "[::1]:2".parse().expect("an address"));
        assert_eq!((got.cookie, got.left_ms), (None, 59_000));
    }

    #[test]
    fn times_of_each_size_are_read() {
        for (text, want) in
            [("1min", 60_000), ("1min12sec", 72_000), ("59sec", 59_000), ("9.850ms", 9850), ("850ms", 850)]
        {
            assert_eq!(milliseconds(text), Some(want), "{text}");
        }
        assert_eq!(milliseconds("soon"), None);
    }
}
