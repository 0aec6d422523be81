//! Owns: facts from this machine: a trace for as long as it is wanted, and beside it the kernel's lists, again and again.
//! Must not know: what facts mean.

pub mod beside;
mod extras;
pub(crate) mod holders;
mod progress;
mod sampler;

use std::io;
use std::time::Duration;

use super::facts::samples::Samples;
use super::facts::told::Told;
use super::facts::{ConnectTimes, Facts, Source, count, join, room};
use crate::engine::{Spread, Tracker};
use crate::model::clock::{self, Clock};
use crate::model::event::Event;
use crate::model::filter::Filter;
use crate::model::limitation::{Limitation, Limitations, What};
use crate::model::ordering::Ordered as _;
use crate::source::{Flow, View};
use progress::Clear;
pub use sampler::Rhythm;
use sampler::{Sampled, Sampler};

/// How a watch goes on, and who hears of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// How long it takes at most.
    pub most: Option<Duration>,
    /// It ends as soon as the case is clear.
    pub stops_early: bool,
    /// Hears once a second how it goes: a printable line.
    pub tell: Option<fn(&str)>,
}

/// Samples at events as they come, and at the kernel's lists meanwhile.
#[derive(Debug)]
pub struct Watch {
    filter: Filter,
    pace: Pace,
    sampler: Option<Sampler>,
    clear: Clear,
    began_ns: u64,
    /// How long connect() looked for a port, by namespace.
    times: Vec<(u32, Spread)>,
    facts: Facts,
}

impl Watch {
    /// Begins to look at the lists. `nat_ports`: see [`Facts::nat_ports`].
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(filter: &Filter, nat_ports: Option<u32>, pace: Pace) -> io::Result<Self> {
        Ok(Self {
            filter: filter.clone(),
            pace,
            sampler: Some(Sampler::start(filter.netns.clone(), Rhythm::DOCTOR)?),
            clear: Clear::default(),
            began_ns: clock::mono_ns(),
            times: Vec::new(),
            facts: Facts { source: Source::Live, nat_ports, ..Facts::default() },
        })
    }

    /// All that was seen, once the trace is over.
    pub fn facts(self) -> Facts {
        self.facts
    }

    /// What was seen up to `now_ns`, without what the machine is to be asked.
    fn seen(&self, tracker: &Tracker, sampled: Option<&Sampled>, now_ns: u64) -> Facts {
        let mut facts = self.facts.clone();
        facts.observed_ms = now_ns.saturating_sub(self.began_ns) / 1_000_000;
        facts.lost = tracker.loss().events();
        let ((mut namespaces, others), told) =
            (count::namespaces(&tracker.engine), Told::of(&tracker.engine));
        if others != 0 {
            let why = format!("{others} network namespaces in which less happened than in the others");
            facts.unknown.push(why);
        }
        if let Some(sampled) = sampled {
            facts.unknown.extend(room::left_out(sampled.samples.values().map(Samples::left_out)));
            for samples in sampled.samples.values() {
                join::join_all(&mut namespaces, samples, &told);
            }
            let known = std::mem::take(&mut facts.limitations);
            let all: Limitations = known.into_iter().chain(sampled.limitations().cloned()).collect();
            facts.limitations = all.all().to_vec();
        }
        namespaces.order_by_key(|netns| netns.netns);
        for (inode, times) in &self.times {
            let netns = namespaces.iter_mut().find(|netns| netns.netns == *inode);
            netns.into_iter().for_each(|netns| netns.connect_times = ConnectTimes::of(times));
        }
        facts.namespaces = namespaces;
        facts
    }

    fn finish(&mut self, tracker: &Tracker) {
        let ended_ns = clock::mono_ns();
        let sampled = self.sampler.take().map(Sampler::stop).transpose().unwrap_or_else(|died| {
            let remedy = "report it, with what stderr says";
            self.facts.limitations.push(Limitation::new(What::Sockets, died.to_string(), remedy));
            None
        });
        self.facts = self.seen(tracker, sampled.as_ref(), ended_ns);
        extras::outside_tw_reuse(&mut self.facts.namespaces);
        super::scope::keep(&mut self.facts, &self.filter);
        self.facts.dead_settings = extras::dead_settings();
        self.facts.is_read_only = extras::is_read_only();
        match extras::slab() {
            Ok(slab) => self.facts.slab = slab,
            Err(limitation) => self.facts.limitations.push(limitation),
        }
    }

    /// Once a second: what would be said if it ended now, and whether it may.
    fn judge(&mut self, tracker: &Tracker, now_ns: u64) -> Flow {
        if !(self.pace.stops_early || self.pace.tell.is_some()) || !self.clear.is_due(now_ns) {
            return Flow::Go;
        }
        let Some(sampled) = self.sampler.as_ref().and_then(Sampler::so_far) else { return Flow::Go };
        let mut facts = self.seen(tracker, Some(&sampled), now_ns);
        drop(sampled);
        super::scope::keep(&mut facts, &self.filter);
        let findings = super::diagnose(&facts);
        let is_clear = self.clear.is_so(&findings, facts.lost, now_ns);
        if let Some(tell) = self.pace.tell {
            let watched_s = now_ns.saturating_sub(self.began_ns) as f64 / 1e9;
            let most_s = self.pace.most.map(|most| most.as_secs_f64());
            tell(&progress::line(watched_s, most_s, &tracker.engine, &findings));
        }
        self.facts.stopped_early = is_clear && self.pace.stops_early;
        if self.facts.stopped_early { Flow::Stop } else { Flow::Go }
    }
}

impl View for Watch {
    fn attached(&mut self, backend: &'static str) {
        self.facts.backend = backend.to_owned();
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.facts.limitations = limitations.to_vec();
    }

    fn begin(&mut self, clock: Clock) -> io::Result<()> {
        self.began_ns = clock.mono_ns;
        Ok(())
    }

    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.keep_failures();
    }

    fn event(&mut self, event: &Event) -> io::Result<Flow> {
        if let Some(sampler) = &mut self.sampler {
            sampler.event(event);
        }
        Ok(Flow::Go)
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> io::Result<Flow> {
        if let Some(sampler) = self.sampler.take_if(|sampler| sampler.check().is_err()) {
            return Err(sampler.died().into());
        }
        Ok(self.judge(tracker, now_ns))
    }

    fn timed(&mut self, times: Vec<(u32, Spread)>) {
        self.times = times;
    }

    fn ended(&mut self, tracker: &Tracker) {
        self.finish(tracker);
    }
}
