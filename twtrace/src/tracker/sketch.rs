//! Owns: a distribution in few bytes: counts in buckets that are an eighth of a power of two wide.
//! Must not know: what is measured.
//!
//! Only buckets that hold something take room. Values below 16 are exact; above, a value read back is at most 6.25 % off, which is
//! enough to tell 4 ms from 5 ms. Not done with hdrhistogram: at two digits that takes 10 KB a row before the first
//! value, here it is none.

/// Bits below the leading one that tell buckets apart.
const SUB_BITS: u32 = 3;
const SUBS: u64 = 1 << SUB_BITS;

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Bucket and count, by bucket.
    buckets: Vec<(u16, u64)>,
}

/// Values that a given share of all lies at or below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
}

fn bucket(value: u64) -> u16 {
    if value < SUBS {
        return value as u16;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) - SUBS;
    (u64::from(exponent - SUB_BITS + 1) * SUBS + sub) as u16
}

/// The first value of a bucket and how many there are.
fn range(bucket: u16) -> (u64, u64) {
    let (octave, sub) = (u64::from(bucket) / SUBS, u64::from(bucket) % SUBS);
    if octave == 0 {
        return (sub, 1);
    }
    ((SUBS + sub) << (octave - 1), 1 << (octave - 1))
}

impl Sketch {
    pub(super) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(place) => self.buckets[place].1 += 1,
            Err(place) => self.buckets.insert(place, (bucket, 1)),
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// `None` where there are no values.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let total = self.count();
        (total != 0).then(|| Percentiles {
            p50: self.at_rank(total.div_ceil(2)),
            p90: self.at_rank((total * 9).div_ceil(10)),
            p99: self.at_rank((total * 99).div_ceil(100)),
        })
    }

    /// The middle of the bucket of the value with this rank, 1 being the smallest.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for &(at, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                let (low, width) = range(at);
                return low + (width - 1) / 2;
            }
        }
        0
    }

    /// Share of values below `bound`, between 0 and 1, to the nearest bucket; `None` where there are no values.
    pub fn share_below(&self, bound: u64) -> Option<f64> {
        let total = self.count();
        let below = self.buckets.iter().take_while(|(at, _)| range(*at).0 + range(*at).1 <= bound);
        (total != 0).then(|| below.map(|(_, count)| *count).sum::<u64>() as f64 / total as f64)
    }

    /// Every bucket that holds something, in order: its first value, the first value after it, its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.buckets.iter().map(|&(at, count)| {
            let (low, width) = range(at);
            (low, low.saturating_add(width), count)
        })
    }
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
        let mut sketch = Sketch::default();
        assert_eq!((sketch.percentiles(), sketch.share_below(7)), (None, None));
        (1..=101).for_each(|value| sketch.add(value));
        let got = sketch.percentiles().unwrap();
        // Rank 51 lies in 48..=51, rank 91 in 88..=95, rank 100 in 96..=103.
        assert_eq!(got, Percentiles { p50: 49, p90: 91, p99: 99 });
        assert_eq!(sketch.share_below(16), Some(15.0 / 101.0));
    }

    #[test]
    fn a_value_read_back_is_close() {
        for value in [0, 1, 15, 16, 17, 1009, 5_000, 65_537, 1 << 40, u64::MAX] {
            let mut sketch = Sketch::default();
            sketch.add(value);
            let got = sketch.percentiles().unwrap().p50;
            assert!(got.abs_diff(value) as f64 <= value as f64 * 0.0625, "{value} came back as {got}");
        }
    }
}
