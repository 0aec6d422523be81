//! Owns: a listing that is being made: what it has shown, what it has cost, what could not be listed.
//! Must not know: when the next namespace is asked, whether it is the one that is meant.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::{Reply, Span, seed};
use crate::host::net;
use crate::host::net::netns::{Each, Netns, cookie_here};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::model::clock;
use crate::model::event::Role;
use crate::model::limitation::{Gathered, Limitation, Limitations, What};

/// What was said of earlier listings: of single namespaces, and that none could be asked. One does not stand for the other.
#[derive(Debug, Default)]
pub(super) struct Said {
    of_some: Limitations,
    of_all: Limitations,
}

/// A listing that is being made.
pub(super) struct Listing {
    began_ns: u64,
    pub(super) began: Instant,
    /// Every namespace that can be reached.
    pub(super) reached: HashSet<u32>,
    /// Namespaces with sockets that were not listed yet.
    pub(super) left: VecDeque<Netns>,
    /// Those that a way no longer led to; `None` once other ways were looked for.
    astray: Option<Vec<u32>>,
    limitations: Gathered,
    /// None could be asked.
    of_all: Option<Limitation>,
    /// For a reason that may pass.
    is_incomplete: bool,
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
            astray: Some(Vec::new()),
            limitations: Gathered::default(),
            of_all: None,
            is_incomplete: false,
            cost_ns: 0,
        }
    }

    /// CLOCK_MONOTONIC in nanoseconds when it began, and now.
    pub(super) fn span(&self) -> Span {
        Span { began_ns: self.began_ns, ended_ns: clock::mono_ns() }
    }

    /// A namespace could not be asked.
    pub(super) fn fail(&mut self, netns: u32, error: &net::Error) {
        match error {
            net::Error::Gone { .. } => self.astray.iter_mut().for_each(|astray| astray.push(netns)),
            _ => {
                self.is_incomplete |= error.may_pass();
                self.limitations.add_of(netns, What::Namespaces, error, &error.remedy());
            }
        }
    }

    /// What each namespace said; nothing where none could be asked.
    pub(super) fn asked<T>(&mut self, all: Result<Each<T>, net::Error>) -> Each<T> {
        all.unwrap_or_else(|error| {
            self.fail_all(&error);
            Vec::new()
        })
    }

    fn fail_all(&mut self, error: &net::Error) {
        self.is_incomplete |= error.may_pass();
        let why = format!("at one time none could be asked: {error}");
        self.of_all = Some(Limitation::new(What::Namespaces, why, error.remedy()));
    }

    /// The next namespace to be listed. A way in ends with its process, where the namespace may live on: at the end, other ways to those are
    /// looked for, once, which is a look at every process. Where there is none, a namespace is gone, and took its sockets along.
    pub(super) fn next(&mut self, other_ways: impl FnOnce(&[u32]) -> Vec<Netns>) -> Option<Netns> {
        if self.left.is_empty()
            && let Some(astray) = self.astray.take_if(|astray| !astray.is_empty())
        {
            let ways = billed(&mut self.cost_ns, || other_ways(&astray));
            self.left.extend(ways);
            let found: HashSet<u32> = self.left.iter().map(|netns| netns.inode).collect();
            self.reached.retain(|inode| found.contains(inode) || !astray.contains(inode));
        }
        self.left.pop_front()
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
        let served: HashSet<u16> = sockdiag::listening_ports(&found.sockets);
        let role =
            |socket: &DiagSocket| if served.contains(&socket.sport) { Role::Server } else { Role::Unknown };
        let waiting = found.sockets.iter().filter(|socket| socket.is_time_wait());
        let seeds = waiting.map(|socket| seed(socket, netns.inode, role(socket), span.began_ns)).collect();
        Reply::Namespaces { netns: vec![netns.inode], span, seeds }
    }

    /// What is as it was said of an earlier listing is not said again.
    pub(super) fn end(self, said: &mut Said) -> Reply {
        let span = self.span();
        let Self { reached, cost_ns, is_incomplete, .. } = self;
        let mut limitations = self.limitations.told();
        limitations.retain(|limitation| said.of_some.add_first(limitation.clone()));
        limitations.extend(self.of_all.filter(|limitation| said.of_all.add_first(limitation.clone())));
        Reply::Listed { span, cost_ns, reached, is_incomplete, limitations }
    }
}

/// Adds the processor time of the calling thread that `work` takes, in nanoseconds; what the kernel does meanwhile is in it.
fn billed<T>(cost_ns: &mut u64, work: impl FnOnce() -> T) -> T {
    let began_ns = clock::thread_ns();
    let done = work();
    *cost_ns += clock::thread_ns().saturating_sub(began_ns);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netns(inode: u32, path: &str) -> Netns {
        Netns { inode, name: None, path: path.into() }
    }

    /// Whether it is incomplete, and what is said.
    fn end(listing: Listing, said: &mut Said) -> (bool, Vec<Limitation>) {
        match listing.end(said) {
            Reply::Listed { is_incomplete, limitations, .. } => (is_incomplete, limitations),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_namespace_whose_way_in_has_ended_is_listed_by_another_one_and_else_is_gone() {
        let mut listing = Listing::new();
        listing.reached = [7, 8, 9].into();
        listing.left = [netns(7, "/proc/17/ns/net")].into();
        let gone = |inode| net::Error::Gone { inode, path: "/proc/19/ns/net".into() };
        listing.fail(8, &gone(8));
        listing.fail(9, &gone(9));
        let other = netns(9, "/run/netns/nine");
        let none = |_: &[u32]| -> Vec<Netns> { panic!("not yet, or not again") };
        assert_eq!(listing.next(none).map(|netns| netns.inode), Some(7));
        let found = listing.next(|astray| {
            assert_eq!(astray, [8, 9]);
            vec![other.clone()]
        });
        assert_eq!(found, Some(other));
        assert_eq!(listing.reached, [7, 9].into());
        listing.fail(9, &gone(9));
        assert_eq!(listing.next(none), None);
        assert_eq!(end(listing, &mut Said::default()), (false, vec![]));
    }

    fn io(errno: i32) -> net::Error {
        let source = std::io::Error::from_raw_os_error(errno);
        net::Error::Io { what: "starting a thread".to_owned(), source }
    }

    #[test]
    fn where_none_can_be_asked_that_is_said_once_though_the_like_was_said_of_one() {
        let mut said = Said::default();
        for (of_all, want) in [(false, 1), (true, 1), (true, 0), (false, 0)] {
            let mut listing = Listing::new();
            if of_all {
                listing.fail_all(&io(libc::EAGAIN));
            } else {
                listing.fail(7, &io(libc::EAGAIN));
            }
            let (is_incomplete, told) = end(listing, &mut said);
            assert!(is_incomplete && told.len() == want, "{told:?}");
            for limitation in told {
                let text = limitation.to_string();
                assert!(text.contains("starting a thread") && text.contains("pids.max"), "{text}");
                assert_eq!(text.contains("none could be asked"), of_all, "{text}");
            }
        }
    }

    #[test]
    fn looking_for_other_ways_is_on_the_bill() {
        let mut listing = Listing::new();
        listing.fail(7, &net::Error::Gone { inode: 7, path: "/proc/17/ns/net".into() });
        assert_eq!(listing.cost_ns, 0);
        let first = listing.next(|_| {
            let began_ns = clock::thread_ns();
            while clock::thread_ns() == began_ns {}
            Vec::new()
        });
        assert!(first.is_none() && listing.cost_ns != 0);
    }

    #[test]
    fn what_will_not_pass_is_not_waited_for() {
        let path = || "/proc/17/ns/net".into();
        for (error, want) in [
            (net::Error::NoPermission { inode: 7, path: path() }, false),
            (net::Error::Gone { inode: 7, path: path() }, false),
            (net::Error::Replaced { inode: 7 }, false),
            (net::Error::Malformed { what: "an answer".into(), why: "it is empty".into() }, false),
            (io(libc::ENOMEM), true),
        ] {
            let mut listing = Listing::new();
            listing.fail(7, &error);
            assert_eq!(end(listing, &mut Said::default()).0, want, "{error}");
        }
    }
}
