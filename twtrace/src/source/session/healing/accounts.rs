//! Owns: how the births that the kernel has counted in each network namespace compare with those that were told.
//! Must not know: how the books are read, when.

use std::collections::{HashMap, HashSet};

/// How a namespace's books compare with what was told.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// What the kernel had counted before we did: at most so much.
    base: u64,
    /// Births that nobody told: at least so many.
    missed: u64,
    /// The kernel's count when last read.
    births: u64,
}

/// The namespaces' accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    open: HashMap<u32, Account>,
    /// What was missed in namespaces that are gone.
    closed_missed: u64,
}

impl Accounts {
    /// Takes in a namespace's count of births, of which `before` were told when it was asked for, and `now` by now.
    pub(super) fn enter(&mut self, netns: u32, births: u64, before: u64, now: u64) {
        let base = births.saturating_sub(before);
        let account = self.open.entry(netns).or_insert(Account { base, missed: 0, births });
        // Another namespace has its inode now.
        if births < account.births {
            *account = Account { base, missed: account.missed, births };
        }
        account.births = births;
        account.base = account.base.min(base.saturating_sub(account.missed));
        account.missed = account.missed.max(births.saturating_sub(now).saturating_sub(account.base));
    }

    /// Closes the accounts of all other namespaces: there may be no end of new ones.
    pub(super) fn keep(&mut self, netns: &HashSet<u32>) {
        let closed = &mut self.closed_missed;
        self.open.retain(|inode, account| {
            let stays = netns.contains(inode);
            *closed += if stays { 0 } else { account.missed };
            stays
        });
    }

    /// Births that nobody told, of which only the kernel's counters know: at least so many.
    pub(super) fn missed(&self) -> u64 {
        self.closed_missed + self.open.values().map(|account| account.missed).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_in_a_namespace_that_is_gone_stays_missed() {
        let mut accounts = Accounts::default();
        accounts.enter(7, 100, 0, 0);
        accounts.enter(7, 113, 0, 0);
        accounts.enter(8, 5, 0, 0);
        accounts.enter(8, 7, 0, 0);
        assert_eq!(accounts.missed(), 15);
        accounts.keep(&[8].into());
        assert_eq!((accounts.missed(), accounts.open.len()), (15, 1));
        // Another one has the inode of the first now.
        accounts.enter(7, 3, 0, 0);
        assert_eq!(accounts.missed(), 15);
    }
}
