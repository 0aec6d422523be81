//! Owns: what this process may not look at, and how a trace and its view are told.
//! Must not know: hooks, what a view does with it.

use super::Options;
use super::engine::Engine;
use crate::host::caps::{self, Cap, Caps};
use crate::host::identity::{cgroup_limitations, pids};
use crate::host::net::netns::own_inode;
use crate::host::sandbox::{self, Needs};
use crate::kernel::probe::Cannot;
use crate::model::filter::Filter;
use crate::model::limitation::{Limitation, What};
use crate::source::View;

/// Whether what `filter` asks for means here what the kernel side takes it for.
///
/// # Errors
/// If pids here are not those of the kernel, and it asks for some.
pub fn permit(filter: &Filter) -> Result<(), Cannot> {
    let flag = match (filter.pids.is_empty(), filter.not.pids.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => "--not-pid",
        (false, _) => "--pid",
    };
    if pids::are_the_kernels() { Ok(()) } else { Err(Cannot::Pids { flag }) }
}

impl Engine<'_> {
    /// Says what cannot be seen, and to who asks for it, what tells the events: where all is well nothing is said.
    pub(super) fn introduce(&mut self) {
        let Options { verbose, filter, .. } = self.options;
        if *verbose {
            let fallbacks = self.probe.fallbacks().iter().filter(|fallback| fallback.without.is_none());
            fallbacks.for_each(|fallback| crate::note!("twtrace: {fallback}"));
            crate::note!("twtrace: tracing with the {} backend", self.probe.backend());
        }
        let of_processes = pids::limitations().into_iter().chain(cgroup_limitations());
        let of_hooks = self.probe.limitations();
        self.limit(of_hooks.into_iter().chain(of_processes).chain(namespaces(&filter.netns)));
    }

    /// Gives up what neither the trace nor its view needs from now on.
    pub(super) fn give_up_power(&mut self, view: &mut dyn View) {
        if !self.options.sandbox {
            return;
        }
        let namespaces = wants_others(&self.options.filter.netns);
        let needs = Needs { namespaces, unix: self.options.runtimes.is_some(), ..view.needs() };
        let lacks = sandbox::enter(&needs, || self.probe.can_be_read());
        self.limit(lacks.into_iter().map(Limitation::from));
        self.tell_limitations(view);
    }

    /// Adds what cannot be seen, and says what is new of it.
    pub(super) fn limit(&mut self, more: impl IntoIterator<Item = Limitation>) {
        let known = self.limitations.all().len();
        for limitation in more {
            self.limitations.add(limitation);
        }
        let new = self.limitations.all()[known..].iter();
        let matters = new.filter(|limitation| self.options.verbose || !limitation.what.is_usual());
        matters.for_each(|limitation| crate::note!("twtrace: {limitation}"));
    }

    /// Tells the view, where there is more than it has heard.
    pub(super) fn tell_limitations(&mut self, view: &mut dyn View) {
        let all = self.limitations.all();
        if all.len() > self.limitations_told {
            self.limitations_told = all.len();
            view.limited(all);
        }
    }
}

/// Whether `only` (all, where empty) has other network namespaces than that of this process.
fn wants_others(only: &[u32]) -> bool {
    let is_own = |netns: &u32| own_inode().is_ok_and(|own| own == *netns);
    only.is_empty() || !only.iter().all(is_own)
}

/// What keeps this process out of network namespaces, where `only` has other ones than its own.
fn namespaces(only: &[u32]) -> Option<Limitation> {
    if wants_others(only) { of(Caps::own()) } else { None }
}

fn of(caps: Caps) -> Option<Limitation> {
    let missing = caps.missing(&[Cap::SysAdmin, Cap::SysPtrace]);
    let why = format!(
        "{} missing: network namespaces of other users' processes cannot be entered",
        caps::list(&missing)
    );
    (!missing.is_empty()).then(|| Limitation::new(What::Namespaces, why, caps.remedy(&missing)))
}
