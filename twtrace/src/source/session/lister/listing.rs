//! Owns: a listing that is being made: what it has shown, what it has cost, what could not be listed.
//! Must not know: when the next namespace is asked, whether it is the one that is meant.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::{Reply, Span, seed};
use crate::host::net;
use crate::host::net::netns::{Netns, cookie_here};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::model::clock;
use crate::model::event::Role;
use crate::model::limitation::{Gathered, Limitations, What};

/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: u8 = 10;

/// A listing that is being made.
pub(super) struct Listing {
    began_ns: u64,
    pub(super) began: Instant,
    /// Every namespace that can be reached.
    pub(super) reached: HashSet<u32>,
    /// Namespaces with sockets that were not listed yet.
    pub(super) left: VecDeque<Netns>,
    limitations: Gathered,
    /// Processor time that it has taken so far, in nanoseconds.
    pub(super) cost_ns: u64,
}

impl Listing {
    /// One that begins now.
    pub(super) fn new() -> Self {
        Self {
            began_ns: clock::mono_ns(),
            began: Instant::now(),
            reached: HashSet::new(),
            left: VecDeque::new(),
            limitations: Gathered::default(),
            cost_ns: 0,
        }
    }

    /// CLOCK_MONOTONIC in nanoseconds when it began, and now.
    pub(super) fn span(&self) -> Span {
        Span { began_ns: self.began_ns, ended_ns: clock::mono_ns() }
    }

    /// A namespace could not be asked.
    pub(super) fn fail(&mut self, netns: u32, error: &net::Error) {
        // One that went away took its sockets along.
        if !matches!(error, net::Error::Gone { .. }) {
            self.limitations.add_of(netns, What::Namespaces, error, &error.remedy());
        }
    }

    /// All that lives in a namespace, and whose it is: see [`cookie_here`].
    pub(super) fn dump(&mut self, netns: &Netns) -> Option<(Option<u64>, Reply)> {
        let (began_ns, mut cost_ns) = (clock::mono_ns(), 0);
        // Whichever thread that is.
        let asked = netns.within(|| {
            let states = States::TIME_WAIT_OR_FIN_WAIT2.or(States::LISTEN);
            let (cookie, listed) = billed(&mut cost_ns, || (cookie_here(), sockdiag::tcp(netns, states)));
            Ok((cookie, listed?))
        });
        let span = Span { began_ns, ended_ns: clock::mono_ns() };
        let reply = billed(&mut cost_ns, || match asked.unwrap_or_else(Err) {
            Ok((cookie, found)) => Some((cookie, self.reply(netns, span, &found))),
            Err(error) => {
                self.fail(netns.inode, &error);
                None
            }
        });
        self.cost_ns += cost_ns;
        reply
    }

    fn reply(&mut self, netns: &Netns, span: Span, found: &sockdiag::Listing) -> Reply {
        if let Some(degraded) = &found.degraded {
            self.limitations.add_of(netns.inode, What::Sockets, degraded, degraded.remedy());
        }
        let listening = found.sockets.iter().filter(|socket| socket.state == LISTEN);
        let served: HashSet<u16> = listening.map(|socket| socket.sport).collect();
        let role =
            |socket: &DiagSocket| if served.contains(&socket.sport) { Role::Server } else { Role::Unknown };
        let waiting = found.sockets.iter().filter(|socket| socket.is_time_wait());
        let seeds = waiting.map(|socket| seed(socket, netns.inode, role(socket), span.began_ns)).collect();
        Reply::Namespaces { netns: vec![netns.inode], span, seeds }
    }

    /// What is as it was said of an earlier listing is not said again.
    pub(super) fn end(self, said: &mut Limitations) -> Reply {
        let span = self.span();
        let mut limitations = self.limitations.told();
        limitations.retain(|limitation| said.add_first(limitation.clone()));
        Reply::Listed { span, cost_ns: self.cost_ns, reached: self.reached, limitations }
    }
}

/// Adds the processor time of the calling thread that `work` takes, in nanoseconds; what the kernel does meanwhile is in it.
fn billed<T>(cost_ns: &mut u64, work: impl FnOnce() -> T) -> T {
    let began_ns = clock::thread_ns();
    let done = work();
    *cost_ns += clock::thread_ns().saturating_sub(began_ns);
    done
}
