//! Owns: an event as its columns have it: numbers, and for texts where they stand in dictionaries; and what it says anything of.
//! Must not know: columns.

use super::super::filling::{Rows, Said};

/// What an event may say nothing of, a bit each.
pub(super) type Parts = u32;
pub(super) const CONN: Parts = 1;
pub(super) const ROLE: Parts = 1 << 1;
pub(super) const SUBSTATE: Parts = 1 << 2;
pub(super) const TIMEOUT: Parts = 1 << 3;
pub(super) const COOKIE: Parts = 1 << 4;
pub(super) const OWNER: Parts = 1 << 5;
pub(super) const CGROUP_ID: Parts = 1 << 6;
pub(super) const VIA: Parts = 1 << 7;
pub(super) const IDENTITY: Parts = 1 << 8;
pub(super) const OPENER: Parts = 1 << 9;
pub(super) const AGE: Parts = 1 << 10;
pub(super) const SENT: Parts = 1 << 11;
pub(super) const RECEIVED: Parts = 1 << 12;
pub(super) const REASON: Parts = 1 << 13;
pub(super) const LIFETIME: Parts = 1 << 14;
pub(super) const PORT_VIA: Parts = 1 << 15;

/// See the head of the file. Words are their indexes; what nothing is said of is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flat {
    pub(super) parts: Parts,
    pub(super) event: u8,
    pub(super) family: u8,
    pub(super) role: u8,
    pub(super) substate: u8,
    pub(super) via: u8,
    pub(super) reason: u8,
    pub(super) port_via: u8,
    pub(super) mono_ns: u64,
    pub(super) netns: u32,
    pub(super) ifindex: u32,
    pub(super) saddr: i32,
    pub(super) daddr: i32,
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) timeout_ms: u32,
    pub(super) cookie: u64,
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) uid: u32,
    pub(super) comm: i32,
    pub(super) cgroup_id: u64,
    pub(super) start_ns: u64,
    /// Number of its texts.
    pub(super) identity: u32,
    pub(super) opener_comm: i32,
    pub(super) opener_pid: u32,
    pub(super) opener_start_ns: u64,
    pub(super) age_ns: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lifetime_ns: u64,
}

/// Notes a part of which something is said, and returns that.
#[inline]
pub(super) fn note<T>(part: Parts, parts: &mut Parts, said: Option<T>) -> Option<T> {
    *parts |= if said.is_some() { part } else { 0 };
    said
}

/// Some events that follow one another.
pub(super) struct Chunk<'a> {
    /// Row of the first.
    first: usize,
    flats: &'a [Flat],
    /// What any of them says something of, and what all do.
    any: Parts,
    all: Parts,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(first: usize, flats: &'a [Flat]) -> Self {
        let both = |(any, all), flat: &Flat| (any | flat.parts, all & flat.parts);
        let (any, all) = flats.iter().fold((0, Parts::MAX), both);
        Self { first, flats, any, all }
    }

    /// All of them.
    pub(super) fn all(&self) -> Rows<'a, Flat, fn(&Flat) -> bool> {
        self.rows(Said::All)
    }

    /// Those of them that say anything of a part.
    pub(super) fn of(&self, part: Parts) -> Rows<'a, Flat, impl Fn(&Flat) -> bool + use<>> {
        self.rows(match (self.any & part, self.all & part) {
            (0, _) => Said::Nothing,
            (_, 0) => Said::Where(move |flat: &Flat| flat.parts & part != 0),
            _ => Said::All,
        })
    }

    /// Those of which something is said.
    pub(super) fn rows<F>(&self, said: Said<F>) -> Rows<'a, Flat, F> {
        Rows { first: self.first, rows: self.flats, said }
    }
}
