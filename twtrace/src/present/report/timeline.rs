//! Owns: what happened in each stretch of time, in stretches that grow until few enough of them cover the whole recording.
//! Must not know: what an event is about.

/// Widths that a stretch can have where none was asked for, in nanoseconds; each divides the next.
const WIDTHS_NS: [u64; 12] = {
    const S: u64 = 1_000_000_000;
    [S / 10, S / 5, S, 2 * S, 10 * S, 30 * S, 60 * S, 300 * S, 600 * S, 1800 * S, 3600 * S, 86_400 * S]
};
/// More stretches than that are joined.
const MOST: usize = 1200;
/// More than that of a width that was asked for is refused: it would be of no use, and take all memory.
pub(super) const MOST_ASKED: usize = 1_000_000;

/// What is counted in a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Created,
    Ended,
    Overflow,
    ConnectFailed,
    BindFailed,
    Aborted,
    Lost,
}

/// One stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stretch {
    /// By [`Count`].
    pub(super) counts: [u32; 7],
    /// TIME_WAIT sockets at its end.
    pub(super) live: u32,
    /// The most in it.
    pub(super) most_live: u32,
    /// The highest pressure of any tuple in it.
    pub(super) pressure: f32,
}

impl Stretch {
    fn join(&mut self, next: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(next.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.live = next.live;
        self.most_live = self.most_live.max(next.most_live);
        self.pressure = self.pressure.max(next.pressure);
    }
}

/// A whole recording.
#[derive(Debug)]
pub(super) struct Timeline {
    /// CLOCK_MONOTONIC in nanoseconds where the first stretch begins.
    began_ns: u64,
    width_ns: u64,
    /// The width was asked for: it stays.
    is_fixed: bool,
    stretches: Vec<Stretch>,
    /// There were too many stretches of the width that was asked for.
    is_full: bool,
}

impl Timeline {
    /// `every_ns`: the width of a stretch; `None` leaves it to the length of the recording.
    pub(super) fn new(began_ns: u64, every_ns: Option<u64>) -> Self {
        let width_ns = every_ns.unwrap_or(WIDTHS_NS[0]).max(1);
        Self {
            began_ns,
            width_ns,
            is_fixed: every_ns.is_some(),
            stretches: vec![Stretch::default()],
            is_full: false,
        }
    }

    /// Where the first stretch begins, in nanoseconds.
    pub(super) fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// Nanoseconds.
    pub(super) fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// Oldest first, without gap.
    pub(super) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Whether there were more stretches than can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    fn index(&self, at_ns: u64) -> usize {
        usize::try_from(at_ns.saturating_sub(self.began_ns) / self.width_ns).unwrap_or(usize::MAX)
    }

    /// Goes on to `now_ns`, where nothing has happened yet. `pressure` is asked for what holds at the turn.
    #[inline]
    pub(super) fn advance(&mut self, now_ns: u64, pressure: impl FnOnce() -> f32) {
        if self.index(now_ns) >= self.stretches.len() {
            self.extend(now_ns, pressure());
        }
    }

    #[cold]
    fn extend(&mut self, now_ns: u64, pressure: f32) {
        let most = if self.is_fixed { MOST_ASKED } else { MOST };
        while self.index(now_ns) >= most {
            if self.is_fixed || !self.widen() {
                self.is_full = true;
                break;
            }
        }
        let live = self.stretches.last().map_or(0, |last| last.live);
        let empty = Stretch { live, most_live: live, pressure, ..Stretch::default() };
        let wanted = self.index(now_ns).saturating_add(1).min(most);
        if wanted > self.stretches.len() {
            self.stretches.resize(wanted, empty);
        }
    }

    /// Joins stretches to the next width; false where there is none.
    fn widen(&mut self) -> bool {
        // A recording of more than three years, or one whose clock jumps.
        let wider = || self.width_ns.checked_mul(10);
        let known = WIDTHS_NS.into_iter().find(|width| *width > self.width_ns);
        let Some(width_ns) = known.or_else(wider) else { return false };
        let joined = (width_ns / self.width_ns) as usize;
        self.width_ns = width_ns;
        let wide = self.stretches.chunks(joined).map(|chunk| {
            let mut sum = chunk[0];
            chunk[1..].iter().for_each(|next| sum.join(next));
            sum
        });
        self.stretches = wide.collect();
        true
    }

    /// Counts what happened at `at_ns`, which may lie a little before the last that was counted.
    #[inline]
    pub(super) fn count(&mut self, at_ns: u64, count: Count, more: u32) {
        let at = self.index(at_ns).min(self.stretches.len() - 1);
        let slot = &mut self.stretches[at].counts[count as usize];
        *slot = slot.saturating_add(more);
    }

    /// So many live now, and the tuple that just changed has this pressure.
    #[inline]
    pub(super) fn level(&mut self, live: u64, pressure: Option<f32>) {
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let Some(last) = self.stretches.last_mut() else { return };
        last.live = live;
        last.most_live = last.most_live.max(live);
        last.pressure = last.pressure.max(pressure.unwrap_or(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn stretches_widen_and_lose_nothing() {
        let mut line = Timeline::new(7 * S, None);
        let mut live = 0;
        // Three weeks, an event every 1009 seconds and a burst at the start.
        let times = (0..97).map(|n| 7 * S + n * S / 100).chain((1..=1801).map(|n| 8 * S + n * 1009 * S));
        for at in times {
            line.advance(at, || 0.0);
            line.count(at, Count::Created, 1);
            live += 1;
            line.level(live, Some(0.5));
        }
        let created: u32 = line.stretches().iter().map(|stretch| stretch.counts[0]).sum();
        assert_eq!(created, 97 + 1801);
        assert!(line.stretches().len() <= MOST, "{}", line.stretches().len());
        assert_eq!(line.width_ns(), 1800 * S);
        assert_eq!(line.stretches()[0].counts[0], 97 + 1);
        let levels: Vec<u32> = line.stretches().iter().map(|stretch| stretch.live).collect();
        assert!(levels.is_sorted() && levels.last() == Some(&(97 + 1801)));
    }

    #[test]
    fn what_holds_when_nothing_happens_is_carried_on() {
        let mut line = Timeline::new(0, Some(S));
        line.level(5, Some(0.3));
        line.level(3, None);
        line.advance(3 * S, || 0.2);
        line.count(3 * S, Count::Lost, 2);
        line.count(S - 1, Count::Ended, 1);
        let live: Vec<_> = line.stretches().iter().map(|s| (s.live, s.most_live, s.pressure)).collect();
        assert_eq!(live, [(3, 5, 0.3), (3, 3, 0.2), (3, 3, 0.2), (3, 3, 0.2)]);
        let counted = |at: usize, what: Count| line.stretches()[at].counts[what as usize];
        assert_eq!((counted(3, Count::Lost), counted(0, Count::Ended)), (2, 1));
        assert!(!line.is_full());
    }

    #[test]
    fn a_width_that_was_asked_for_is_kept_or_refused() {
        let mut line = Timeline::new(0, Some(1000));
        line.advance(999_999_999, || 0.0);
        assert!(!line.is_full() && line.stretches().len() == MOST_ASKED);
        line.advance(1_000_000_000, || 0.0);
        assert!(line.is_full() && line.stretches().len() == MOST_ASKED);
    }

    #[test]
    fn centuries_fit_as_well() {
        let mut line = Timeline::new(0, None);
        line.count(7, Count::Created, 3);
        line.advance(u64::MAX, || 0.0);
        line.count(u64::MAX, Count::Created, 5);
        assert!(!line.is_full() && line.stretches().len() <= MOST, "{}", line.stretches().len());
        assert_eq!((line.stretches()[0].counts[0], line.stretches().last().unwrap().counts[0]), (3, 5));
    }

    #[test]
    fn each_width_divides_the_next() {
        assert!(WIDTHS_NS.windows(2).all(|pair| pair[1] % pair[0] == 0));
    }
}
