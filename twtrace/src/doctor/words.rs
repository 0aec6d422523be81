//! Owns: numbers and names of the doctor's as short words.
//! Must not know: where they stand.

use std::net::IpAddr;

use super::facts::{Process, Share, Tuple};
use crate::escape::printable;

/// `28,232`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `0`, `0.02`, `1.5`, `47.3`, `1,075`: whole from 100 on.
pub(super) fn number(value: f64) -> String {
    let rounded = value.max(0.0).round();
    if value >= 99.95 || (value - rounded).abs() < 1e-9 {
        return grouped(rounded as u64);
    }
    if value >= 0.95 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// `1 connection`, `7 connections`.
pub(super) fn count(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `once`, `7 times`.
pub(super) fn times(times: u64) -> String {
    if times == 1 { "once".to_owned() } else { format!("{} times", grouped(times)) }
}

/// `10.0.0.9:5432`, `[2001:db8::1]:443`.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// `10.0.0.1 > 10.0.0.9:5432`.
pub(super) fn tuple(tuple: &Tuple) -> String {
    format!("{} > {}", tuple.saddr, end(tuple.daddr, tuple.dport))
}

/// `checkout-api (pid 42)`, escaped.
pub(super) fn process(process: &Process) -> String {
    match process.pid {
        Some(pid) => format!("{} (pid {pid})", printable(&process.comm)),
        None => "unknown (closed before twtrace began)".to_owned(),
    }
}

/// The first of them, and how many more.
pub(super) fn names(shares: &[Share]) -> String {
    let known = || shares.iter().filter(|share| share.process.pid.is_some());
    match (known().next(), known().count()) {
        (None, _) => "an unknown process".to_owned(),
        (Some(first), 1) => process(&first.process),
        (Some(first), more) => format!("{} and {} more", process(&first.process), more - 1),
    }
}

/// `<1s`, `3s`, `1m05s`.
pub(super) fn span(seconds: f64) -> String {
    crate::live::span(seconds)
}

/// `57 us`, `4.2 ms`, `3 s`.
pub(super) fn short_time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", number((us as f64 / 100.0).round() / 10.0)),
        _ => format!("{} s", number((us as f64 / 100_000.0).round() / 10.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, want) in [
            (0.0, "0"),
            (0.0166, "0.02"),
            (0.3, "0.30"),
            (1.0, "1"),
            (7.25, "7.2"),
            (47.3, "47.3"),
            (470.53, "471"),
            (1075.2, "1,075"),
            (28_232.0, "28,232"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
    }

    #[test]
    fn times_and_names() {
        assert_eq!(
            (short_time(57), short_time(4_230), short_time(3_000_000)),
            ("57 us".into(), "4.2 ms".into(), "3 s".into())
        );
        let share = |pid, comm: &str| Share {
            process: Process { pid, comm: comm.into(), ..Process::default() },
            ..Share::default()
        };
        let hostile = share(Some(7), "a\x1b[2J");
        assert_eq!(names(&[share(None, ""), hostile.clone()]), r"a\x1b[2J (pid 7)");
        assert_eq!(names(&[hostile.clone(), share(Some(9), "b"), hostile]), r"a\x1b[2J (pid 7) and 2 more");
        assert_eq!(names(&[share(None, "")]), "an unknown process");
        assert_eq!(count(1, "port"), "1 port");
        assert_eq!(times(1), "once");
    }
}
