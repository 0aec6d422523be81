//! Owns: taking entries out of the map of closing sockets that the kernel side will not take out any more.
//! Must not know: what they are used for.
//!
//! An entry goes at the transition to CLOSE. The kernel skips a run of that hook when it interrupts another run of it on the same
//! CPU (6.1 and later); then the entry stays, and enough of them would fill the map. One whose TIME_WAIT socket was born lives for
//! microseconds: seen unchanged in two looks a second apart, it was left behind.

use aya::maps::{HashMap, MapData};
use twtrace_common::owner::{BORN, Owner};

/// Entries taken out in one look: bounds how long it takes.
const MOST: usize = 8_192;

/// An entry as it lies in the map.
type Words = [u64; size_of::<Owner>() / 8];

/// Looks after the map of closing sockets.
pub(super) struct Sweeper {
    owners: HashMap<MapData, u64, Words>,
    suspects: Vec<(u64, Words)>,
    /// Skipped runs when it was last looked at.
    skipped: u64,
}

impl Sweeper {
    pub(super) fn new(owners: HashMap<MapData, u64, Words>) -> Self {
        Self { owners, suspects: Vec::new(), skipped: 0 }
    }

    /// To be called about once a second. Looks only when `skipped`, the runs that the kernel skipped so far, has grown: each
    /// look is two system calls an entry. Says how many entries it took out.
    pub(super) fn sweep(&mut self, skipped: u64) -> usize {
        let mut taken = 0;
        let suspects = std::mem::take(&mut self.suspects);
        let more = suspects.len() == MOST;
        for (key, before) in suspects {
            if self.owners.get(&key, 0).is_ok_and(|now| now == before) && self.owners.remove(&key).is_ok() {
                taken += 1;
            }
        }
        if skipped > self.skipped || more {
            self.skipped = skipped;
            let born = |(_, words): &(u64, Words)| marks(words) & BORN != 0;
            self.suspects = self.owners.iter().filter_map(Result::ok).filter(born).take(MOST).collect();
        }
        taken
    }
}

fn marks(words: &Words) -> u8 {
    let bytes = words.map(u64::to_ne_bytes);
    twtrace_common::from_bytes::<Owner>(bytes.as_flattened()).map_or(0, |owner| owner.marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_the_words() {
        let zero = [0u8; size_of::<Owner>()];
        let mut owner: Owner = twtrace_common::from_bytes(&zero).expect("the length is right");
        owner.marks = BORN;
        owner.via = 7;
        owner.opener_pid = 0xffff_ffff;
        let bytes = twtrace_common::bytes_of(&owner);
        let words = std::array::from_fn(|i| u64::from_ne_bytes(std::array::from_fn(|j| bytes[i * 8 + j])));
        assert_eq!(marks(&words), BORN);
        assert_eq!(marks(&[0; size_of::<Owner>() / 8]), 0);
    }
}
