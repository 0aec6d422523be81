//! Owns: when every namespace is looked at, again and again, on a thread of its own, so that events need not wait.
//! Must not know: how one is looked at, what is made of the looks.

mod round;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::extras;
use crate::diagnose::facts::samples::Samples;
use crate::host::worker::{Died, Joined, Thread};
use crate::model::event::{Event, Kind};
use crate::model::limitation::{Limitation, Limitations, What};
use crate::model::settings::Settings;
use round::{Rounds, Why};

/// After a failure, the lists are looked at at once, but not more often than this.
const AGAIN: Duration = Duration::from_millis(200);

/// So many sockets are many: a list of them takes some ten milliseconds of a processor, and one of a full table a hundred.
const MANY: usize = 10_000;

/// What one look takes at most beyond the time that its round may, where all is well.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Time between two looks, at least.
    every: Duration,
    /// For each second of work, so many of rest.
    rest: u32,
    /// At first it looks more often: what has gone on for a while is never without a look for more than half of that while, if for each
    /// second of work so many of rest are left.
    first_rest: Option<u32>,
    /// In the place of `first_rest`, where it is for the number of sockets that a look takes long.
    many_rest: u32,
    /// The same from one look after a failure to the next, however often calls fail.
    asked_rest: u32,
    /// How long one round of looks may take.
    round: Duration,
    /// How long the last one may take, for whose end somebody waits.
    last: Duration,
}

impl Rhythm {
    /// For somebody who waits for what is seen, if only for seconds.
    pub(super) const DOCTOR: Self = Self {
        every: Duration::from_secs(1),
        rest: 10,
        first_rest: Some(1),
        many_rest: 1,
        asked_rest: 1,
        round: Duration::from_secs(2),
        last: Duration::from_secs(2),
    };
    /// Beside what must not be slowed down, for minutes.
    pub const RECORDING: Self = Self {
        every: Duration::from_secs(2),
        rest: 400,
        first_rest: Some(4),
        many_rest: 200,
        asked_rest: 10,
        round: Duration::from_millis(500),
        last: Duration::from_millis(500),
    };
    /// All the time.
    pub const SERVICE: Self =
        Self { every: Duration::from_secs(60), rest: 1000, first_rest: None, ..Self::RECORDING };

    /// How long to wait after a look that took so long, before the next that a failure asks for.
    fn pause_asked(self, took: Duration) -> Duration {
        (took * self.asked_rest).max(AGAIN)
    }

    /// How long to wait after a look that took so long, when it has gone on for `since`.
    fn pause(self, took: Duration, since: Duration, has_many: bool) -> Duration {
        let rest = took * self.rest;
        let first = |few_rest| (since / 2).max(took * if has_many { self.many_rest } else { few_rest });
        self.first_rest.map_or(rest, |first_rest| rest.min(first(first_rest))).max(self.every)
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    /// By inode of the namespace.
    pub(super) samples: BTreeMap<u32, Samples>,
    /// What could not be looked at.
    limitations: Limitations,
    /// That some namespaces have not been looked at yet, while that is so.
    late: Option<Limitation>,
    /// How often every namespace was looked at.
    rounds: u64,
}

impl Sampled {
    /// What could not be looked at.
    pub(super) fn limitations(&self) -> impl Iterator<Item = &Limitation> {
        self.limitations.all().iter().chain(&self.late)
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Gone: look once more and end.
    now: Option<Sender<()>>,
    /// The end is near: a round ends early.
    ends: Arc<AtomicBool>,
    thread: Thread,
    /// How long its last round may take, and until when it is waited for once that has begun.
    last: Duration,
    until: Option<Instant>,
    sampled: Arc<Mutex<Sampled>>,
    /// It was asked to look, as something had failed, and has not begun to.
    is_asked: Arc<AtomicBool>,
}

impl Sampler {
    /// Starts to look at every namespace, or only at those in `only` where there are any. Power is given up after this.
    pub(super) fn start(only: Vec<u32>, rhythm: Rhythm) -> io::Result<Self> {
        let (now, wanted) = channel();
        let sampled = Arc::new(Mutex::default());
        let (ends, is_asked) = (Arc::default(), Arc::default());
        let (shared, is_over, asked) = (Arc::clone(&sampled), Arc::clone(&ends), Arc::clone(&is_asked));
        let most_buckets = extras::most_buckets();
        let last = rhythm.last;
        let thread = Thread::start("doctor", move || {
            let mut rounds = Rounds::new(&only, rhythm, (&is_over, &shared), most_buckets);
            sample_on(&mut rounds, &wanted, &asked);
        })?;
        Ok(Self { now: Some(now), ends, thread, last, until: None, sampled, is_asked })
    }

    /// Where a call failed: look at who has the ports now, and who has the sockets, while what was in its way is still there.
    pub(super) fn event(&mut self, event: &Event) {
        let has_failed = matches!(event.kind, Kind::ConnectFailed | Kind::BindFailed);
        if has_failed && !self.is_asked.swap(true, Ordering::Relaxed) {
            // If the thread has died, it has nothing to say.
            let _ = self.now.as_ref().map(|now| now.send(()));
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

    /// What namespaces were set to when they were looked at last, since that was taken last; it waits no longer than [`Self::take`].
    pub(super) fn settings(&self) -> Vec<(u32, Settings)> {
        let sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        sampled.samples.values().filter_map(Samples::settings).collect()
    }

    /// Whether it goes on: only [`Self::end`] ends it.
    ///
    /// # Errors
    /// If it has died.
    pub(super) fn check(&self) -> Result<(), Died> {
        if self.now.is_some() { self.thread.alive().check() } else { Ok(()) }
    }

    /// Why it died, which [`Self::check`] says it has.
    pub(super) fn died(self) -> Died {
        self.thread.died()
    }

    /// Says that it is to sample once more and end, and does not wait for that.
    pub(super) fn end(&mut self) -> Instant {
        self.ends.store(true, Ordering::Relaxed);
        self.now = None;
        *self.until.get_or_insert_with(|| Instant::now() + self.last + PATIENCE)
    }

    /// Samples once more, and gives what was seen. A look that takes too long is not waited for: what was seen before it is what there is.
    ///
    /// # Errors
    /// If it died.
    pub(super) fn stop(mut self) -> Result<Sampled, Died> {
        let until = self.end();
        let Self { thread, sampled, .. } = self;
        let joined = thread.join_by(until)?;
        // The kernel is asked without it, so a look that hangs does not hold it.
        let mut sampled = std::mem::take(&mut *sampled.lock().unwrap_or_else(PoisonError::into_inner));
        if joined == Joined::LeftBehind {
            let why = "the last look at the kernel's lists took too long".to_owned();
            let remedy = "a longer time, on a machine that is less busy".to_owned();
            sampled.limitations.add(Limitation::new(What::Sockets, why, remedy));
        }
        Ok(sampled)
    }
}

/// What fails while a look is being made, or too soon after one, has another one after it: what is in the way may be something else by then.
fn sample_on(rounds: &mut Rounds<'_>, wanted: &Receiver<()>, asked: &AtomicBool) {
    let (mut has_failed, mut is_asked, mut was_asked) = (false, false, false);
    let started = Instant::now();
    loop {
        let began = Instant::now();
        rounds.sample(Why { has_failed, is_asked });
        let took = began.elapsed();
        let too_soon = if is_asked { rounds.rhythm.pause_asked(took) } else { Duration::ZERO };
        (was_asked, is_asked) = (was_asked || is_asked, false);
        let has_many = rounds.listed >= MANY;
        let pause = rounds.rhythm.pause(took, started.elapsed(), has_many).max(too_soon);
        let next = match wanted.recv_timeout(pause) {
            Ok(()) => {
                (has_failed, is_asked) = (true, true);
                let until = began + took + too_soon;
                let left = || wanted.recv_timeout(until.saturating_duration_since(Instant::now()));
                std::iter::repeat_with(left).find(Result::is_err).unwrap_or(Ok(()))
            }
            other => other,
        };
        asked.store(false, Ordering::Relaxed);
        if next == Err(RecvTimeoutError::Disconnected) {
            // What failed just before the end has this look or none.
            rounds.sample(Why { has_failed, is_asked: is_asked || !was_asked });
            return;
        }
    }
}

#[cfg(test)]
impl Sampler {
    /// One that has died, or is about to.
    pub(super) fn dead() -> Self {
        let thread = Thread::start("doctor", || panic!("no such list")).unwrap();
        let (ends, is_asked, sampled) = (Arc::default(), Arc::default(), Arc::default());
        let now = Some(channel().0);
        Self { now, ends, thread, last: Duration::ZERO, until: None, sampled, is_asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_died_says_why_and_does_so_at_the_end_as_well() {
        let sampler = Sampler::dead();
        let deadline = Instant::now() + Duration::from_secs(30);
        while sampler.check().is_ok() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(sampler.check().unwrap_err().name, "doctor");
        let want = Died { name: "doctor", why: "no such list".to_owned() };
        assert_eq!((sampler.died(), Sampler::dead().stop().unwrap_err()), (want.clone(), want));
    }

    #[test]
    fn looks_that_take_long_come_seldom_and_at_first_more_often_beside_a_recording() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let pause = |rhythm: Rhythm, took, since| rhythm.pause(took, since, false);
        assert_eq!(pause(Rhythm::RECORDING, ms(5), s(3600)), s(2));
        assert_eq!(pause(Rhythm::RECORDING, ms(300), s(3600)), s(120));
        assert_eq!(pause(Rhythm::RECORDING, ms(300), s(14)), s(7));
        assert_eq!(pause(Rhythm::RECORDING, ms(300), s(1)), s(2));
        assert_eq!(pause(Rhythm::RECORDING, ms(800), s(1)), ms(3200));
        assert_eq!(Rhythm::RECORDING.pause(ms(100), s(1), true), s(20));
        assert_eq!(Rhythm::RECORDING.pause(ms(100), s(60), true), s(30));
        assert_eq!(Rhythm::RECORDING.pause(ms(100), s(600), true), s(40));
        assert_eq!(Rhythm::DOCTOR.pause(ms(150), s(1), true), s(1));
        assert_eq!(pause(Rhythm::DOCTOR, ms(300), s(1)), s(1));
        assert_eq!(pause(Rhythm::DOCTOR, ms(1500), s(1)), ms(1500));
        assert_eq!(pause(Rhythm::DOCTOR, ms(300), s(60)), s(3));
        assert_eq!(pause(Rhythm::SERVICE, ms(5), s(1)), s(60));
        assert_eq!([5, 30].map(|took| Rhythm::RECORDING.pause_asked(ms(took))), [200, 300].map(ms));
    }
}
