//! Owns: by which number of 32 bits the kernel side knows a network namespace: its inode, or half of its cookie where a filter names
//! namespaces. An inode is used again as soon as its namespace is gone, a cookie is not; the kernel side reads one field of `struct net` either
//! way, and it costs the same.
//! Must not know: which namespaces are asked for, and why.

use std::collections::HashMap;

use twtrace_common::config::Config;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NetnsNumbers {
    /// Where the cookie is in `struct net`.
    offset: u32,
    /// Inodes by the lower halves of cookies, the upper ones of which are 0 until four billion namespaces were made; empty where inodes are what
    /// the kernel side knows.
    inodes: HashMap<u32, u32>,
}

impl NetnsNumbers {
    /// Of namespaces by inode and cookie, where the kernel has cookies at `offset`.
    pub(super) fn of(namespaces: &[(u32, u64)], offset: Option<u32>) -> Self {
        let Some(offset) = offset else { return Self::default() };
        // The lower half comes first: all that this runs on is little-endian.
        let half = |cookie: u64| cookie as u32;
        let inodes: HashMap<u32, u32> =
            namespaces.iter().map(|(inode, cookie)| (half(*cookie), *inode)).collect();
        let are_told_apart = inodes.len() == namespaces.len() && !inodes.contains_key(&0);
        if are_told_apart { Self { offset, inodes } } else { Self::default() }
    }

    /// Whether they tell the namespaces from all later ones.
    pub(super) fn are_cookies(&self) -> bool {
        !self.inodes.is_empty()
    }

    /// The number of the namespace with an inode; `None` where only others have one.
    pub(super) fn number(&self, inode: u32) -> Option<u32> {
        if !self.are_cookies() {
            return Some(inode);
        }
        self.inodes.iter().find(|(_, known)| **known == inode).map(|(number, _)| *number)
    }

    /// The inode of the namespace with a number; `None` of one that is not asked for.
    pub(super) fn inode(&self, number: u32) -> Option<u32> {
        if self.are_cookies() { self.inodes.get(&number).copied() } else { Some(number) }
    }

    /// Makes the kernel side know namespaces by them, and filter by them where it does.
    pub(super) fn fill(&self, config: &mut Config) {
        if !self.are_cookies() {
            return;
        }
        config.offsets.net_inum = self.offset;
        let count = config.filter.n_netns.wanted();
        for netns in config.filter.netns.iter_mut().take(count) {
            // 0 is nobody's.
            *netns = self.number(*netns).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twtrace_common::config::Used;

    fn config(netns: &[u32]) -> Config {
        let mut config: Config = twtrace_common::from_bytes(&[0; size_of::<Config>()]).unwrap();
        config.offsets.net_inum = 144;
        config.filter.netns[..netns.len()].copy_from_slice(netns);
        config.filter.n_netns = Used::new(netns.len() as u8, 0);
        config
    }

    #[test]
    fn a_later_namespace_with_the_same_inode_has_another_number() {
        let (first, later) =
            (NetnsNumbers::of(&[(71, 0x1_0000_0009)], Some(200)), NetnsNumbers::of(&[(71, 10)], Some(200)));
        let mut all = [config(&[71]), config(&[71])];
        first.fill(&mut all[0]);
        later.fill(&mut all[1]);
        assert_eq!(
            all.map(|config| (config.offsets.net_inum, config.filter.netns[0])),
            [(200, 9), (200, 10)]
        );
        assert_eq!((first.inode(9), first.inode(10), first.inode(71)), (Some(71), None, None));
        assert_eq!((first.number(71), first.number(72)), (Some(9), None));
    }

    #[test]
    fn where_cookies_do_not_tell_all_of_them_apart_inodes_are_the_numbers() {
        for numbers in [
            NetnsNumbers::of(&[], Some(200)),
            NetnsNumbers::of(&[(71, 9)], None),
            NetnsNumbers::of(&[(71, 9), (72, 0x1_0000_0009)], Some(200)),
            NetnsNumbers::of(&[(71, 0x1_0000_0000)], Some(200)),
        ] {
            let mut filled = config(&[71, 72]);
            numbers.fill(&mut filled);
            assert_eq!(filled, config(&[71, 72]));
            assert_eq!(
                (numbers.number(71), numbers.inode(71), numbers.are_cookies()),
                (Some(71), Some(71), false)
            );
        }
    }
}
