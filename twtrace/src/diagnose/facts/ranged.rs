//! Owns: the range of ports that sockets have of their own (IP_LOCAL_PORT_RANGE), as far as it was looked at.
//! Must not know: where it was looked at, what it means.

use serde::Serialize;

use super::Settings;
use crate::engine::failures::Calls;

/// What was seen of the sockets whose calls failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ranged {
    /// Calls of sockets that were looked at.
    pub looked: u64,
    /// Of those, of sockets that have a range of their own.
    pub calls: u64,
    /// The lowest port of the range that most of these have; 0 where that end is the namespace's.
    pub low: u16,
    /// The highest, likewise.
    pub high: u16,
}

impl Ranged {
    /// Of calls of several kinds together.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Calls>) -> Self {
        let (mut sum, mut most) = (Self::default(), 0);
        for calls in all {
            (sum.looked, sum.calls) = (sum.looked + calls.looked, sum.calls + calls.ranged);
            if calls.ranged > most {
                most = calls.ranged;
                (sum.low, sum.high) = calls.range;
            }
        }
        sum
    }

    /// The ports that such a socket may have, both ends included: an end that is not within the namespace's range does not count
    /// (inet_sk_get_local_port_range(), net/ipv4/inet_connection_sock.c, 6.1 to 7.3). `None` where no socket has a
    /// range of its own.
    pub fn within(&self, settings: &Settings) -> Option<(u16, u16)> {
        if self.calls == 0 {
            return None;
        }
        let (low, high) = settings.port_range.unwrap_or((1, u16::MAX));
        let or = |own: u16, all: u16| if (low..=high).contains(&own) { own } else { all };
        Some((or(self.low, low), or(self.high, high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_out_of_the_namespaces_range_does_not_count() {
        let settings = Settings { port_range: Some((40_000, 49_999)), ..Settings::default() };
        let within = |low, high| Ranged { looked: 7, calls: 7, low, high }.within(&settings);
        assert_eq!(within(43_000, 43_010), Some((43_000, 43_010)));
        assert_eq!(within(0, 43_010), Some((40_000, 43_010)));
        assert_eq!(within(43_000, 0), Some((43_000, 49_999)));
        assert_eq!(within(1024, 2047), Some((40_000, 49_999)));
        assert_eq!(Ranged { looked: 7, ..Ranged::default() }.within(&settings), None);
        let unknown = Ranged { looked: 1, calls: 1, low: 7, high: 11 }.within(&Settings::default());
        assert_eq!(unknown, Some((7, 11)));
    }

    #[test]
    fn the_range_of_most_calls_is_told() {
        let calls = |looked, ranged, range| Calls { looked, ranged, range, ..Calls::default() };
        let all = [calls(3, 2, (11, 13)), calls(7, 5, (17, 19)), calls(23, 0, (0, 0))];
        assert_eq!(Ranged::of(all.iter()), Ranged { looked: 33, calls: 7, low: 17, high: 19 });
    }
}
