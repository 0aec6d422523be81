//! Owns: the kernel's lists, looked at beside a recording that is being made: a recording has events, and the doctor wants to know what else
//! was on the ports.
//! Must not know: files, what is made of the lists.

use std::collections::HashSet;
use std::io;

use super::extras;
use super::sampler::{Rhythm, Sampler};
use crate::diagnose::facts::kept;
use crate::model::event::{Event, Kind};
use crate::model::limitation::Limitation;
use crate::recording::lists::Lists;

/// Ports that bind() was refused and that are kept apart from all others.
const MOST_ASKED: usize = 1024;

/// A thread that looks, and what it is to look at.
#[derive(Debug)]
pub struct Beside {
    sampler: Sampler,
    /// Ports that bind() was refused, by namespace.
    not_bound: HashSet<(u32, u16)>,
    own_tw_reuse: Option<u32>,
}

impl Beside {
    /// Begins to look, at every namespace or at those in `only` where there are any.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(only: Vec<u32>, rhythm: Rhythm) -> io::Result<Self> {
        let sampler = Sampler::start(only, rhythm)?;
        Ok(Self { sampler, not_bound: HashSet::new(), own_tw_reuse: extras::own_tw_reuse() })
    }

    /// A call that failed is looked into at once, while what was in its way is still there.
    pub fn event(&mut self, event: &Event) {
        if let (Kind::BindFailed, Some(conn)) = (event.kind, &event.conn)
            && self.not_bound.len() < MOST_ASKED
        {
            self.not_bound.insert((conn.netns, conn.sport));
        }
        self.sampler.event(event);
    }

    /// What was seen since the beginning, or since it was taken last. The kernel is not asked.
    pub fn take(&mut self) -> Lists {
        kept::keep(&self.sampler.take(), &self.not_bound, self.own_tw_reuse)
    }

    /// Looks once more, and ends: what was seen, and what could not be.
    pub fn stop(self) -> (Lists, Vec<Limitation>) {
        let Self { sampler, not_bound, own_tw_reuse, .. } = self;
        let sampled = sampler.stop();
        let mut limitations: Vec<Limitation> = sampled.limitations().cloned().collect();
        let mut lists = kept::keep(&sampled.samples, &not_bound, own_tw_reuse);
        let dead = extras::dead_settings().into_iter();
        lists.dead_settings = dead.map(|dead| (dead.path, dead.name, dead.value)).collect();
        match extras::slab() {
            Ok(slab) => lists.slab = slab.map(|slab| (slab.object_bytes, slab.bytes)),
            Err(limitation) => limitations.push(limitation),
        }
        (lists, limitations)
    }
}
