//! Owns: looking at every namespace again and again, on a thread of its own, so that events need not wait.
//! Must not know: what is made of the looks.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{extras, holders};
use crate::diagnose::facts::samples::{Sample, Samples};
use crate::diagnose::facts::{Settings, State};
use crate::engine::TupleKey;
use crate::host::net::Error;
use crate::host::net::books::{self, Books, time_waits};
use crate::host::net::counters::Counters;
use crate::host::net::netns::{Each, Netns, hidden, host_inode, survey};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::host::net::sysctls::Sysctls;
use crate::model::clock;
use crate::model::event::{Event, Kind};
use crate::model::limitation::{Gathered, Limitation, Limitations, What};

/// After a failure, the lists are looked at at once, but not more often than this.
const AGAIN_NS: u64 = 200_000_000;
/// How long one round of looks may take.
const ROUND: Duration = Duration::from_secs(2);
/// Above this many full sockets, options are not asked for: the kernel would hold each one's lock.
const MOST_ASKED: usize = 20_000;
/// Of a namespace's ports, one of so many on full sockets makes it worth while to ask who has them.
const OPEN_SHARE: u32 = 4;
/// Of sockets that wait for somebody to act, so many make it worth while as well.
const MANY_WAITING: usize = 10;

/// How often it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Time between two looks, at least.
    every: Duration,
    /// For each second of work, so many of rest.
    rest: u32,
    /// At first it looks more often: what has gone on for a while is never without a look for more than half of that while.
    is_eager: bool,
}

impl Rhythm {
    /// For somebody who waits for what is seen.
    pub(super) const DOCTOR: Self = Self { every: Duration::from_secs(1), rest: 10, is_eager: false };
    /// Beside what must not be slowed down, for minutes.
    pub const RECORDING: Self = Self { every: Duration::from_secs(2), rest: 100, is_eager: true };
    /// All the time.
    pub const SERVICE: Self = Self { every: Duration::from_secs(60), rest: 1000, is_eager: false };

    /// How long to wait after a look that took so long, when it has gone on for `since`.
    fn pause(self, took: Duration, since: Duration) -> Duration {
        let rest = took * self.rest;
        let rest = if self.is_eager { rest.min(since / 2) } else { rest };
        rest.max(self.every)
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    /// By inode of the namespace.
    pub(super) samples: BTreeMap<u32, Samples>,
    /// What could not be looked at.
    pub(super) limitations: Limitations,
    /// How often every namespace was looked at.
    rounds: u64,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Gone: look once more and end.
    now: Sender<()>,
    thread: JoinHandle<()>,
    sampled: Arc<Mutex<Sampled>>,
    /// When something had failed and it was asked to look, CLOCK_MONOTONIC in nanoseconds.
    asked_ns: u64,
}

impl Sampler {
    /// Starts to look at every namespace, or only at those in `only` where there are any.
    pub(super) fn start(only: Vec<u32>, rhythm: Rhythm) -> io::Result<Self> {
        let (now, wanted) = channel();
        let sampled = Arc::new(Mutex::default());
        let shared = Arc::clone(&sampled);
        let thread = std::thread::Builder::new()
            .name("doctor".into())
            .spawn(move || sample_on(&only, rhythm, &wanted, &shared))?;
        Ok(Self { now, thread, sampled, asked_ns: 0 })
    }

    /// Where a call failed: look at who has the ports now, and who has the sockets, while what was in its way is still there.
    pub(super) fn event(&mut self, event: &Event) {
        let has_failed = matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed);
        if has_failed && event.mono_ns >= self.asked_ns.saturating_add(AGAIN_NS) {
            self.asked_ns = event.mono_ns;
            // If the thread has died, it has nothing to say.
            let _ = self.now.send(());
        }
    }

    /// What was seen so far, after a whole round at least; `None` while more is being taken in, for which nobody waits.
    pub(super) fn so_far(&self) -> Option<MutexGuard<'_, Sampled>> {
        self.sampled.try_lock().ok().filter(|sampled| sampled.rounds != 0)
    }

    /// What was seen since the beginning or the last time that it was taken; for a moment it waits for what is being taken in.
    pub(super) fn take(&self) -> BTreeMap<u32, Samples> {
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let next = sampled.samples.iter().map(|(netns, samples)| (*netns, samples.afresh())).collect();
        std::mem::replace(&mut sampled.samples, next)
    }

    /// Samples once more, and gives what was seen.
    pub(super) fn stop(self) -> Sampled {
        let Self { now, thread, sampled, .. } = self;
        drop(now);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        std::mem::take(&mut *sampled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn sample_on(only: &[u32], rhythm: Rhythm, wanted: &Receiver<()>, sampled: &Mutex<Sampled>) {
    let (mut has_failed, mut is_asked, mut was_asked) = (false, false, false);
    let started = Instant::now();
    loop {
        let began = Instant::now();
        sample_round(only, (has_failed, is_asked), sampled);
        (was_asked, is_asked) = (was_asked || is_asked, false);
        match wanted.recv_timeout(rhythm.pause(began.elapsed(), started.elapsed())) {
            Ok(()) => {
                (has_failed, is_asked) = (true, true);
                while wanted.try_recv().is_ok() {}
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // What failed just before the end has this look or none.
                sample_round(only, (has_failed, !was_asked), sampled);
                return;
            }
        }
    }
}

/// `why`: something has failed at all, and something has failed just now.
fn sample_round(only: &[u32], why: (bool, bool), sampled: &Mutex<Sampled>) {
    // Held for a moment only: the kernel is asked without it.
    let taken = || sampled.lock().unwrap_or_else(PoisonError::into_inner);
    let survey = survey();
    // With namespaces that were named, it does not matter which others there may be.
    if survey.hidden_processes != 0 && only.is_empty() {
        taken().limitations.add_first(hidden(survey.hidden_processes));
    }
    let mut chosen = survey.namespaces;
    chosen.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    if only.is_empty() {
        let had: HashSet<u32> = taken().samples.keys().copied().collect();
        chosen = worth_a_sample(chosen, &had);
    }
    let mut gathered = Gathered::default();
    let began = Instant::now();
    for (at, netns) in chosen.iter().enumerate() {
        if began.elapsed() > ROUND {
            let why = format!("{} network namespaces were not looked at in time", chosen.len() - at);
            gathered.add(Limitation::new(What::Sockets, why, "name those of interest with --netns"));
            break;
        }
        match sample(netns, why, &mut gathered) {
            Ok(sample) => taken().samples.entry(netns.inode).or_default().take(sample),
            // It went away between the two looks, and its sockets with it.
            Err(Error::Gone { .. }) => {}
            Err(error) => {
                gathered.add_of(netns.inode, What::Namespaces, &error, &error.remedy());
            }
        }
    }
    // What was said of an earlier round is not said again.
    let mut sampled = taken();
    for limitation in gathered.told() {
        sampled.limitations.add_first(limitation);
    }
    sampled.rounds += 1;
}

/// Of many namespaces, those in which there is something to see: the caller's own, which comes first, those with TCP sockets, and those that
/// had some. A list of sockets walks the table of the whole machine once for each namespace.
fn worth_a_sample(all: Vec<Netns>, had: &HashSet<u32>) -> Vec<Netns> {
    let (waiting, in_use) = (time_waits(&all).unwrap_or_default(), books::in_use(&all).unwrap_or_default());
    // What cannot be counted is looked at, which says why.
    let has = |counts: &Each<u64>, at: usize| counts.get(at).is_none_or(|(_, count)| !matches!(count, Ok(0)));
    let is_worth = |at: usize, netns: &Netns| {
        at == 0 || has(&waiting, at) || has(&in_use, at) || had.contains(&netns.inode)
    };
    let kept = all.into_iter().enumerate().filter(|(at, netns)| is_worth(*at, netns));
    kept.map(|(_, netns)| netns).collect()
}

fn sample(
    netns: &Netns,
    (has_failed, is_asked): (bool, bool),
    gathered: &mut Gathered,
) -> Result<Sample, Error> {
    let mut settings = Settings::of(&Sysctls::read(netns)?);
    let extra = netns.within(extras::read_here)?;
    settings.max_tw_buckets_default = extra.max_tw_buckets_default;
    settings.tw_recycle = extra.tw_recycle;
    let listing = sockdiag::tcp(netns, States::ALL.or(States::BOUND))?;
    if let Some(degraded) = listing.degraded {
        gathered.add_of(netns.inode, What::Sockets, &degraded, degraded.remedy());
    }
    let sockets = listing.sockets;
    let open = || sockets.iter().filter(|socket| !socket.is_time_wait());
    let asks_options = open().count() <= MOST_ASKED && open().any(|socket| settings.has(socket.sport));
    let timestamps = if asks_options { sockdiag::timestamps(netns)? } else { Vec::new() };
    let on_range = open().filter(|socket| settings.has(socket.sport)).count();
    let is_crowded = on_range as u64 * u64::from(OPEN_SHARE) >= u64::from(settings.ports.unwrap_or(0));
    let waiting = sockets.iter().filter(|socket| State::of(socket).is_waiting()).count();
    let holders = if has_failed || is_crowded || waiting >= MANY_WAITING {
        holders_of(&sockets, &settings)
    } else {
        Default::default()
    };
    Ok(Sample {
        netns: netns.inode,
        name: netns.called(host_inode()),
        enter: extras::way_in(netns),
        settings,
        overflow: Books::read(netns)?.tw_overflow,
        counters: netns.within(Counters::read_here)?.ok(),
        addresses: extra.addresses,
        conntrack: extra.conntrack,
        ipvs: extra.ipvs,
        timestamps: timestamps.iter().map(|(socket, has)| (tuple(netns, socket), *has)).collect(),
        holders,
        lists_bound: sockdiag::lists_bound(),
        is_asked,
        mono_ms: clock::mono_ns() / 1_000_000,
        sockets,
    })
}

fn tuple(netns: &Netns, socket: &DiagSocket) -> TupleKey {
    TupleKey::from(&socket.conn(netns.inode))
}

/// Who has the sockets that matter: those on ports of the range, and the listeners.
fn holders_of(
    sockets: &[DiagSocket],
    settings: &Settings,
) -> std::collections::HashMap<u32, crate::diagnose::facts::Process> {
    let matters = |socket: &&DiagSocket| {
        let is_in_the_way = socket.dport == 0 || settings.has(socket.sport) || State::of(socket).is_waiting();
        socket.inode != 0 && is_in_the_way
    };
    holders::find(&sockets.iter().filter(matters).map(|socket| socket.inode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long_come_seldom_and_at_first_more_often_beside_a_recording() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        assert_eq!(Rhythm::RECORDING.pause(ms(5), s(3600)), s(2));
        assert_eq!(Rhythm::RECORDING.pause(ms(300), s(3600)), s(30));
        assert_eq!(Rhythm::RECORDING.pause(ms(300), s(14)), s(7));
        assert_eq!(Rhythm::RECORDING.pause(ms(300), s(1)), s(2));
        assert_eq!(Rhythm::DOCTOR.pause(ms(300), s(1)), s(3));
        assert_eq!(Rhythm::SERVICE.pause(ms(5), s(1)), s(60));
    }
}
