//! Owns: what was lost: its parts, their names, and counting with all of them at once.
//! Must not know: where anything is lost, how that is shown.

use serde::{Deserialize, Serialize};

/// What was lost, by what it would have been. JSON and the end of a recording have it so, with these keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// `created` events.
    pub created: u64,
    /// `ended` events.
    pub ended: u64,
    /// `overflow` events.
    pub overflow: u64,
    /// `connect_failed` events.
    pub connect_failed: u64,
    /// `bind_failed` events.
    pub bind_failed: u64,
    /// `aborted` events.
    pub aborted: u64,
    /// `syn_refused` events.
    pub syn_refused: u64,
    /// Events that came, or will come, without their owner: there was no room for it among the closing sockets.
    pub owners: u64,
    /// Runs of a hook that the kernel skipped (`recursion_misses`), or that could not read the stack; each may have been an event.
    pub missed_runs: u64,
    /// Births that the kernel's own counters have and that nobody told, nor counted as lost.
    pub missed: u64,
    /// What was told and could not be written, because nobody read it in time: events, or pictures of the live view.
    pub unwritten: u64,
}

/// A part's name, and where it is.
type LossField = (&'static str, fn(&mut Loss) -> &mut u64);

impl Loss {
    const PARTS: [LossField; 11] = [
        ("created", |loss| &mut loss.created),
        ("ended", |loss| &mut loss.ended),
        ("overflow", |loss| &mut loss.overflow),
        ("connect_failed", |loss| &mut loss.connect_failed),
        ("bind_failed", |loss| &mut loss.bind_failed),
        ("aborted", |loss| &mut loss.aborted),
        ("syn_refused", |loss| &mut loss.syn_refused),
        ("owners", |loss| &mut loss.owners),
        ("missed_runs", |loss| &mut loss.missed_runs),
        ("missed", |loss| &mut loss.missed),
        ("unwritten", |loss| &mut loss.unwritten),
    ];

    /// Events lost for certain, to whoever reads this.
    pub fn events(&self) -> u64 {
        self.untold().saturating_add(self.unwritten)
    }

    /// Events that were lost for certain on the way here: nothing in here knows of them.
    pub fn untold(&self) -> u64 {
        let Self { created, ended, overflow, connect_failed, bind_failed, .. } = *self;
        let Self { aborted, syn_refused, missed, .. } = *self;
        // What a file says may be anything.
        [created, ended, overflow, connect_failed, bind_failed, aborted, syn_refused, missed]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// The same, where so many events were lost in all: what no part accounts for could not be written.
    #[must_use]
    pub fn of_events(self, events: u64) -> Self {
        Self { unwritten: events.saturating_sub(self.untold()), ..self }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(&self, other: &Self, of_both: fn(u64, u64) -> u64) -> Self {
        // Counts are added up by the thousand, and hardly ever was anything lost.
        if other.is_empty() {
            return *self;
        }
        let (mut parts, others) = (self.parts(), other.parts());
        parts.iter_mut().zip(others).for_each(|(part, other)| *part = of_both(*part, other));
        Self::from_parts(parts)
    }

    /// Every part with its name, as they are declared.
    pub fn named(mut self) -> [(&'static str, u64); 11] {
        Self::PARTS.map(|(name, part)| (name, *part(&mut self)))
    }

    /// Every part, as they are declared.
    pub fn parts(self) -> [u64; 11] {
        self.named().map(|(_, part)| part)
    }

    /// The opposite of [`Loss::parts`].
    pub fn from_parts(parts: [u64; 11]) -> Self {
        let mut loss = Self::default();
        Self::PARTS.iter().zip(parts).for_each(|((_, part), value)| *part(&mut loss) = value);
        loss
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_the_name_and_the_place_of_its_key() {
        let parts = std::array::from_fn(|at| at as u64 * 7 + 1);
        let loss = Loss::from_parts(parts);
        assert_eq!(loss.parts(), parts);
        let named = loss.named().map(|(name, part)| format!("\"{name}\":{part}"));
        assert_eq!(serde_json::to_string(&loss).unwrap(), format!("{{{}}}", named.join(",")));
    }
}
