//! Owns: a distribution in few bytes that can be added to another one: counts in buckets that are a quarter of a power of two wide.
//! Must not know: what is measured.
//!
//! Only buckets that hold something take room. Values below 8 are exact; above, a value read back is at most 12.5 % off. Not done with
//! hdrhistogram: at two digits that takes 10 KB a row before the first value.

use serde::Serialize;
use smallvec::SmallVec;

/// Bits below the leading one that tell buckets apart.
const SUB_BITS: u32 = 2;
const SUBS: u64 = 1 << SUB_BITS;
/// Buckets there can be.
const BUCKETS: usize = 256;
/// Most know few values, so room grows in small steps.
const STEP: usize = 4;

/// Values that a given share of all lies at or below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
}

/// The bucket of a value.
fn bucket(value: u64) -> u8 {
    if value < SUBS {
        return value as u8;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) - SUBS;
    (u64::from(exponent - SUB_BITS + 1) * SUBS + sub) as u8
}

/// The first value of a bucket and how many there are.
fn range(bucket: u8) -> (u64, u64) {
    let (octave, sub) = (u64::from(bucket) / SUBS, u64::from(bucket) % SUBS);
    if octave == 0 {
        return (sub, 1);
    }
    ((SUBS + sub) << (octave - 1), 1 << (octave - 1))
}

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Bucket and count, by bucket. Two are where a list would say where it is: most values of a group are alike.
    buckets: SmallVec<[(u8, u32); 2]>,
    /// Place of the bucket that was added to last: the next value is mostly like the one before.
    last: u8,
}

impl Spread {
    #[inline]
    pub(crate) fn add(&mut self, value: u64) {
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
        let index = match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(index) => {
                let count = &mut self.buckets[index].1;
                *count = count.saturating_add(more);
                index
            }
            Err(index) => {
                if self.buckets.len() == self.buckets.capacity() {
                    self.buckets.reserve_exact(STEP);
                }
                self.buckets.insert(index, (bucket, more));
                index
            }
        };
        // There are 256 buckets at most.
        self.last = index as u8;
    }

    /// Adds so many values of a bucket: of the kernel side, which has the same.
    pub(crate) fn count(&mut self, bucket: u8, more: u32) {
        self.put(bucket, more);
    }

    /// Adds all values of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets.iter() {
            self.put(*bucket, *count);
        }
    }

    /// How many values there are.
    pub fn len(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// `None` where there are no values.
    pub fn percentiles(&self) -> Option<Percentiles> {
        percentiles(self.buckets.iter().map(|(at, count)| (*at, u64::from(*count))), self.len())
    }

    /// Every bucket that holds something, in order: its first value, the first value after it, how many values it has.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u32)> {
        self.buckets.iter().map(|(at, count)| {
            let (low, width) = range(*at);
            (low, low.saturating_add(width), *count)
        })
    }
}

/// Of all values of several distributions together; `None` where there are none.
pub(crate) fn percentiles_of<'a>(parts: impl Iterator<Item = &'a Spread> + Clone) -> Option<Percentiles> {
    let mut filled = parts.clone().filter(|part| !part.is_empty());
    let (first, second) = (filled.next()?, filled.next());
    if second.is_none() {
        return first.percentiles();
    }
    let mut sums = [0_u64; BUCKETS];
    for (at, count) in parts.flat_map(|part| &part.buckets) {
        sums[usize::from(*at)] += u64::from(*count);
    }
    percentiles((0..=u8::MAX).zip(sums), sums.iter().sum())
}

fn percentiles(buckets: impl Iterator<Item = (u8, u64)>, total: u64) -> Option<Percentiles> {
    let ranks = [total.div_ceil(2), (total * 9).div_ceil(10), (total * 99).div_ceil(100)];
    let (mut found, mut next, mut seen) = ([0; 3], 0, 0);
    for (at, count) in buckets {
        seen += count;
        while next < ranks.len() && seen >= ranks[next] && total != 0 {
            // The middle of the bucket.
            let (low, width) = range(at);
            found[next] = low + (width - 1) / 2;
            next += 1;
        }
    }
    let [p50, p90, p99] = found;
    (total != 0).then_some(Percentiles { p50, p90, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gap() {
        let mut next = 0;
        for at in 0..=bucket(u64::MAX) {
            let (low, width) = range(at);
            assert_eq!(low, next);
            assert_eq!((bucket(low), bucket(low + (width - 1))), (at, at));
            next = low.wrapping_add(width);
        }
        assert_eq!(next, 0, "the last bucket ends with the last value");
    }

    #[test]
    fn percentiles_of_known_values() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentiles(), None);
        (1..=101).rev().for_each(|value| spread.add(value));
        let got = spread.percentiles().unwrap();
        // Rank 51 lies in 48..=55, rank 91 in 80..=95, rank 100 in 96..=111.
        assert_eq!(got, Percentiles { p50: 51, p90: 87, p99: 103 });
        let all: Vec<_> = spread.buckets().collect();
        assert_eq!((all[0], all[all.len() - 1]), ((1, 2, 1), (96, 112, 6)));
    }

    #[test]
    fn a_value_read_back_is_close() {
        for value in [0, 1, 7, 8, 9, 15, 16, 17, 1009, 5_000, 65_537, 1 << 40, u64::MAX] {
            let mut spread = Spread::default();
            spread.add(value);
            let got = spread.percentiles().unwrap().p50;
            assert!(got.abs_diff(value) as f64 <= value as f64 * 0.125, "{value} came back as {got}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut parts) = (Spread::default(), [Spread::default(), Spread::default()]);
        for value in (1..=1009_u64).rev() {
            whole.add(value * 7);
            parts[usize::from(value % 3 == 0)].add(value * 7);
        }
        assert_eq!(percentiles_of(parts.iter()), whole.percentiles());
        assert_eq!(percentiles_of(parts[..1].iter()), parts[0].percentiles());
        let mut sum = Spread::default();
        parts.iter().for_each(|part| sum.merge(part));
        assert_eq!((sum.percentiles(), &sum.buckets), (whole.percentiles(), &whole.buckets));
        let Percentiles { p50, p90, p99 } = whole.percentiles().unwrap();
        for (got, rank) in [(p50, 505_u64), (p90, 909), (p99, 999)] {
            assert!(got.abs_diff(rank * 7) * 8 <= rank * 7, "{got} for rank {rank}");
        }
        assert_eq!(percentiles_of([Spread::default()].iter()), None);
    }
}
