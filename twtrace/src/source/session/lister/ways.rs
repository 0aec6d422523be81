//! Owns: ways into network namespaces, as they were when all processes were last looked at for them.
//! Must not know: what is asked inside one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::host::net::netns::{Netns, discover};

/// Processes are looked at for a way that is not known so long after the last time, at the earliest.
const PAUSE: Duration = Duration::from_secs(1);
/// And for those that there were none to so long after that: what happened in a namespace that is gone is asked after for as long as a trace goes
/// on.
const GONE: Duration = Duration::from_secs(10);

/// See the head of the file. A way may lead nowhere by the time it is taken, which whoever takes it is told.
#[derive(Debug, Default)]
pub(super) struct Ways {
    looked: Option<Instant>,
    known: HashMap<u32, Netns>,
    /// There were none to these, then.
    none: HashMap<u32, Instant>,
}

impl Ways {
    /// Takes all that there are.
    pub(super) fn set(&mut self, all: &[Netns]) {
        self.looked = Some(Instant::now());
        self.known = all.iter().map(|netns| (netns.inode, netns.clone())).collect();
        let Self { known, none, .. } = self;
        none.retain(|inode, at| !known.contains_key(inode) && at.elapsed() < GONE);
    }

    /// Those into these namespaces, as far as there are any.
    pub(super) fn to(&mut self, inodes: &[u32]) -> Vec<Netns> {
        let is_older = |at: Option<&Instant>, than: Duration| at.is_none_or(|at| at.elapsed() >= than);
        let is_wanted = |inode: &u32| !self.known.contains_key(inode) && is_older(self.none.get(inode), GONE);
        if is_older(self.looked.as_ref(), PAUSE) && inodes.iter().any(is_wanted) {
            return self.anew(inodes);
        }
        self.known_of(inodes)
    }

    /// The same, looked for however short ago that was done.
    pub(super) fn anew(&mut self, inodes: &[u32]) -> Vec<Netns> {
        self.set(&discover());
        let now = Instant::now();
        let gone = inodes.iter().filter(|inode| !self.known.contains_key(inode));
        self.none.extend(gone.map(|inode| (*inode, now)));
        self.known_of(inodes)
    }

    fn known_of(&self, inodes: &[u32]) -> Vec<Netns> {
        inodes.iter().filter_map(|inode| self.known.get(inode).cloned()).collect()
    }

    /// It led nowhere: another one is looked for.
    pub(super) fn lose(&mut self, inode: u32) {
        self.known.remove(&inode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_looked_at_for_a_way_that_is_not_known_and_seldom_for_those_that_there_are_none_of() {
        let own = Netns::own().unwrap().inode;
        let mut ways = Ways::default();
        let found = |ways: Vec<Netns>| ways.iter().map(|netns| netns.inode).collect::<Vec<_>>();
        assert_eq!(found(ways.to(&[own])), [own]);
        let first = ways.looked;
        // No namespace has one of these inodes.
        assert_eq!((found(ways.to(&[1, 2])), ways.looked), (vec![], first), "not so soon");
        ways.looked = ways.looked.map(|at| at - PAUSE);
        let first = ways.looked;
        assert_eq!((found(ways.to(&[own])), ways.looked), (vec![own], first), "it is known, however old");
        assert_eq!(found(ways.to(&[1, own, 2])), [own]);
        assert!(ways.looked > first);
        ways.looked = ways.looked.map(|at| at - PAUSE);
        let second = ways.looked;
        assert_eq!((found(ways.to(&[1, 2])), ways.looked), (vec![], second), "neither of them");
        ways.lose(own);
        assert_eq!(found(ways.to(&[own])), [own]);
        assert!(ways.looked > second && !ways.none.contains_key(&own));
    }
}
