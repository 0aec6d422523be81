//! Owns: a distribution in few bytes that can be added to another one: counts in the tracker's buckets.
//! Must not know: what is measured.
//!
//! Not the tracker's own sketch: that halves its counts when one is full, which is right for a view of the present and wrong for sums
//! over a recording of weeks.

use crate::tracker::{Percentiles, bucket, range};

/// A distribution. Values below 8 are exact; above, a value read back is at most 12.5 % off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::report) struct Spread {
    /// Bucket and count, by bucket.
    buckets: Vec<(u8, u32)>,
    /// Place of the bucket that was added to last: the next value is mostly like the one before.
    last: u8,
}

impl Spread {
    pub(in crate::report) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        if let Some((at, count)) = self.buckets.get_mut(usize::from(self.last))
            && *at == bucket
        {
            *count = count.saturating_add(1);
            return;
        }
        self.put(bucket, 1);
    }

    fn put(&mut self, bucket: u8, more: u32) {
        let place = match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(place) => {
                let count = &mut self.buckets[place].1;
                *count = count.saturating_add(more);
                place
            }
            Err(place) => {
                self.buckets.insert(place, (bucket, more));
                place
            }
        };
        // There are 256 buckets at most.
        self.last = place as u8;
    }

    /// Adds all values of another one.
    pub(in crate::report) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.put(*bucket, *count);
        }
    }

    /// `None` where there are no values.
    pub(in crate::report) fn percentiles(&self) -> Option<Percentiles> {
        let total: u64 = self.buckets.iter().map(|(_, count)| u64::from(*count)).sum();
        (total != 0).then(|| Percentiles {
            p50: self.at_rank(total.div_ceil(2)),
            p90: self.at_rank((total * 9).div_ceil(10)),
            p99: self.at_rank((total * 99).div_ceil(100)),
        })
    }

    /// The middle of the bucket of the value with this rank, 1 being the smallest.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for (at, count) in &self.buckets {
            seen += u64::from(*count);
            if seen >= rank {
                let (low, width) = range(*at);
                return low + (width - 1) / 2;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::Tracker;

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut parts) = (Spread::default(), [Spread::default(), Spread::default()]);
        for value in (1..=1009_u64).rev() {
            whole.add(value * 7);
            parts[usize::from(value % 3 == 0)].add(value * 7);
        }
        let mut sum = Spread::default();
        parts.iter().for_each(|part| sum.merge(part));
        assert_eq!((sum.percentiles(), &sum.buckets), (whole.percentiles(), &whole.buckets));
        let Percentiles { p50, p90, p99 } = whole.percentiles().unwrap();
        for (got, rank) in [(p50, 505_u64), (p90, 909), (p99, 999)] {
            assert!(got.abs_diff(rank * 7) * 8 <= rank * 7, "{got} for rank {rank}");
        }
        assert_eq!(Spread::default().percentiles(), None);
    }

    #[test]
    fn percentiles_are_those_of_the_live_view() {
        use crate::event::{Conn, Event, Kind};
        let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let (mut world, mut spread) = (Tracker::new(), Spread::default());
        for n in 0..997_u64 {
            let conn = Conn { netns: 1, ifindex: 0, saddr: here, daddr: here, sport: n as u16, dport: 80 };
            let mut event = Event::new(Kind::Created, 1 + n, Some(conn));
            event.bytes_sent = Some(n * n);
            world.apply(&mut event);
            spread.add(n * n);
        }
        assert_eq!(spread.percentiles(), world.snapshot(&[]).total.sent);
    }
}
