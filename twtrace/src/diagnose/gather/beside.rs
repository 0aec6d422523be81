//! Owns: the kernel's lists, looked at beside a recording that is being made: a recording has events, and the doctor wants to know what else
//! was on the ports.
//! Must not know: files, what is made of the lists.

use std::io;

use super::extras;
use super::sampler::{Rhythm, Sampler};
use crate::diagnose::facts::kept::{self, Failed};
use crate::host::worker::Died;
use crate::model::event::{Conn, Event, Kind};
use crate::model::limitation::Limitation;
use crate::model::settings::Settings;
use crate::recording::lists::Lists;

/// Ports that bind() was refused and that are kept apart from all others, from one time that what was seen is taken to the next.
const MOST_ASKED: usize = 1024;

/// A thread that looks, and what it is to look at.
#[derive(Debug)]
pub struct Beside {
    sampler: Sampler,
    failing: Failing,
    own_tw_reuse: Option<u32>,
}

/// Calls that failed.
#[derive(Debug, Default)]
struct Failing {
    /// Since what was seen was taken last.
    now: Failed,
    /// In the time before that: the look that a failure asks for comes after it, and maybe after the taking as well.
    before: Failed,
}

impl Failing {
    fn note(&mut self, kind: Kind, conn: &Conn) {
        let Failed { netns, ports } = &mut self.now;
        netns.insert(conn.netns);
        if kind == Kind::BindFailed && ports.len() < MOST_ASKED {
            ports.insert((conn.netns, conn.sport));
        }
    }

    /// Those of which it is kept now who had them. Others have room from then on.
    fn take(&mut self) -> Failed {
        let now = std::mem::take(&mut self.now);
        let before = std::mem::replace(&mut self.before, now.clone());
        Failed { netns: &now.netns | &before.netns, ports: &now.ports | &before.ports }
    }
}

impl Beside {
    /// Begins to look, at every namespace or at those in `only` where there are any.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(only: Vec<u32>, rhythm: Rhythm) -> io::Result<Self> {
        let sampler = Sampler::start(only, rhythm)?;
        Ok(Self { sampler, failing: Failing::default(), own_tw_reuse: extras::own_tw_reuse() })
    }

    /// A call that failed is looked into at once, while what was in its way is still there.
    pub fn event(&mut self, event: &Event) {
        if let (Kind::BindFailed | Kind::ConnectFailed, Some(conn)) = (event.kind, &event.conn) {
            self.failing.note(event.kind, conn);
        }
        self.sampler.event(event);
    }

    /// What was seen since the beginning, or since it was taken last, and what namespaces were set to when they were looked at last in that
    /// time. The kernel is not asked.
    pub fn take(&mut self) -> (Lists, Vec<(u32, Settings)>) {
        let samples = self.sampler.take();
        let lists = kept::keep(&samples, &self.failing.take(), self.own_tw_reuse);
        (lists, samples.into_values().filter_map(|samples| samples.settings()).collect())
    }

    /// What namespaces were set to when they were looked at last, since what was seen was taken last. The kernel is not asked.
    pub fn settings(&self) -> Vec<(u32, Settings)> {
        self.sampler.settings()
    }

    /// Whether the thread goes on that looks: only [`Self::end`] ends it.
    ///
    /// # Errors
    /// If it has died.
    pub fn check(&self) -> Result<(), Died> {
        self.sampler.check()
    }

    /// Why it died, which [`Self::check`] says it has.
    pub fn died(self) -> Died {
        self.sampler.died()
    }

    /// Says that the end is near, which nobody waits for yet: it looks once more.
    pub fn end(&mut self) {
        let _until = self.sampler.end();
    }

    /// Looks once more, and ends: what was seen, and what could not be.
    ///
    /// # Errors
    /// If the thread that looks died.
    pub fn stop(self) -> Result<(Lists, Vec<Limitation>), Died> {
        let Self { sampler, mut failing, own_tw_reuse } = self;
        let sampled = sampler.stop()?;
        let mut limitations: Vec<Limitation> = sampled.limitations().cloned().collect();
        let mut lists = kept::keep(&sampled.samples, &failing.take(), own_tw_reuse);
        let dead = extras::dead_settings().into_iter();
        lists.dead_settings = dead.map(|dead| (dead.path, dead.name, dead.value)).collect();
        match extras::slab() {
            Ok(slab) => lists.slab = slab.map(|slab| (slab.object_bytes, slab.bytes)),
            Err(limitation) => limitations.push(limitation),
        }
        Ok((lists, limitations))
    }
}

#[cfg(test)]
impl Beside {
    /// One whose thread has died, or is about to.
    pub fn dead() -> Self {
        Self { sampler: Sampler::dead(), failing: Failing::default(), own_tw_reuse: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn ports_have_room_again_once_what_was_seen_is_taken() {
        let mut failing = Failing::default();
        let conn = |netns, sport| {
            let any = Ipv4Addr::UNSPECIFIED.into();
            Conn { netns, ifindex: 0, saddr: any, daddr: any, sport, dport: 0 }
        };
        for port in 0..=MOST_ASKED as u16 {
            failing.note(Kind::BindFailed, &conn(7, port));
        }
        let taken = failing.take().ports;
        assert_eq!((taken.len(), taken.contains(&(7, MOST_ASKED as u16))), (MOST_ASKED, false));
        // A look may come a moment later: the next time has them still, and then no more.
        failing.note(Kind::BindFailed, &conn(8, 80));
        failing.note(Kind::ConnectFailed, &conn(9, 0));
        let Failed { netns, ports } = failing.take();
        assert!(ports.contains(&(8, 80)) && ports.contains(&(7, 17)) && !ports.contains(&(9, 0)));
        assert_eq!(netns, HashSet::from([7, 8, 9]));
        let Failed { netns, ports } = failing.take();
        assert_eq!((netns, ports), (HashSet::from([8, 9]), HashSet::from([(8, 80)])));
        let Failed { netns, ports } = failing.take();
        assert!(netns.is_empty() && ports.is_empty());
    }
}
