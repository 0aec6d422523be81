//! Owns: how many events of each kind there were.
//! Must not know: over what they are counted.

use crate::model::event::{Kind, Loss, Reason};

/// Counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TIME_WAIT sockets made.
    pub created: u64,
    /// TIME_WAIT sockets gone, by [`Reason`] in the order of `Reason::ALL`.
    pub ended_by: [u64; Reason::ALL.len()],
    /// TIME_WAIT sockets that were there before, or that were heard of when they ended. `created + listed - ended()` live.
    pub listed: u64,
    /// TIME_WAIT sockets refused.
    pub overflow: u64,
    /// connect() failures.
    pub connect_failed: u64,
    /// bind() and listen() failures.
    pub bind_failed: u64,
    /// Connections that this host ended with an RST.
    pub aborted: u64,
    /// SYNs that met a TIME_WAIT socket and were not taken.
    pub syn_refused: u64,
    /// What was lost.
    pub loss: Loss,
}

/// Calls that failed for another reason than ports; [`Counts`] has them among those that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Otherwise {
    /// Of connect().
    pub connect: u64,
    /// Of bind() and listen().
    pub bind: u64,
}

impl Otherwise {
    /// Adds all of another one.
    pub fn take_over(&mut self, other: &Self) {
        self.connect += other.connect;
        self.bind += other.bind;
    }
}

impl Counts {
    /// Counts one event. What was lost is another matter.
    #[inline]
    pub fn add(&mut self, kind: Kind, reason: Option<Reason>) {
        match kind {
            Kind::Created => self.created += 1,
            Kind::Ended => self.ended_by[reason.unwrap_or(Reason::Unknown) as usize] += 1,
            Kind::Listed => self.listed += 1,
            Kind::Overflow => self.overflow += 1,
            Kind::ConnectFailed => self.connect_failed += 1,
            Kind::BindFailed => self.bind_failed += 1,
            Kind::Aborted => self.aborted += 1,
            Kind::SynRefused => self.syn_refused += 1,
            Kind::Lost => {}
        }
    }

    /// Adds all of another one.
    pub fn take_over(&mut self, other: &Self) {
        self.created += other.created;
        self.listed += other.listed;
        self.ended_by.iter_mut().zip(other.ended_by).for_each(|(sum, part)| *sum += part);
        self.overflow += other.overflow;
        self.connect_failed += other.connect_failed;
        self.bind_failed += other.bind_failed;
        self.aborted += other.aborted;
        self.syn_refused += other.syn_refused;
        self.loss = self.loss.and(&other.loss);
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut ended_by = self.ended_by;
        ended_by.iter_mut().zip(earlier.ended_by).for_each(|(now, then)| *now = now.saturating_sub(then));
        Self {
            created: self.created.saturating_sub(earlier.created),
            ended_by,
            listed: self.listed.saturating_sub(earlier.listed),
            overflow: self.overflow.saturating_sub(earlier.overflow),
            connect_failed: self.connect_failed.saturating_sub(earlier.connect_failed),
            bind_failed: self.bind_failed.saturating_sub(earlier.bind_failed),
            aborted: self.aborted.saturating_sub(earlier.aborted),
            syn_refused: self.syn_refused.saturating_sub(earlier.syn_refused),
            loss: self.loss.since(&earlier.loss),
        }
    }

    /// TIME_WAIT sockets gone, for whatever reason.
    pub fn ended(&self) -> u64 {
        self.ended_by.iter().sum()
    }

    /// TIME_WAIT sockets gone for one reason.
    pub fn ended_for(&self, reason: Reason) -> u64 {
        self.ended_by[reason as usize]
    }

    /// How many went for each reason that there was.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.iter().map(|reason| (*reason, self.ended_for(*reason)));
        all.filter(|(_, count)| *count != 0)
    }

    /// Failures in words. What is rare is named where it happened.
    pub fn failed(&self) -> String {
        let Self { overflow, connect_failed, bind_failed, aborted, syn_refused, .. } = self;
        let mut text =
            format!("overflow {overflow}, connect_failed {connect_failed}, bind_failed {bind_failed}");
        for (name, count) in [("aborted", aborted), ("syn_refused", syn_refused)] {
            if *count != 0 {
                text += &format!(", {name} {count}");
            }
        }
        text
    }

    /// What happened: events of all kinds, `listed` and `lost` left out.
    pub fn events(&self) -> u64 {
        self.created
            + self.ended()
            + self.overflow
            + self.connect_failed
            + self.bind_failed
            + self.aborted
            + self.syn_refused
    }
}
