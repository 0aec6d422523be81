//! Owns: what happened in each of the last seconds.
//! Must not know: what second it is: that is handed in.
//!
//! Rows are many and most of them quiet: a quiet row takes 4 bytes for each second in which something happened, and only a
//! row with hundreds of events in a second takes room for all seconds.

use serde::Serialize;

use crate::model::event::Kind;

/// Full seconds that are remembered.
pub const HISTORY_S: usize = 120;
/// Those and the one that is not over.
const KEPT: usize = HISTORY_S + 1;
/// Room for quiet seconds grows in small steps.
const STEP: usize = 8;

/// What is counted a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// TIME_WAIT sockets made.
    Created,
    /// TIME_WAIT sockets gone.
    Ended,
    /// Overflows, and failures of connect() and bind().
    Failed,
}

impl Flow {
    /// What an event of a kind is a part of.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Created => Some(Self::Created),
            Kind::Ended => Some(Self::Ended),
            Kind::Overflow | Kind::ConnectFailed | Kind::BindFailed => Some(Self::Failed),
            Kind::Listed | Kind::Aborted | Kind::SynRefused | Kind::Lost => None,
        }
    }
}

/// A second in which no count passed 255.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// Its number modulo 256, which tells the seconds that are kept apart.
    at: u8,
    counts: [u8; 3],
}

#[derive(Clone, Debug)]
enum Seconds {
    /// In order; none where nothing happened.
    Quiet(Vec<Quiet>),
    /// Second `n` at `n % KEPT`.
    Busy(Box<[[u32; 3]; KEPT]>),
}

/// The last [`HISTORY_S`] seconds and the one that is not over.
#[derive(Clone, Debug)]
pub struct History {
    /// The last second in which something happened.
    last: u32,
    /// What happened in it, by [`Flow`]: nearly all that comes is of the same second as what came before.
    present: [u32; 3],
    /// Those before it.
    seconds: Seconds,
}

impl Default for History {
    fn default() -> Self {
        Self { last: 0, present: [0; 3], seconds: Seconds::Quiet(Vec::new()) }
    }
}

/// Events a second, over windows of full seconds: the one that is not over yet is not in them. While tracing is younger
/// than a window, over the seconds there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Over the last full second.
    #[serde(rename = "1s")]
    pub s1: f64,
    /// Over 10 s.
    #[serde(rename = "10s")]
    pub s10: f64,
    /// Over 60 s.
    #[serde(rename = "60s")]
    pub s60: f64,
}

impl History {
    /// Counts one event in second `at`, which may lie a little before the last one seen.
    #[inline]
    pub(super) fn add(&mut self, at: u32, flow: Flow) {
        if at == self.last {
            self.present[flow as usize] += 1;
        } else {
            let mut counts = [0; 3];
            counts[flow as usize] = 1;
            self.add_all(at, counts);
        }
    }

    /// As [`History::add`], for many events of one second.
    fn add_all(&mut self, at: u32, counts: [u32; 3]) {
        if at > self.last {
            self.turn_to(at);
        }
        if at == self.last {
            add_up(&mut self.present, counts);
        } else if ((self.last - at) as usize) < KEPT {
            self.put(at, counts);
        }
    }

    /// Makes `at` the last second: what is too old for it goes.
    fn turn_to(&mut self, at: u32) {
        let (last, passed) = (self.last, (at - self.last) as usize);
        let present = std::mem::take(&mut self.present);
        if present != [0; 3] {
            self.put(last, present);
        }
        self.last = at;
        match &mut self.seconds {
            Seconds::Busy(ring) => {
                for second in 1..=passed.min(KEPT) {
                    ring[(last as usize + second) % KEPT] = [0; 3];
                }
            }
            Seconds::Quiet(quiet) if passed >= KEPT => quiet.clear(),
            Seconds::Quiet(quiet) => {
                let old = |second: &Quiet| usize::from((last as u8).wrapping_sub(second.at)) + passed >= KEPT;
                let gone = quiet.iter().take_while(|second| old(second)).count();
                quiet.drain(..gone);
            }
        }
    }

    /// Adds to a second that is kept with those before the last one.
    fn put(&mut self, at: u32, more: [u32; 3]) {
        let last = self.last;
        let quiet = match &mut self.seconds {
            Seconds::Busy(ring) => return add_up(&mut ring[at as usize % KEPT], more),
            Seconds::Quiet(quiet) => quiet,
        };
        let age = |second: &Quiet| u32::from((last as u8).wrapping_sub(second.at));
        let before = quiet.iter().rposition(|second| age(second) >= last - at);
        let known = before.filter(|index| quiet[*index].at == at as u8);
        let mut counts = known.map_or([0; 3], |index| quiet[index].counts.map(u32::from));
        add_up(&mut counts, more);
        if counts.into_iter().any(|count| count > u8::MAX.into()) {
            self.grow();
            return self.put(at, more);
        }
        let counts = counts.map(|count| count as u8);
        match known {
            Some(index) => quiet[index].counts = counts,
            None => {
                if quiet.len() == quiet.capacity() {
                    quiet.reserve_exact(STEP);
                }
                quiet.insert(before.map_or(0, |index| index + 1), Quiet { at: at as u8, counts });
            }
        }
    }

    fn grow(&mut self) {
        let mut ring = Box::new([[0; 3]; KEPT]);
        self.before(0, |at, counts| ring[at as usize % KEPT] = counts);
        self.seconds = Seconds::Busy(ring);
    }

    /// Gives memory back when all of it is older than what is remembered.
    pub(super) fn rest(&mut self, now: u32) {
        if now.saturating_sub(self.last) as usize >= KEPT {
            *self = Self { last: self.last, ..Self::default() };
        }
    }

    /// Every second from `oldest` on in which something happened, and perhaps some in which nothing did, newest first.
    fn since(&self, oldest: u32, mut work: impl FnMut(u32, [u32; 3])) {
        if self.last >= oldest {
            work(self.last, self.present);
            self.before(oldest, work);
        }
    }

    /// As [`History::since`], without the last one.
    fn before(&self, oldest: u32, mut work: impl FnMut(u32, [u32; 3])) {
        match &self.seconds {
            Seconds::Quiet(quiet) => {
                for Quiet { at, counts } in quiet.iter().rev() {
                    let at = self.last - u32::from((self.last as u8).wrapping_sub(*at));
                    if at < oldest {
                        return;
                    }
                    work(at, counts.map(u32::from));
                }
            }
            Seconds::Busy(ring) => {
                for at in (oldest.max(self.last.saturating_sub(KEPT as u32 - 1))..self.last).rev() {
                    work(at, ring[at as usize % KEPT]);
                }
            }
        }
    }

    /// Adds all that another one remembers.
    pub(super) fn absorb(&mut self, other: &Self) {
        other.since(0, |at, counts| self.add_all(at, counts));
    }
}

fn add_up(sums: &mut [u32; 3], more: [u32; 3]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// What several histories come to together, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows<const N: usize> {
    /// The first second of each window, the shortest window first; all end with the same second.
    starts: [u32; N],
    end: u32,
    /// By [`Flow`], what is in a window and in no shorter one: so each second is added once.
    spans: [[u64; 3]; N],
}

impl<const N: usize> Windows<N> {
    /// The last full seconds before second `now`, as many as each window says, the shortest first; each is 1 to [`HISTORY_S`].
    pub(super) fn new(now: u32, windows: [u32; N]) -> Self {
        debug_assert!(windows.is_sorted());
        // In the first second there is nothing but itself.
        let end = now.max(1);
        Self { starts: windows.map(|window| end - window.min(end)), end, spans: [[0; 3]; N] }
    }

    pub(super) fn add(&mut self, history: &History) {
        let Self { starts, end, spans } = self;
        let (oldest, mut span) = (starts[N - 1], 0);
        history.since(oldest, |at, counts| {
            if at >= *end {
                return;
            }
            while at < starts[span] {
                span += 1;
            }
            (0..3).for_each(|flow| spans[span][flow] += u64::from(counts[flow]));
        });
    }

    /// More events a second than this were not counted of any [`Flow`] in the longest window: told without looking at each second.
    pub(super) fn at_most(&self, history: &History) -> f64 {
        match &history.seconds {
            _ if history.last < self.starts[N - 1] => 0.0,
            Seconds::Quiet(_) => history.present.into_iter().fold(u8::MAX.into(), u32::max).into(),
            Seconds::Busy(_) => f64::INFINITY,
        }
    }

    /// Events, by [`Flow`].
    pub(super) fn sums(&self) -> [[u64; N]; 3] {
        std::array::from_fn(|flow| {
            let mut sum = 0;
            self.spans.map(|span| {
                sum += span[flow];
                sum
            })
        })
    }

    /// Events a second, by [`Flow`].
    pub(super) fn rates(&self) -> [[f64; N]; 3] {
        let seconds = self.starts.map(|start| f64::from(self.end - start));
        self.sums().map(|sums| std::array::from_fn(|at| sums[at] as f64 / seconds[at]))
    }
}

impl Rates {
    /// Of the windows that they are over, in seconds.
    pub(super) const WINDOWS: [u32; 3] = [1, 10, 60];

    /// By [`Flow`].
    pub(super) fn of(windows: &Windows<3>) -> [Self; 3] {
        windows.rates().map(|[s1, s10, s60]| Self { s1, s10, s60 })
    }
}

/// The last [`HISTORY_S`] full seconds before second `now`, oldest first, of several histories together.
pub(super) fn series<'a>(histories: impl Iterator<Item = &'a History>, flow: Flow, now: u32) -> Vec<u32> {
    let mut series = vec![0; HISTORY_S];
    for history in histories {
        history.since(now.saturating_sub(HISTORY_S as u32), |at, counts| {
            if at < now
                && let Some(back) = HISTORY_S.checked_sub((now - at) as usize)
            {
                series[back] += counts[flow as usize];
            }
        });
    }
    series
}

#[cfg(test)]
mod tests;
