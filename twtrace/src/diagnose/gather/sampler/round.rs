//! Owns: one round of looks at network namespaces: which of them, in what order, for how long, and what is asked there.
//! Must not know: when there is a round.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Rhythm, Sampled};
use crate::diagnose::facts::samples::Sample;
use crate::diagnose::facts::{Process, Settings, State};
use crate::diagnose::gather::{extras, holders};
use crate::engine::TupleKey;
use crate::host::net::Error;
use crate::host::net::books::{self, Books};
use crate::host::net::counters::Counters;
use crate::host::net::netns::{Netns, cookie_here, hidden, host_inode, survey};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::host::net::sysctls;
use crate::model::clock;
use crate::model::limitation::{Gathered, Limitation, What};
use crate::model::ordering::Ordered as _;

/// Above this many full sockets, options are not asked for: the kernel would hold each one's lock.
const MOST_ASKED: usize = 20_000;
/// Of a namespace's ports, one of so many on full sockets makes it worth while to ask who has them.
const OPEN_SHARE: u32 = 4;
/// Of sockets that wait for somebody to act, so many make it worth while as well.
const MANY_WAITING: usize = 10;

/// Why it is looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why {
    /// A call has failed since the beginning.
    pub(super) has_failed: bool,
    /// One has failed just now.
    pub(super) is_asked: bool,
}

/// Looks at every namespace, or only at those in `only` where there are any.
pub(super) struct Rounds<'a> {
    only: &'a [u32],
    pub(super) rhythm: Rhythm,
    /// Somebody waits for the end.
    ends: &'a AtomicBool,
    sampled: &'a Mutex<Sampled>,
    /// See [`extras::most_buckets`].
    most_buckets: Option<u32>,
    /// Sockets that the last round listed.
    pub(super) listed: usize,
    /// What tells those in `only` from later ones with the same inodes.
    cookies: HashMap<u32, u64>,
    /// How many were looked at so far: where there is no time for all, each has its turn.
    turn: usize,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(
        only: &'a [u32],
        rhythm: Rhythm,
        (ends, sampled): (&'a AtomicBool, &'a Mutex<Sampled>),
        most_buckets: Option<u32>,
    ) -> Self {
        Self { only, rhythm, ends, sampled, most_buckets, listed: 0, cookies: HashMap::new(), turn: 0 }
    }

    /// Held for a moment only: the kernel is asked without it.
    fn sampled(&self) -> MutexGuard<'_, Sampled> {
        self.sampled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// How long a round may take, as it is now.
    fn most(&self) -> Duration {
        if self.ends() { self.rhythm.last } else { self.rhythm.round }
    }

    /// One round.
    pub(super) fn sample(&mut self, why: Why) {
        let began = Instant::now();
        let Chosen { namespaces: chosen, had, are_all } = self.choose();
        let mut gathered = Gathered::default();
        let mut late = None;
        self.listed = 0;
        for (at, netns) in chosen.iter().enumerate() {
            // The first one is always looked at.
            if at != 0 && began.elapsed() > self.most() {
                late = not_in_time(&chosen[at..], &had);
                break;
            }
            match sample(netns, why, self.most_buckets, &mut gathered) {
                // What another one says is nothing about the one that was asked for.
                Ok((_, cookie)) if self.is_another(netns.inode, cookie) => {}
                Ok((sample, _)) => {
                    self.listed += sample.sockets.len();
                    self.sampled().samples.entry(netns.inode).or_default().take(sample);
                }
                // It went away between the two looks, and its sockets with it.
                Err(Error::Gone { .. }) => {}
                Err(error) => {
                    gathered.add_of(netns.inode, What::Namespaces, &error, &error.remedy());
                }
            }
            self.turn += 1;
        }
        // What was said of an earlier round is not said again.
        let mut sampled = self.sampled();
        for limitation in gathered.told() {
            sampled.limitations.add_first(limitation);
        }
        // Of those that were left out it is still true.
        if are_all {
            sampled.late = late;
        }
        sampled.rounds += 1;
    }

    /// Whether a namespace is not the one that was asked for and had its inode when it was first looked at.
    fn is_another(&mut self, inode: u32, cookie: Option<u64>) -> bool {
        let first = cookie.map(|cookie| *self.cookies.entry(inode).or_insert(cookie));
        !self.only.is_empty() && first != cookie
    }

    fn choose(&self) -> Chosen {
        let survey = survey();
        // With namespaces that were named, it does not matter which others there may be.
        if !survey.hidden_processes.is_empty() && self.only.is_empty() {
            self.sampled().limitations.add_first(hidden(&survey.hidden_processes));
        }
        let had: HashSet<u32> = self.sampled().samples.keys().copied().collect();
        let mut chosen = survey.namespaces;
        let are_all = !self.only.is_empty() || !self.ends() || had.is_empty();
        if !self.only.is_empty() {
            chosen.retain(|netns| self.only.contains(&netns.inode));
        } else if !are_all {
            // Thousands that have no sockets take a second to count.
            chosen.retain(|netns| had.contains(&netns.inode));
        } else {
            chosen = worth_a_sample(chosen, &had);
        }
        in_turn(&mut chosen, &had, self.turn);
        Chosen { namespaces: chosen, had, are_all }
    }
}

/// What a round is about.
struct Chosen {
    /// In the order of their looks.
    namespaces: Vec<Netns>,
    /// Those that had a look before.
    had: HashSet<u32>,
    /// None is left out that should have a look.
    are_all: bool,
}

/// The first one stays; then come those that had no look yet, then all others, each in its turn.
fn in_turn(chosen: &mut [Netns], had: &HashSet<u32>, turn: usize) {
    let Some((_, others)) = chosen.split_first_mut() else { return };
    others.order_by_key(|netns| had.contains(&netns.inode));
    let (_, known) = others.split_at_mut(others.partition_point(|netns| !had.contains(&netns.inode)));
    if !known.is_empty() {
        known.rotate_left(turn % known.len());
    }
}

/// Of those for which there was no time, how many had no look at all.
fn not_in_time(left: &[Netns], had: &HashSet<u32>) -> Option<Limitation> {
    let count = left.iter().filter(|netns| !had.contains(&netns.inode)).count();
    let why = || format!("{count} network namespaces were not looked at in time");
    (count != 0).then(|| Limitation::new(What::Sockets, why(), "name those of interest with --netns"))
}

/// Of many namespaces, those in which there is something to see: the caller's own, which comes first, those with TCP sockets, and those that
/// had some. A list of sockets walks the table of the whole machine once for each namespace.
fn worth_a_sample(all: Vec<Netns>, had: &HashSet<u32>) -> Vec<Netns> {
    let counts = books::sockets(&all).unwrap_or_default();
    // What cannot be counted is looked at, which says why.
    let has_some = |at: usize| counts.get(at).is_none_or(|(_, count)| !matches!(count, Ok(0)));
    let is_worth = |at: usize, netns: &Netns| at == 0 || has_some(at) || had.contains(&netns.inode);
    let kept = all.into_iter().enumerate().filter(|(at, netns)| is_worth(*at, netns));
    kept.map(|(_, netns)| netns).collect()
}

/// What is asked inside a namespace, all at one time.
struct Inside {
    cookie: Option<u64>,
    settings: Settings,
    extra: extras::Extras,
    sockets: Vec<DiagSocket>,
    timestamps: Vec<(DiagSocket, bool)>,
    overflow: u64,
    counters: Option<Counters>,
}

impl Inside {
    /// Asks the namespace that the calling thread is in.
    fn ask(netns: &Netns, gathered: &mut Gathered) -> Result<Self, Error> {
        let settings = sysctls::read(netns)?;
        let listing = sockdiag::tcp(netns, States::ALL.or(States::BOUND))?;
        if let Some(degraded) = listing.degraded {
            gathered.add_of(netns.inode, What::Sockets, &degraded, degraded.remedy());
        }
        let sockets = listing.sockets;
        let asks_options =
            open(&sockets).count() <= MOST_ASKED && open(&sockets).any(|socket| settings.has(socket.sport));
        Ok(Self {
            cookie: cookie_here(),
            extra: extras::read_here(),
            timestamps: if asks_options { sockdiag::timestamps(netns)? } else { Vec::new() },
            overflow: Books::read(netns)?.tw_overflow,
            counters: Counters::read_here().ok(),
            settings,
            sockets,
        })
    }
}

fn sample(
    netns: &Netns,
    Why { has_failed, is_asked }: Why,
    most_buckets: Option<u32>,
    gathered: &mut Gathered,
) -> Result<(Sample, Option<u64>), Error> {
    // Nothing else is looked up there: for as long as a thread is in it, a namespace that is dying cannot go.
    let Inside { cookie, mut settings, extra, sockets, timestamps, overflow, counters } =
        netns.within(|| Inside::ask(netns, gathered))??;
    settings.max_tw_buckets_default =
        extras::buckets_default(extra.max_tw_buckets_default, most_buckets, settings.max_tw_buckets);
    settings.tw_recycle = extra.tw_recycle;
    let on_range = open(&sockets).filter(|socket| settings.has(socket.sport)).count();
    let is_crowded = on_range as u64 * u64::from(OPEN_SHARE) >= u64::from(settings.ports.unwrap_or(0));
    let waiting = sockets.iter().filter(|socket| State::of(socket).is_waiting()).count();
    let holders = if has_failed || is_crowded || waiting >= MANY_WAITING {
        holders_of(&sockets, &settings)
    } else {
        Default::default()
    };
    let sample = Sample {
        netns: netns.inode,
        name: netns.called(host_inode()),
        enter: extras::way_in(netns),
        settings,
        overflow,
        counters,
        addresses: extra.addresses,
        conntrack: extra.conntrack,
        ipvs: extra.ipvs,
        timestamps: timestamps.iter().map(|(socket, has)| (tuple(netns, socket), *has)).collect(),
        holders,
        lists_bound: sockdiag::lists_bound(),
        is_asked,
        mono_ms: clock::mono_ns() / 1_000_000,
        sockets,
    };
    Ok((sample, cookie))
}

fn open(sockets: &[DiagSocket]) -> impl Iterator<Item = &DiagSocket> {
    sockets.iter().filter(|socket| !socket.is_time_wait())
}

fn tuple(netns: &Netns, socket: &DiagSocket) -> TupleKey {
    TupleKey::from(&socket.conn(netns.inode))
}

/// Who has the sockets that matter: those on ports of the range, and the listeners.
fn holders_of(sockets: &[DiagSocket], settings: &Settings) -> HashMap<u32, Process> {
    let matters = |socket: &&DiagSocket| {
        let is_in_the_way = socket.dport == 0 || settings.has(socket.sport) || State::of(socket).is_waiting();
        socket.inode != 0 && is_in_the_way
    };
    holders::find(&sockets.iter().filter(matters).map(|socket| socket.inode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netns(inode: u32) -> Netns {
        Netns { inode, name: None, path: "/nowhere".into() }
    }

    #[test]
    fn where_there_is_no_time_for_all_each_has_its_turn_and_the_unseen_come_first() {
        let had = HashSet::from([1, 2, 3, 5]);
        let order = |turn| {
            let mut all = [1, 2, 3, 4, 5].map(netns);
            in_turn(&mut all, &had, turn);
            all.map(|netns| netns.inode)
        };
        assert_eq!(order(0), [1, 4, 2, 3, 5]);
        assert_eq!(order(7), [1, 4, 3, 5, 2]);
        let late = not_in_time(&[4, 5].map(netns), &had).unwrap();
        assert!(late.to_string().contains("1 network namespaces were not looked at"), "{late}");
        assert_eq!(not_in_time(&[2, 5].map(netns), &had), None);
    }

    #[test]
    fn a_round_ends_early_when_somebody_waits_for_the_end() {
        let (ends, sampled) = (AtomicBool::new(false), Mutex::default());
        let rhythm = Rhythm { last: Duration::ZERO, ..Rhythm::DOCTOR };
        let mut rounds = Rounds::new(&[], rhythm, (&ends, &sampled), None);
        assert_eq!(rounds.most(), rhythm.round);
        ends.store(true, Ordering::Relaxed);
        assert_eq!(rounds.most(), Duration::ZERO);
        // Those that had no look by then are left out of the last one, and it is said of them as before.
        let own = crate::host::net::netns::own_inode().unwrap();
        let late = not_in_time(&[4, 5].map(netns), &HashSet::new());
        let mut taken = rounds.sampled();
        (taken.samples, taken.late) = ([(own, Default::default())].into(), late.clone());
        drop(taken);
        rounds.sample(Why { has_failed: false, is_asked: false });
        let taken = rounds.sampled();
        assert_eq!((&taken.late, taken.rounds), (&late, 1));
    }
}
