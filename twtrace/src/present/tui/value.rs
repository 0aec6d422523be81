//! Owns: what stands in a table's cell: how it is ordered, and how it reads at a width.
//! Must not know: tables, the terminal.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use crate::engine::{Target, TupleKey};
use crate::model::event::Conn;
pub(super) use crate::model::figures::short_time;
use crate::model::figures::{bytes, percent, rate, span};
use crate::present::live::{target, tuple};

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// There is nothing to say.
    Nothing,
    /// There is something, and nobody knows what.
    Unknown,
    Count(u64),
    /// Events a second.
    Rate(f64),
    /// Between 0 and 1, and above.
    Share(f64),
    /// Seconds until the ports are used up.
    Lasts(f64),
    /// Microseconds.
    Micros(u64),
    /// Bytes.
    Size(u64),
    Pid(u32),
    /// So many that are alike.
    Times(u64),
    /// Already escaped.
    Text(Cow<'static, str>),
    /// Nanoseconds to order it by, and the time of day.
    Time(u64, String),
    Tuple(TupleKey),
    /// The main one, and how many others there are.
    Target(Target, usize),
    Conn(Conn),
    /// An address by itself.
    Address(IpAddr),
}

impl Value {
    /// Text from a stranger.
    pub(super) fn hostile(text: &str) -> Self {
        Self::Text(crate::model::escape::printable(text).into_owned().into())
    }

    /// The text, which may still be wider than `width`: only what has a better way than cutting its end is cut here.
    pub(super) fn text(&self, width: usize) -> Cow<'_, str> {
        let text = match self {
            Self::Nothing => return "-".into(),
            Self::Unknown => return "?".into(),
            Self::Text(text) => return text.as_ref().into(),
            Self::Time(_, text) => return text.as_str().into(),
            Self::Count(count) => count_in(*count, width),
            Self::Rate(0.0) => return "-".into(),
            Self::Rate(events) => format!("{}/s", rate(*events)),
            Self::Share(share) => percent(*share),
            Self::Lasts(0.0) => return "now".into(),
            Self::Lasts(seconds) => span(*seconds),
            Self::Micros(us) => short_time(*us),
            Self::Size(count) => bytes(*count).replace(' ', ""),
            Self::Pid(pid) => pid.to_string(),
            Self::Times(count) => format!("×{}", count_in(*count, width.saturating_sub(1))),
            Self::Tuple(key) => tuple(key, width),
            Self::Target(to, others) => with_others(to, *others, width),
            Self::Conn(conn) => connection(conn, width),
            Self::Address(address) => address.to_string(),
        };
        text.into()
    }

    /// What comes first however it is ordered: what is known, then what nobody knows, then nothing.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 2,
            Self::Unknown => 1,
            _ => 0,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Count(count) | Self::Size(count) | Self::Micros(count) | Self::Times(count) => {
                Some(*count as f64)
            }
            Self::Rate(number) | Self::Share(number) | Self::Lasts(number) => Some(*number),
            Self::Pid(pid) => Some(f64::from(*pid)),
            _ => None,
        }
    }

    /// Numbers by size, the rest by its text.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            _ => match (self, other) {
                (Self::Tuple(one), Self::Tuple(two)) => {
                    (one.daddr, one.dport, one.saddr).cmp(&(two.daddr, two.dport, two.saddr))
                }
                (Self::Time(one, _), Self::Time(two, _)) => one.cmp(two),
                (Self::Target(one, _), Self::Target(two, _)) => one.cmp(two),
                (Self::Address(one), Self::Address(two)) => one.cmp(two),
                _ => self.text(usize::MAX).cmp(&other.text(usize::MAX)),
            },
        }
    }
}

/// All digits where there is room for them, and else thousands, millions, …: digits that are cut off read as another number.
fn count_in(count: u64, width: usize) -> String {
    let digits = count.to_string();
    if digits.len() <= width {
        return digits;
    }
    let units = [(1_000, 'k'), (1_000_000, 'M'), (1_000_000_000, 'G'), (1_000_000_000_000_u64, 'T')];
    let short = units.map(|(size, unit)| format!("{}{unit}", count / size));
    short.iter().find(|text| text.len() <= width).unwrap_or(&short[3]).clone()
}

fn with_others(to: &Target, others: usize, width: usize) -> String {
    let text = match to {
        Target::Tuple(key) => tuple(key, width),
        served => target(served, width),
    };
    let more = format!(" +{others}");
    if others == 0 || text.len() + more.len() > width { text } else { text + &more }
}

/// `10.0.0.9:80`; `10.0.0.9:*` where any port would have done.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    match (address, port) {
        (IpAddr::V4(address), 0) => format!("{address}:*"),
        (IpAddr::V6(address), 0) => format!("[{address}]:*"),
        (address, port) => std::net::SocketAddr::new(address, port).to_string(),
    }
}

fn connection(conn: &Conn, width: usize) -> String {
    let Conn { saddr, daddr, sport, dport, .. } = *conn;
    // bind() has no remote end.
    if dport == 0 {
        return end(saddr, sport);
    }
    let both = format!("{} > {}", end(saddr, sport), end(daddr, dport));
    if both.len() <= width { both } else { tuple(&TupleKey::from(conn), width) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_without_room_is_never_another_number() {
        for (value, width, want) in [
            (Value::Count(999_999), 6, "999999"),
            (Value::Count(1_000_000), 6, "1000k"),
            (Value::Count(123_456_789), 8, "123456k"),
            (Value::Count(123_456_789), 6, "123M"),
            (Value::Count(u64::MAX), 8, "18446744T"),
            (Value::Times(99_999), 6, "×99999"),
            (Value::Times(100_000), 6, "×100k"),
            (Value::Times(1_000_000), 6, "×1000k"),
        ] {
            assert_eq!(value.text(width), want);
        }
    }
}
