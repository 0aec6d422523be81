//! Owns: the settings of a network namespace that decide how many ports there are and how TIME_WAIT behaves
//! (Documentation/networking/ip-sysctl.rst).
//! Must not know: what would be better settings.

use std::fs::File;
use std::io::{self, Read};

use super::Error;
use super::netns::Netns;

/// /proc/sys shows the settings of the network namespace of the thread that opens the file (`net_ctl_header_lookup`,
/// net/sysctl_net.c).
const DIR: &str = "/proc/sys/net/ipv4";

/// Enough for every second port from 0 to 65535 as `ip_local_reserved_ports` prints them.
const LARGEST: usize = 256 * 1024;

/// The settings of one network namespace. Those of ports govern IPv6 as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    /// First and last ephemeral port, both included.
    pub ip_local_port_range: (u16, u16),
    /// Ranges of ports that are never chosen, both ends included; sorted and apart.
    pub ip_local_reserved_ports: Vec<(u16, u16)>,
    /// 0: never, 1: reuse for outgoing connections, 2: for loopback only.
    pub tcp_tw_reuse: u32,
    /// Age in milliseconds from which on `tcp_tw_reuse` applies; `None` in a kernel that has 1 s fixed.
    pub tcp_tw_reuse_delay: Option<u32>,
    /// How many TIME_WAIT sockets there may be.
    pub tcp_max_tw_buckets: u32,
    /// 0: none, 1: with random offsets, 2: without.
    pub tcp_timestamps: u32,
    /// 1: an RST does not end a TIME_WAIT socket.
    pub tcp_rfc1337: u32,
    /// How long an orphan stays in FIN_WAIT2, in seconds. No say over TIME_WAIT.
    pub tcp_fin_timeout: u32,
}

impl Sysctls {
    /// The settings of `ns`.
    ///
    /// # Errors
    /// Those of [`Netns::within`]; [`Error::Io`] or [`Error::Malformed`] if a file cannot be read.
    pub fn read(ns: &Netns) -> Result<Self, Error> {
        ns.within(|| Self::read_with(read_whole))?
    }

    /// How many local ports the namespace allows to a connect() towards one destination: the range less what is
    /// reserved in it.
    pub fn capacity(&self) -> u32 {
        let (low, high) = self.ip_local_port_range;
        let width = |low: u16, high: u16| (u32::from(high) + 1).saturating_sub(u32::from(low));
        let reserved =
            self.ip_local_reserved_ports.iter().map(|&(from, to)| width(from.max(low), to.min(high)));
        width(low, high) - reserved.sum::<u32>()
    }

    fn read_with(read: impl Fn(&str) -> io::Result<String>) -> Result<Self, Error> {
        let text = |name: &str| {
            let path = format!("{DIR}/{name}");
            read(&path).map_err(Error::io(path))
        };
        let number = |name: &str| text(name).and_then(|text| parsed(name, &text, text.trim().parse().ok()));
        let (range, reserved) = ("ip_local_port_range", "ip_local_reserved_ports");
        let delay = "tcp_tw_reuse_delay";
        Ok(Self {
            ip_local_port_range: text(range).and_then(|text| parsed(range, &text, port_range(&text)))?,
            ip_local_reserved_ports: text(reserved)
                .and_then(|text| parsed(reserved, &text, port_list(&text)))?,
            tcp_tw_reuse: number("tcp_tw_reuse")?,
            tcp_tw_reuse_delay: match number(delay) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
                result => Some(result?),
            },
            tcp_max_tw_buckets: number("tcp_max_tw_buckets")?,
            tcp_timestamps: number("tcp_timestamps")?,
            tcp_rfc1337: number("tcp_rfc1337")?,
            tcp_fin_timeout: number("tcp_fin_timeout")?,
        })
    }
}

fn parsed<T>(name: &str, text: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::malformed(format!("{DIR}/{name}"), format!("it reads {text:?}")))
}

/// `ip_local_port_range` of the calling thread's namespace.
pub(super) fn port_range_here() -> Option<(u16, u16)> {
    Sysctls::read_with(read_whole).ok().map(|settings| settings.ip_local_port_range)
}

/// Reads a setting in one go: the kernel answers only the first read() of a list of ports, and cuts the answer to
/// what that read() asked for (`proc_do_large_bitmap`, kernel/sysctl.c). `read_to_string` starts with 32 bytes.
fn read_whole(path: &str) -> io::Result<String> {
    let mut buffer = vec![0; LARGEST];
    let mut file = File::open(path)?;
    let length = loop {
        match file.read(&mut buffer) {
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    buffer.truncate(length);
    String::from_utf8(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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

    fn with(range: &str, reserved: &str, delay: Option<&str>) -> Result<Sysctls, Error> {
        Sysctls::read_with(|path| {
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
        let want = Sysctls {
            ip_local_port_range: (32_768, 60_999),
            ip_local_reserved_ports: vec![(8080, 8080), (40_009, 40_013)],
            tcp_tw_reuse: 2,
            tcp_tw_reuse_delay: Some(1000),
            tcp_max_tw_buckets: 65_537,
            tcp_timestamps: 1,
            tcp_rfc1337: 0,
            tcp_fin_timeout: 61,
        };
        assert_eq!(with("32768\t60999\n", "8080,40009-40013\n", Some("1000\n")).unwrap(), want);
        let older = with("32768\t60999\n", "8080,40009-40013\n", None).unwrap();
        assert_eq!(older, Sysctls { tcp_tw_reuse_delay: None, ..want });
    }

    #[test]
    fn capacity_is_the_range_less_what_is_reserved_in_it() {
        for (range, reserved, want) in [
            ("32768\t60999\n", "\n", 28_232),
            ("32768\t60999\n", "8080,40009-40013\n", 28_227),
            ("40000\t40010\n", "39990-40001,40010-40999\n", 8),
            ("40000\t40010\n", "1-65535\n", 0),
            ("40007\t40007\n", "\n", 1),
            ("0\t65535\n", "0\n", 65_535),
            ("1\t65535\n", "", 65_535),
        ] {
            assert_eq!(with(range, reserved, None).unwrap().capacity(), want, "{range:?} {reserved:?}");
        }
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
    fn own_settings_can_be_read_without_privilege() {
        let own = Sysctls::read(&Netns::own().unwrap()).unwrap();
        assert!(own.capacity() <= 65_536);
        assert!(own.tcp_max_tw_buckets > 0);
    }
}
