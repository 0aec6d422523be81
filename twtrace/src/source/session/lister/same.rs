//! Owns: whether a network namespace is still the one that had its inode when it was first seen: the kernel gives an inode to the next one
//! that is made as soon as a namespace is gone.
//! Must not know: how namespaces are found and asked, what comes of it.

use std::collections::{HashMap, HashSet};

use crate::host::net::netns::{Netns, cookies, discover};
use crate::model::escape::printable;
use crate::model::limitation::{Limitation, What};

/// Looks that in a row find no way into a namespace, until it is gone: a list of processes is not made in one moment.
pub(in crate::source::session) const ABSENT_TIMES: u32 = 2;

/// What has become of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::session) enum Became {
    /// One that was asked for is gone, and what comes from its inode is not its own: it is left out.
    Left,
    /// No way leads to one that was asked for. What comes from its inode is its own: the kernel side tells others from it.
    Unreached,
    /// Where none was asked for, another one has the inode.
    Another,
}

/// What is to be done and said about a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::session) struct Changed {
    pub(in crate::source::session) netns: u32,
    pub(in crate::source::session) became: Became,
    /// `None` where the like was said already.
    pub(in crate::source::session) limitation: Option<Limitation>,
}

/// A namespace as it was last seen.
#[derive(Clone, Debug, Default)]
struct KnownNetns {
    cookie: Option<u64>,
    /// What the kernel has counted there so far, which never becomes less: all that there is to go by without a cookie.
    counted: u64,
    name: Option<String>,
    /// So often in a row no way led there.
    absent: u32,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(in crate::source::session) struct Same {
    /// Those that were asked for; all where there are none.
    asked: Vec<u32>,
    /// The kernel side tells them from later ones with their inodes.
    are_told_apart: bool,
    known: HashMap<u32, KnownNetns>,
    /// Those that were asked for and are gone.
    left: HashSet<u32>,
    /// Of others it is said once: where containers come and go there is no end of it.
    has_said: bool,
}

impl Same {
    /// Looks at those that are asked for as they are now.
    pub(in crate::source::session) fn of(asked: &[u32]) -> Self {
        let mut same = Self { asked: asked.to_vec(), ..Self::default() };
        if !asked.is_empty() {
            let mut all = discover();
            all.retain(|netns| asked.contains(&netns.inode));
            same.compare(&all);
        }
        same
    }

    /// One is asked for, and was seen with this cookie.
    #[cfg(test)]
    pub(super) fn expecting(inode: u32, cookie: u64) -> Self {
        let known = KnownNetns { cookie: Some(cookie), ..KnownNetns::default() };
        Self { asked: vec![inode], known: [(inode, known)].into(), ..Self::default() }
    }

    /// What tells those that were seen from later ones, by inode.
    pub(in crate::source::session) fn cookies(&self) -> HashMap<u32, u64> {
        self.known.iter().filter_map(|(inode, known)| Some((*inode, known.cookie?))).collect()
    }

    /// The kernel side does.
    pub(super) fn tells_apart(&mut self) {
        self.are_told_apart = true;
    }

    /// Whether a namespace is to be looked at: it is asked for, and was not found to be gone.
    pub(super) fn wants(&self, inode: u32) -> bool {
        (self.asked.is_empty() || self.asked.contains(&inode)) && !self.left.contains(&inode)
    }

    /// Whether it is asked for, was seen, and may be found to be gone.
    pub(super) fn may_be_gone(&self, inode: u32) -> bool {
        let is_over = |known: &KnownNetns| known.absent >= ABSENT_TIMES;
        self.wants(inode)
            && !self.asked.is_empty()
            && self.known.get(&inode).is_some_and(|known| !is_over(known))
    }

    /// Whether it was asked for and is gone.
    pub(super) fn has_left(&self, inode: u32) -> bool {
        self.left.contains(&inode)
    }

    /// Asks those of `all` that were asked for whether they are the same.
    pub(super) fn compare(&mut self, all: &[Netns]) -> Vec<Changed> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        let cookies = cookies(all).unwrap_or_default();
        let seen = all.iter().zip(cookies);
        seen.filter_map(|(netns, (_, cookie))| self.see(netns, cookie.ok()?, None)).collect()
    }

    /// A namespace was seen, with its cookie where the kernel tells that, and with what the kernel has counted there, where that was read.
    pub(super) fn see(
        &mut self,
        netns: &Netns,
        cookie: Option<u64>,
        counted: Option<u64>,
    ) -> Option<Changed> {
        let known = self.known.entry(netns.inode).or_default();
        known.absent = 0;
        let counts_on = counted.is_none_or(|counted| counted >= known.counted);
        if known.cookie.zip(cookie).map_or(counts_on, |(one, other)| one == other) {
            known.cookie = known.cookie.or(cookie);
            known.counted = counted.unwrap_or(known.counted);
            // A name may be given late, and outlives nothing.
            known.name = netns.name.clone().or(known.name.take());
            return None;
        }
        if self.asked.contains(&netns.inode) {
            return self.leave(netns.inode);
        }
        let now = KnownNetns { cookie, counted: counted.unwrap_or(0), name: netns.name.clone(), absent: 0 };
        let was = std::mem::replace(known, now);
        let is_first = !std::mem::replace(&mut self.has_said, true);
        let limitation = is_first.then(|| another(netns, was.name.as_deref()));
        Some(Changed { netns: netns.inode, became: Became::Another, limitation })
    }

    /// No way leads to a namespace.
    pub(super) fn miss(&mut self, inode: u32) -> Option<Changed> {
        let known = self.known.get_mut(&inode).filter(|_| self.asked.contains(&inode))?;
        known.absent += 1;
        if known.absent != ABSENT_TIMES {
            return None;
        }
        if !self.are_told_apart {
            return self.leave(inode);
        }
        let limitation = Some(gone(inode, known.name.as_deref()));
        Some(Changed { netns: inode, became: Became::Unreached, limitation })
    }

    fn leave(&mut self, inode: u32) -> Option<Changed> {
        let name = self.known.get(&inode).and_then(|known| known.name.as_deref());
        let limitation = Some(gone(inode, name));
        self.left.insert(inode).then_some(Changed { netns: inode, became: Became::Left, limitation })
    }
}

fn called(inode: u32, name: Option<&str>) -> String {
    name.map_or_else(|| inode.to_string(), |name| format!("{} ({inode})", printable(name)))
}

fn gone(inode: u32, name: Option<&str>) -> Limitation {
    let why = format!(
        "{} was asked for and is gone, or nothing leads to it any more: what another one does that has its inode is left out",
        called(inode, name)
    );
    Limitation::new(What::GoneNamespaces, why, "a trace that begins once there is one of that name")
}

fn another(netns: &Netns, was: Option<&str>) -> Limitation {
    let now = netns.name.as_deref().map_or("another one".into(), printable);
    let why = format!(
        "{} is gone, and {now} has its inode: what is counted by network namespace has both under one name, and so may others later",
        called(netns.inode, was)
    );
    Limitation::new(What::ReusedNamespaces, why, "--netns, which lets no later one pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netns(inode: u32, name: &str) -> Netns {
        Netns { inode, name: Some(name.to_owned()), path: "/nowhere".into() }
    }

    fn asked(inodes: &[u32]) -> Same {
        Same { asked: inodes.to_vec(), ..Same::default() }
    }

    fn became(changed: Option<Changed>) -> Option<Became> {
        changed.map(|changed| changed.became)
    }

    #[test]
    fn one_that_was_asked_for_is_left_once_another_has_its_inode() {
        let mut same = asked(&[7, 9]);
        assert_eq!(same.see(&netns(7, "nv5"), Some(100), None), None);
        assert_eq!(same.see(&netns(7, "nv5"), Some(100), None), None);
        assert_eq!(same.cookies(), [(7, 100)].into());
        let changed = same.see(&netns(7, "other"), Some(101), None).unwrap();
        assert_eq!((changed.netns, changed.became), (7, Became::Left));
        let said = changed.limitation.unwrap().to_string();
        assert!(said.contains("nv5 (7)"), "{said}");
        // It is said once, and however many come later.
        assert_eq!(same.see(&netns(7, "third"), Some(102), None), None);
        assert!(!same.wants(7) && same.has_left(7) && same.wants(9) && !same.wants(11));
    }

    #[test]
    fn one_that_no_way_leads_to_is_left_unless_the_kernel_tells_others_from_it() {
        for (are_told_apart, want) in [(false, Became::Left), (true, Became::Unreached)] {
            let mut same = asked(&[7]);
            assert_eq!(same.miss(7), None, "it was never there");
            same.are_told_apart = are_told_apart;
            same.see(&netns(7, "nv5"), Some(100), None);
            assert_eq!(
                (same.miss(7), same.see(&netns(7, "nv5"), Some(100), None), same.miss(7)),
                (None, None, None)
            );
            assert_eq!(became(same.miss(7)), Some(want));
            assert_eq!((same.miss(7), same.wants(7)), (None, want == Became::Unreached));
            let later = same.see(&netns(7, "other"), Some(101), None);
            assert_eq!(became(later), (want == Became::Unreached).then_some(Became::Left));
        }
    }

    /// As before 5.14.
    #[test]
    fn without_cookies_nothing_is_guessed_of_one_that_is_there() {
        let mut same = asked(&[7]);
        assert_eq!(same.see(&netns(7, "nv5"), None, None), None);
        assert_eq!(same.see(&netns(7, "other"), None, None), None);
        assert_eq!((same.miss(7), became(same.miss(7))), (None, Some(Became::Left)));
    }

    #[test]
    fn counters_that_went_down_are_another_ones() {
        for (asked_for, want) in [(&[7][..], Became::Left), (&[], Became::Another)] {
            let mut same = asked(asked_for);
            let counted = [Some(0), Some(13), None, Some(13), Some(17)];
            assert!(counted.into_iter().all(|counted| same.see(&netns(7, "nv5"), None, counted).is_none()));
            assert_eq!(became(same.see(&netns(7, "other"), None, Some(16))), Some(want));
        }
        // A cookie is the better witness.
        let mut same = asked(&[7]);
        same.see(&netns(7, "nv5"), Some(100), Some(13));
        assert_eq!(same.see(&netns(7, "nv5"), Some(100), Some(3)), None);
        assert_eq!(became(same.see(&netns(7, "other"), Some(101), Some(99))), Some(Became::Left));
    }

    #[test]
    fn where_none_is_asked_for_the_next_one_is_taken_and_said_once() {
        let mut same = Same::default();
        same.see(&netns(7, "nv5"), Some(100), None);
        let changed = same.see(&netns(7, "other"), Some(101), None).unwrap();
        let said = changed.limitation.unwrap().to_string();
        assert!(said.contains("nv5 (7)") && said.contains("and other has"), "{said}");
        let changed = same.see(&netns(7, "third"), Some(102), None).unwrap();
        assert_eq!((changed.became, changed.limitation), (Became::Another, None));
        assert!(same.wants(7) && same.miss(7).is_none());
    }
}
