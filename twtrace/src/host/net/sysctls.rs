//! Owns: reading the settings of a network namespace.
//! Must not know: what they mean.

use std::fs::File;
use std::io::{self, Read};

use super::Error;
use super::netns::Netns;
use crate::model::settings::{Settings, usable};

/// /proc/sys shows the settings of the network namespace of the thread that opens the file (net_ctl_header_lookup(),
/// net/sysctl_net.c, 5.10 to 7.3).
const DIR: &str = "/proc/sys/net/ipv4";

/// Enough for what settings mostly say, and for every second port from 0 to 65535 as `ip_local_reserved_ports` prints them.
const LENGTHS: [usize; 2] = [512, 256 * 1024];

/// The settings of `ns`.
///
/// # Errors
/// Those of [`Netns::within`]; [`Error::Io`] or [`Error::Malformed`] if a file cannot be read.
pub fn read(ns: &Netns) -> Result<Settings, Error> {
    ns.within(|| read_with(read_whole))?
}

fn read_with(read: impl Fn(&str) -> io::Result<String>) -> Result<Settings, Error> {
    let text = |name: &str| {
        let path = format!("{DIR}/{name}");
        read(&path).map_err(Error::io(path))
    };
    let number = |name: &str| text(name).and_then(|text| parsed(name, &text, text.trim().parse().ok()));
    let (range, reserved) = ("ip_local_port_range", "ip_local_reserved_ports");
    let port_range = text(range).and_then(|text| parsed(range, &text, port_range(&text)))?;
    let reserved = text(reserved).and_then(|text| parsed(reserved, &text, port_list(&text)))?;
    Ok(Settings {
        ports: Some(usable(port_range, &reserved)),
        port_range: Some(port_range),
        reserved,
        tw_reuse: Some(number("tcp_tw_reuse")?),
        tw_reuse_delay_ms: match number("tcp_tw_reuse_delay") {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            result => Some(result?),
        },
        max_tw_buckets: Some(number("tcp_max_tw_buckets")?),
        timestamps: Some(number("tcp_timestamps")?),
        rfc1337: Some(number("tcp_rfc1337")?),
        fin_timeout_s: Some(number("tcp_fin_timeout")?),
        ..Settings::default()
    })
}

fn parsed<T>(name: &str, text: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::malformed(format!("{DIR}/{name}"), format!("it reads {text:?}")))
}

/// `ip_local_port_range` of the calling thread's namespace.
pub(super) fn port_range_here() -> Option<(u16, u16)> {
    read_with(read_whole).ok()?.port_range
}

/// Reads a setting in one go: the kernel answers only the first read() of a list of ports, and cuts the answer to
/// what that read() asked for (proc_do_large_bitmap(), kernel/sysctl.c, 5.10 to 7.3). `read_to_string` starts with 32
/// bytes.
fn read_whole(path: &str) -> io::Result<String> {
    let mut answer = Vec::new();
    for most in LENGTHS {
        answer = first_read(&mut File::open(path)?, most)?;
        if answer.len() < most {
            break;
        }
    }
    String::from_utf8(answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What one read() of at most so many bytes says.
fn first_read(from: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let length = loop {
        match from.read(&mut buffer) {
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// `32768\t60999`
fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_ascii_whitespace();
    let (low, high) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (low <= high && words.next().is_none()).then_some((low, high))
}

/// `8080,9148-9150`, or nothing.
fn port_list(text: &str) -> Option<Vec<(u16, u16)>> {
    let text = text.trim();
    let mut ranges = Vec::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let (low, high): (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
        // Sorted and apart, or ports would be taken away twice.
        let apart = ranges.last().is_none_or(|&(_, before)| low > before);
        if low > high || !apart {
            return None;
        }
        ranges.push((low, high));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(range: &str, reserved: &str, delay: Option<&str>) -> Result<Settings, Error> {
        read_with(|path| {
            Ok(match path.strip_prefix("/proc/sys/net/ipv4/").unwrap() {
                "ip_local_port_range" => range.into(),
                "ip_local_reserved_ports" => reserved.into(),
                "tcp_tw_reuse" => "2\n".into(),
                "tcp_tw_reuse_delay" => return delay.map(Into::into).ok_or(io::ErrorKind::NotFound.into()),
                "tcp_max_tw_buckets" => "65537\n".into(),
                "tcp_timestamps" => "1\n".into(),
                "tcp_rfc1337" => "0\n".into(),
                "tcp_fin_timeout" => "61\n".into(),
                other => panic!("{other}"),
            })
        })
    }

    #[test]
    fn each_setting_comes_from_its_file() {
        let want = Settings {
            port_range: Some((32_768, 60_999)),
            reserved: vec![(8080, 8080), (40_009, 40_013)],
            ports: Some(28_227),
            tw_reuse: Some(2),
            tw_reuse_delay_ms: Some(1000),
            max_tw_buckets: Some(65_537),
            timestamps: Some(1),
            rfc1337: Some(0),
            fin_timeout_s: Some(61),
            ..Settings::default()
        };
        assert_eq!(with("32768\t60999\n", "8080,40009-40013\n", Some("1000\n")).unwrap(), want);
        let older = with("32768\t60999\n", "8080,40009-40013\n", None).unwrap();
        assert_eq!(older, Settings { tw_reuse_delay_ms: None, ..want });
    }

    #[test]
    fn a_setting_of_another_form_is_named() {
        for (range, reserved, name) in [
            ("32768\n", "\n", "ip_local_port_range"),
            ("60999\t32768\n", "\n", "ip_local_port_range"),
            ("1\t65536\n", "\n", "ip_local_port_range"),
            ("1\t2\t3\n", "\n", "ip_local_port_range"),
            ("1\t2\n", "7,\n", "ip_local_reserved_ports"),
            ("1\t2\n", "9-7\n", "ip_local_reserved_ports"),
            ("1\t2\n", "5-9,9\n", "ip_local_reserved_ports"),
        ] {
            let text = with(range, reserved, None).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn what_is_longer_than_most_settings_is_read_whole() {
        for length in [0, 7, LENGTHS[0] - 1, LENGTHS[0], LENGTHS[0] + 1, 262_139] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), "7".repeat(length)).unwrap();
            assert_eq!(read_whole(file.path().to_str().unwrap()).unwrap().len(), length);
        }
    }

    #[test]
    fn own_settings_can_be_read_without_privilege() {
        let own = read(&Netns::own().unwrap()).unwrap();
        assert!(own.ports.is_some_and(|ports| ports <= 65_536));
        assert!(own.max_tw_buckets.is_some_and(|most| most > 0));
    }
}
