//! Owns: a distribution in few bytes: counts in buckets that are a quarter of a power of two wide.
//! Must not know: what is measured.
//!
//! Only buckets that hold something take room, 4 bytes each. Values below 8 are exact; above, a value read back is at
//! most 12.5 % off. Not done with hdrhistogram: at two digits that takes 10 KB a row before the first value.

/// Bits below the leading one that tell buckets apart.
const SUB_BITS: u32 = 2;
const SUBS: u64 = 1 << SUB_BITS;
/// Bits of a count; the bucket has the others.
const COUNT_BITS: u32 = 24;
const MOST: u32 = (1 << COUNT_BITS) - 1;
/// Rows are many and most know few values, so room grows in small steps.
const STEP: usize = 4;

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Bucket and count in one number, by bucket. Counts are relative: see [`Sketch::add`].
    buckets: Vec<u32>,
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

fn split(packed: u32) -> (u8, u32) {
    ((packed >> COUNT_BITS) as u8, packed & MOST)
}

impl Sketch {
    /// When a count is full, after 16 million values, all are halved: shares stay, and new values weigh more.
    pub(super) fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        match self.buckets.binary_search_by_key(&bucket, |packed| split(*packed).0) {
            Ok(place) => {
                self.buckets[place] += 1;
                if split(self.buckets[place]).1 == MOST {
                    self.halve();
                }
            }
            Err(place) => {
                if self.buckets.len() == self.buckets.capacity() {
                    self.buckets.reserve_exact(STEP);
                }
                self.buckets.insert(place, u32::from(bucket) << COUNT_BITS | 1);
            }
        }
    }

    fn halve(&mut self) {
        for packed in &mut self.buckets {
            let (bucket, count) = split(*packed);
            *packed = u32::from(bucket) << COUNT_BITS | count.div_ceil(2);
        }
    }

    fn weight(&self) -> u64 {
        self.buckets.iter().map(|packed| u64::from(split(*packed).1)).sum()
    }

    /// `None` where there are no values.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let total = self.weight();
        let ranks = [total.div_ceil(2), (total * 9).div_ceil(10), (total * 99).div_ceil(100)];
        let (mut found, mut next, mut seen) = ([0; 3], 0, 0);
        for packed in &self.buckets {
            let (at, count) = split(*packed);
            seen += u64::from(count);
            while next < ranks.len() && seen >= ranks[next] {
                // The middle of the bucket.
                let (low, width) = range(at);
                found[next] = low + (width - 1) / 2;
                next += 1;
            }
        }
        let [p50, p90, p99] = found;
        (total != 0).then_some(Percentiles { p50, p90, p99 })
    }

    /// Every bucket that holds something, in order: its first value, the first value after it, its weight.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u32)> {
        self.buckets.iter().map(|packed| {
            let (at, count) = split(*packed);
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
        assert_eq!(sketch.percentiles(), None);
        (1..=101).rev().for_each(|value| sketch.add(value));
        let got = sketch.percentiles().unwrap();
        // Rank 51 lies in 48..=55, rank 91 in 80..=95, rank 100 in 96..=111.
        assert_eq!(got, Percentiles { p50: 51, p90: 87, p99: 103 });
        let all: Vec<_> = sketch.buckets().collect();
        assert_eq!((all[0], all[all.len() - 1]), ((1, 2, 1), (96, 112, 6)));
    }

    #[test]
    fn a_value_read_back_is_close() {
        for value in [0, 1, 7, 8, 9, 15, 16, 17, 1009, 5_000, 65_537, 1 << 40, u64::MAX] {
            let mut sketch = Sketch::default();
            sketch.add(value);
            let got = sketch.percentiles().unwrap().p50;
            assert!(got.abs_diff(value) as f64 <= value as f64 * 0.125, "{value} came back as {got}");
        }
    }

    #[test]
    fn a_full_count_halves_all() {
        let buckets = vec![7 << COUNT_BITS | 3, 9 << COUNT_BITS | (MOST - 1)];
        let mut sketch = Sketch { buckets };
        sketch.add(range(9).0);
        assert_eq!(sketch.buckets, [7 << COUNT_BITS | 2, 9 << COUNT_BITS | 1 << (COUNT_BITS - 1)]);
    }
}
