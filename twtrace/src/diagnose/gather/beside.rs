//! Owns: the kernel's lists, looked at beside a recording that is being made: a recording has events, and the doctor wants to know what else
//! was on the ports.
//! Must not know: files, what is made of the lists.

use std::collections::HashSet;
use std::io;

use super::extras;
use super::sampler::{Rhythm, Sampler};
use crate::diagnose::facts::kept::{self, Failed};
use crate::host::worker::Died;
use crate::model::event::{Errno, Event, Kind};
use crate::model::limitation::Limitation;
use crate::model::settings::Settings;
use crate::recording::lists::Lists;

/// Ports that bind() was refused and that are kept apart from all others, from one time that what was seen is taken to the next. And namespaces
/// in which connect() failed.
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
    /// Network namespaces in which connect() failed for want of a port. They are remembered: the look that a failure asks for may come after
    /// several takings.
    netns: HashSet<u32>,
    /// There was no room for one.
    elsewhere: bool,
    /// Ports that bind() was refused since what was seen was taken last.
    now: HashSet<(u32, u16)>,
    /// In the time before that: the look that a failure asks for comes after it, and maybe after the taking as well.
    before: HashSet<(u32, u16)>,
}

impl Failing {
    fn note(&mut self, event: &Event) {
        let Some(conn) = &event.conn else { return };
        match event.kind {
            Kind::ConnectFailed if event.errno.is_none_or(Errno::is_of_ports) => {
                if self.netns.len() < MOST_ASKED {
                    self.netns.insert(conn.netns);
                } else {
                    self.elsewhere |= !self.netns.contains(&conn.netns);
                }
            }
            Kind::BindFailed if self.now.len() < MOST_ASKED => {
                self.now.insert((conn.netns, conn.sport));
            }
            _ => {}
        }
    }

    /// Those of which it is kept now who had the ports or what was in the way. Other ports have room from then on.
    fn take(&mut self) -> Failed {
        let now = std::mem::take(&mut self.now);
        let before = std::mem::replace(&mut self.before, now.clone());
        Failed { netns: self.netns.clone(), elsewhere: self.elsewhere, ports: &now | &before }
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
        self.failing.note(event);
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
    use super::*;
    use crate::model::event::Conn;

    fn failed(kind: Kind, (netns, sport): (u32, u16), errno: Errno) -> Event {
        let any = std::net::Ipv4Addr::UNSPECIFIED.into();
        let conn = Conn { netns, ifindex: 0, saddr: any, daddr: any, sport, dport: 0 };
        Event { errno: Some(errno), ..Event::new(kind, 1, Some(conn)) }
    }

    #[test]
    fn ports_have_room_again_once_what_was_seen_is_taken() {
        let mut failing = Failing::default();
        let mut refuse =
            |netns, port| failing.note(&failed(Kind::BindFailed, (netns, port), Errno::AddrInUse));
        (0..=MOST_ASKED as u16).for_each(|port| refuse(7, port));
        let taken = failing.take().ports;
        assert_eq!((taken.len(), taken.contains(&(7, MOST_ASKED as u16))), (MOST_ASKED, false));
        // A look may come a moment later: the next time has them still, and then no more.
        failing.note(&failed(Kind::BindFailed, (8, 80), Errno::AddrInUse));
        let taken = failing.take().ports;
        assert!(taken.contains(&(8, 80)) && taken.contains(&(7, 17)));
        assert_eq!(failing.take().ports, HashSet::from([(8, 80)]));
        assert_eq!(failing.take().ports, HashSet::new());
    }

    #[test]
    fn what_was_in_the_way_is_asked_of_namespaces_in_which_connect_found_no_port() {
        let mut failing = Failing::default();
        failing.note(&failed(Kind::BindFailed, (7, 80), Errno::AddrInUse));
        failing.note(&failed(Kind::ConnectFailed, (8, 0), Errno::ConnRefused));
        failing.note(&failed(Kind::ConnectFailed, (9, 0), Errno::AddrNotAvail));
        // The look may be made after any number of takings.
        let taken = [(); 3].map(|()| failing.take());
        assert!(taken.iter().all(|taken| taken.netns == HashSet::from([9]) && !taken.elsewhere));
        let mut fail = |netns| failing.note(&failed(Kind::ConnectFailed, (netns, 0), Errno::AddrInUse));
        (9..9 + MOST_ASKED as u32).for_each(&mut fail);
        fail(10);
        assert!(!failing.take().elsewhere);
        failing.note(&failed(Kind::ConnectFailed, (1 << 20, 0), Errno::AddrInUse));
        assert_eq!((failing.take().netns.len(), failing.take().elsewhere), (MOST_ASKED, true));
    }
}
