//! Owns: what values on the command line mean, with errors that name them.
//! Must not know: which flag they belong to.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::model::escape::printable;

/// What stands for stdin, and for stdout.
pub(super) const STREAM: &str = "-";

/// Wrong usage that only shows once the command line is parsed as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

impl Usage {
    /// Of a file that an option names and that cannot be used: `why` says which it is.
    pub(super) fn of_file(why: std::io::Error) -> Self {
        Self(why.to_string())
    }
}

/// The words of an enum: --help, errors and the completions of shells name them all.
pub(super) fn one_of<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let words = PossibleValuesParser::new(all.iter().map(|value| word(*value)));
    words.try_map(move |given| {
        let found = all.iter().copied().find(|value| word(*value) == given);
        found.ok_or_else(|| format!("'{}' is none of its values", printable(&given)))
    })
}

/// A hundred years. What is longer is a mistake, and no clock can tell its end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `1.5s`, `200ms`, `2m`, `1h`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{}' is not a duration such as 30s, 500ms, 2m or 1h", printable(text));
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let duration = Duration::try_from_secs_f64(number * scale).ok().filter(|duration| *duration <= LONGEST);
    duration
        .ok_or_else(|| format!("'{}' is longer than a hundred years: give a shorter time", printable(text)))
}

/// The ring, and the kernel's timers, are looked at about this often: there is nothing new to see more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// A duration between two looks.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let too_short =
        || format!("'{}' is too short a time between two looks: give 100ms or more", printable(text));
    duration(text)?.checked_sub(SHORTEST).map(|more| SHORTEST + more).ok_or_else(too_short)
}

/// The first flag that was given.
pub(super) fn first_given(flags: &[(bool, &'static str)]) -> Option<&'static str> {
    flags.iter().find(|(is_given, _)| *is_given).map(|(_, flag)| *flag)
}

/// What a text stands for; `why` says what is wanted instead of what is none.
fn parsed<T: FromStr>(text: &str, why: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{}' {why}", printable(text)))
}

/// A whole number.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    parsed(text, "is not a number such as 20")
}

/// A whole number of which there must be one at least.
pub(super) fn from_one<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| format!("'{}' is not a number from 1 on", printable(text)))
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    parsed(text, "is not a port between 0 and 65535; several are a list, such as 80,443")
}

/// The id of a process.
pub(super) fn pid(text: &str) -> Result<u32, String> {
    parsed(text, "is not a process id such as 1234; names go with --comm")
}

/// The id of a user.
pub(super) fn uid(text: &str) -> Result<u32, String> {
    parsed(text, "is not a user id such as 1000; `id -u NAME` tells that of a name")
}

/// Where to listen.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    parsed(
        text,
        "is not an address with a port, such as 127.0.0.1:9478 or [::1]:9478; names are not looked up",
    )
}

/// `64K`, `8M`, `1G`, or a number of bytes; a power of two of at least a page is made of it by rounding up.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    let wrong = || format!("'{}' is not a ring size between 4K and 1G, such as 8M", printable(text));
    let bytes = bytes(text).filter(|bytes| (4096..=1 << 30).contains(bytes)).ok_or_else(wrong)?;
    u32::try_from(bytes).ok().and_then(u32::checked_next_power_of_two).ok_or_else(wrong)
}

/// `64K`, `8M`, `1G`, or a number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| format!("'{}' is not a size such as 64M", printable(text)))
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let (number, scale) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "K" | "k")) => (number, 1_u64 << 10),
        Some((number, "M" | "m")) => (number, 1 << 20),
        Some((number, "G" | "g")) => (number, 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A network, or an address that stands for itself.
pub(super) fn cidr(text: &str) -> Result<ipnet::IpNet, String> {
    let wrong = || {
        format!("'{}' is not a network such as 10.0.0.0/8 or 2001:db8::/32, nor an address", printable(text))
    };
    if let Ok(net) = text.parse::<ipnet::IpNet>() {
        return Ok(net.trunc());
    }
    text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("36500d"), Ok(LONGEST));
        for bad in ["", "s", "-1s", "1y", "1.2.3s", "1e400s"] {
            assert!(duration(bad).unwrap_err().contains("is not a duration"), "{bad}");
        }
        for long in ["36501d", "9".repeat(40).as_str()] {
            assert!(duration(long).unwrap_err().contains("is longer than a hundred years"), "{long}");
        }
        assert_eq!((interval("100ms"), interval("2s")), (Ok(SHORTEST), Ok(Duration::from_secs(2))));
        assert!(interval("99ms").unwrap_err().contains("99ms") && interval("x").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!((from_one("1"), from_one("4294967295")), (Ok(1_u32), Ok(u32::MAX)));
        for bad in ["0", "-1", "", "4294967296", "x"] {
            assert!(from_one::<u32>(bad).unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!((number("0"), port("65535"), pid("7"), uid("0")), (Ok(0_usize), Ok(65_535), Ok(7), Ok(0)));
        for bad in ["80-90", "-1", "65536", "http"] {
            assert!(port(bad).unwrap_err().contains("80,443"), "{bad}");
        }
        assert_eq!(listen("[::1]:9478").map(|at| at.port()), Ok(9478));
    }

    #[test]
    fn ring_sizes_are_powers_of_two() {
        assert_eq!(ring_size("64K"), Ok(65_536));
        assert_eq!(ring_size("8M"), Ok(8 << 20));
        assert_eq!(ring_size("5000"), Ok(8192));
        for bad in ["", "0", "4095", "2G", "K", "1T", "-4K"] {
            assert!(ring_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!((size("64M"), size("7"), size("1G")), (Ok(64 << 20), Ok(7), Ok(1 << 30)));
        assert_eq!((size("64MB"), size("7b"), size("1gB")), (Ok(64 << 20), Ok(7), Ok(1 << 30)));
        for bad in ["", "M", "B", "7BB", "-1", "1T", "99999999999G"] {
            assert!(size(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(cidr("10.1.2.3/8").map(|net| net.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(cidr("::1").map(|net| net.to_string()), Ok("::1/128".to_owned()));
        for bad in ["10.0.0.0/33", "ten", "", "1.2.3", "::/129"] {
            assert!(cidr(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
