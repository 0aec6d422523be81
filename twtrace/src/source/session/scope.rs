//! Owns: what is traced of all that the kernel side sends: it cannot decide all of a filter, and learns here what need not travel.
//! Must not know: what of it a view is told.

use crate::engine::Tracker;
use crate::host::identity::IdentityCache;
use crate::kernel::probe::Probe;
use crate::model::event::{Event, Kind};
use crate::model::filter::Filter;
use crate::model::limitation::{Limitation, What};

/// See the head of the file.
pub(super) struct Scope {
    /// What the user asked for, whatever the reasons of ends.
    filter: Filter,
    /// There is no filter: whether an event belongs need not be asked.
    is_all: bool,
    /// The cgroup of which the kernel side was told last that it is to be left out.
    left_out: Option<u64>,
    /// The cgroup of which it could not be, last: to know that takes a look at files.
    stays: Option<u64>,
    /// It was said that cgroups could not be found.
    has_said: bool,
}

impl Scope {
    pub(super) fn of(asked: &Filter) -> Self {
        let filter = Filter { reasons: Vec::new(), ..asked.clone() };
        Self { filter, is_all: asked.is_empty(), left_out: None, stays: None, has_said: false }
    }

    /// What comes from this inode is not of the network namespace that was asked for.
    pub(super) fn leave(&mut self, netns: u32) {
        self.filter.not.netns.push(netns);
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether everything passes what the user asked for.
    pub(super) fn is_all(&self) -> bool {
        self.is_all
    }

    /// Whether an event is about the part that the filter leaves. An end does not say whose it is: where that matters, it belongs if its
    /// birth did.
    pub(super) fn has(&self, event: &Event, tracker: &Tracker) -> bool {
        let known = || event.kind == Kind::Ended && tracker.knows_socket_of(event);
        self.is_all
            || ((event.kind != Kind::Ended || self.filter.only_conn()) && self.filter.passes(event))
            || known()
    }

    /// What is to be said of an event that does not belong, once: that nobody knows whether it does.
    pub(super) fn doubt(&mut self, event: &Event) -> Option<Limitation> {
        if self.has_said || !self.filter.lacks_cgroup(event) {
            return None;
        }
        self.has_said = true;
        let why = "the cgroup of a process could not be found here, or not before it was gone: what it does is left out where cgroups are asked about";
        Some(Limitation::new(What::Processes, why, "without --cgroup and --not-cgroup it is told"))
    }

    /// Where it is for its owner's cgroup that an event does not belong, the next ones need not travel.
    pub(super) fn leave_out(&mut self, event: &Event, identities: &mut IdentityCache, probe: &mut Probe) {
        let path = event.identity.as_ref().and_then(|identity| identity.cgroup.as_deref());
        let Some((owner, path)) = event.owner.as_ref().zip(path) else { return };
        let id = owner.cgroup_id;
        // Some are on their way already.
        if [self.left_out, self.stays].contains(&Some(id)) || !self.filter.leaves_out(id, path) {
            return;
        }
        if identities.is_cgroup(path, id) {
            probe.leave_out(id);
            self.left_out = Some(id);
        } else {
            self.stays = Some(id);
        }
    }
}
