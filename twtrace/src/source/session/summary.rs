//! Owns: the words that end a trace.
//! Must not know: how they are shown.

use std::time::Instant;

use crate::engine::Counts;
use crate::kernel::probe::Backend;
use crate::model::clock::Clock;
use crate::model::event::Loss;
use crate::source::session::verify::Verdict;

/// What a trace came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Which backend told it.
    pub backend: Backend,
    /// What came and went.
    pub counts: Counts,
    /// TIME_WAIT sockets that live at the end.
    pub live: usize,
    /// All that was lost.
    pub loss: Loss,
    /// Hooks whose runs the kernel skipped, and how many.
    pub skipped: Vec<(&'static str, u64)>,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
    /// The moment at which it ended: nothing that was told is later, and what comes after it, the hooks' detaching above all, is no part of it.
    pub until: Clock,
    /// Nobody reads the output any more: there is nobody to tell.
    pub unread: bool,
    /// How long who reads the output may still take; `None` is until a signal.
    pub reader_until: Option<Instant>,
    /// The comparison with the kernel's books, if one was asked for.
    pub verdict: Option<Verdict>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = &self.counts;
        let reasons: Vec<String> =
            counts.reasons().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        write!(f, "created: {}", counts.created)?;
        if counts.listed != 0 {
            write!(f, ", listed: {}", counts.listed)?;
        }
        writeln!(
            f,
            ", ended: {}{reasons}, overflow: {}, connect_failed: {}, bind_failed: {}",
            counts.ended(),
            counts.overflow,
            counts.connect_failed,
            counts.bind_failed,
        )?;
        if counts.aborted + counts.syn_refused != 0 {
            writeln!(f, "aborted: {}, syn_refused: {}", counts.aborted, counts.syn_refused)?;
        }
        writeln!(f, "live: {}", self.live)?;
        write!(f, "lost: {}", self.loss.events())?;
        if self.loss.unwritten != 0 {
            write!(f, " (unwritten {}: stdout did not take them in time)", self.loss.unwritten)?;
        }
        if self.loss.owners != 0 {
            write!(f, ", owners lost: {}", self.loss.owners)?;
        }
        if !self.skipped.is_empty() {
            let skipped: Vec<String> =
                self.skipped.iter().map(|(name, count)| format!("{name} {count}")).collect();
            write!(f, ", hook runs skipped by the kernel: {}", skipped.join(", "))?;
        }
        writeln!(f)?;
        write!(f, "traced {:.1} s with the {} backend", self.elapsed_ns as f64 / 1e9, self.backend)
    }
}

#[cfg(test)]
impl Summary {
    /// A trace in which nothing happened, for tests of what is made of its end.
    pub(crate) fn of_nothing(until: Clock) -> Self {
        Self {
            backend: Backend::Fentry,
            counts: Counts::default(),
            live: 0,
            loss: Loss::default(),
            skipped: Vec::new(),
            elapsed_ns: 0,
            until,
            unread: false,
            reader_until: None,
            verdict: None,
        }
    }
}
