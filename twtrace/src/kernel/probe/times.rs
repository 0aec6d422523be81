//! Owns: the kernel side's counts of how long connect() looked for a port.
//! Must not know: who asks for them, what they mean.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData};
use aya::{Ebpf, EbpfLoader};

use crate::engine::Spread;

/// Connects under way at one time, and network namespaces times durations that are told apart.
const ENTRIES: u32 = 10_240;
/// The map with the counts, and that of connects under way.
const COUNTS: &str = "CONNECT_TIMES";
const UNDER_WAY: &str = "CONNECTING";

/// Makes room for them in an object that is to be loaded.
pub(super) fn fit(loader: &mut EbpfLoader<'_>) {
    loader.map_max_entries(COUNTS, ENTRIES).map_max_entries(UNDER_WAY, ENTRIES);
}

/// Network namespace and bucket, one after the other.
type Key = [u32; 2];

/// See the head of the file.
pub(super) struct Times(HashMap<MapData, Key, u64>);

impl Times {
    /// Those of an object that is loaded.
    pub(super) fn of(ebpf: &mut Ebpf) -> Option<Self> {
        Some(Self(HashMap::try_from(ebpf.take_map(COUNTS)?).ok()?))
    }

    /// All since the start, in microseconds. What cannot be read is left out.
    pub(super) fn read(&self) -> Vec<(u32, Spread)> {
        let mut all: BTreeMap<u32, Spread> = BTreeMap::new();
        for ([netns, bucket], count) in self.0.iter().flatten() {
            // Buckets of 64 bits fit.
            let Ok(bucket) = u8::try_from(bucket) else { continue };
            all.entry(netns).or_default().count(bucket, u32::try_from(count).unwrap_or(u32::MAX));
        }
        all.into_iter().collect()
    }
}
