//! Owns: ways into network namespaces, as they were when all processes were last looked at for them.
//! Must not know: what is asked inside one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::host::net::netns::{Netns, discover};

/// Processes are looked at for a way that is not known so long after the last time, at the earliest.
const PAUSE: Duration = Duration::from_secs(1);
/// And for one that there was none of so long after that: what happened in a namespace that is gone is asked after for as long as a trace goes on.
const GONE: Duration = Duration::from_secs(30);

/// See the head of the file. A way may lead nowhere by the time it is taken, which whoever takes it is told.
#[derive(Debug, Default)]
pub(super) struct Ways {
    looked: Option<Instant>,
    known: HashMap<u32, Netns>,
    /// There was none to these, then.
    none: HashMap<u32, Instant>,
}

impl Ways {
    /// Takes all that there are.
    pub(super) fn set(&mut self, all: &[Netns]) {
        self.looked = Some(Instant::now());
        self.known = all.iter().map(|netns| (netns.inode, netns.clone())).collect();
        self.none.retain(|_, at| at.elapsed() < GONE);
    }

    /// Looks for all that there are.
    pub(super) fn look(&mut self) {
        self.set(&discover());
    }

    /// The one into a namespace, if there is one.
    pub(super) fn to(&mut self, inode: u32) -> Option<Netns> {
        let is_older = |at: Option<&Instant>, than: Duration| at.is_none_or(|at| at.elapsed() >= than);
        if !self.known.contains_key(&inode)
            && is_older(self.looked.as_ref(), PAUSE)
            && is_older(self.none.get(&inode), GONE)
        {
            self.look();
            if !self.known.contains_key(&inode) {
                self.none.insert(inode, Instant::now());
            }
        }
        self.known.get(&inode).cloned()
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
    fn processes_are_looked_at_for_a_way_that_is_not_known_and_seldom_for_one_that_there_is_none_of() {
        let own = Netns::own().unwrap().inode;
        let mut ways = Ways::default();
        assert_eq!(ways.to(own).map(|netns| netns.inode), Some(own));
        let first = ways.looked;
        // No namespace has this inode.
        assert_eq!((ways.to(1), ways.looked), (None, first), "not so soon");
        ways.looked = ways.looked.map(|at| at - PAUSE);
        let first = ways.looked;
        assert!(ways.to(own).is_some() && ways.looked == first, "it is known, however old");
        assert!(ways.to(1).is_none() && ways.looked > first);
        ways.looked = ways.looked.map(|at| at - PAUSE);
        let second = ways.looked;
        assert_eq!((ways.to(1), ways.looked), (None, second));
        ways.lose(own);
        assert!(ways.to(own).is_some() && ways.looked > second);
    }
}
