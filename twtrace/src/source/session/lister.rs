//! Owns: a thread that asks the kernel about network namespaces: which there are, what lives in them, whether single sockets are still
//! there, what their books say.
//! Must not know: the tracker, when to ask.
//!
//! A list of one namespace's sockets walks the hash table of the whole machine, so only those are listed that have TIME_WAIT sockets; and
//! once the first ones are through, no more than a share of the processor's time goes into it. Questions that come meanwhile are answered in
//! between.

mod messages;
mod ways;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use crate::engine::Seed;
use crate::host::net;
use crate::host::net::books::{Books, snapshot_all, time_waits};
use crate::host::net::netns::{Each, Netns, discover};
use crate::host::net::sockdiag::{self, DiagSocket, Presence, States};
use crate::host::worker::{Closed, Replies, Requests, Worker};
use crate::model::clock;
use crate::model::event::Role;
use crate::model::limitation::{Gathered, Limitations, What};

use ways::Ways;

pub(super) use messages::{Asked, Found, Read, Reply, Request, Span};

/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: u8 = 10;
/// How long a listing may go on without a pause.
const AT_ONCE: Duration = Duration::from_millis(500);
/// After that: pauses, by the processor time that the step before took. On a machine that is busy with other things a step takes long and
/// costs no more.
const PAUSE_FACTOR: u32 = 4;

/// The thread, from the engine's side.
pub(super) type Lister = Worker<Request, Reply>;

/// Starts it.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start() -> io::Result<Lister> {
    Worker::start("lister", |requests, replies| {
        Thread {
            requests,
            replies,
            ways: Ways::default(),
            is_open: false,
            waiting: VecDeque::new(),
            said: Limitations::default(),
        }
        .run()
    })
}

/// The ports that somebody listens on, with their namespaces. What cannot be listed will be said of the first listing.
pub(super) fn listeners(only: &[u32]) -> Vec<(u32, u16)> {
    let mut all = discover();
    all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let in_use = net::books::in_use(&all).unwrap_or_default();
    let mut found = Vec::new();
    let began = Instant::now();
    for (netns, (_, in_use)) in all.iter().zip(in_use) {
        if began.elapsed() < AT_ONCE
            && in_use.is_ok_and(|count| count != 0)
            && let Ok(listing) = sockdiag::listeners(netns)
        {
            found.extend(listing.sockets.iter().map(|socket| (netns.inode, socket.sport)));
        }
    }
    found
}

/// A listing that is being made.
struct Listing {
    began_ns: u64,
    began: Instant,
    reached: HashSet<u32>,
    /// Namespaces with sockets that were not listed yet.
    left: VecDeque<Netns>,
    limitations: Gathered,
    /// Processor time that it has taken so far, in nanoseconds.
    cost_ns: u64,
}

struct Thread<'a> {
    requests: &'a Requests<Request>,
    replies: &'a Replies<Reply>,
    ways: Ways,
    /// The books of all were told.
    is_open: bool,
    /// Listings that are asked for while one is being made.
    waiting: VecDeque<Vec<u32>>,
    /// What could not be listed, as was said already.
    said: Limitations,
}

impl Thread<'_> {
    fn run(&mut self) {
        while let Some(request) = self.requests.next() {
            if self.answer(request).is_err() {
                return;
            }
            while let Some(only) = self.waiting.pop_front() {
                if self.list(&only).is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<(), Closed> {
        let reply = match request {
            Request::List { only } => {
                self.waiting.push_back(only);
                return Ok(());
            }
            Request::LookUp { sockets } => self.look_up(sockets),
            Request::Check { netns } => {
                let began_ns = clock::mono_ns();
                let books = self.check(&netns);
                Reply::Checked { span: Span { began_ns, ended_ns: clock::mono_ns() }, books }
            }
            Request::Books { only } => Reply::Books { books: books(&only) },
        };
        self.say(reply)
    }

    fn say(&self, reply: Reply) -> Result<(), Closed> {
        if self.replies.send(reply) { Ok(()) } else { Err(Closed) }
    }

    /// Books of those of the namespaces that there is a way into. One may have ended with its process, where the namespace lives on.
    fn check(&mut self, netns: &[u32]) -> Vec<Read> {
        let ways = self.ways.to(netns);
        let mut all = snapshot_all(&ways).unwrap_or_default();
        let failed: Vec<u32> =
            all.iter().filter(|(_, books)| books.is_err()).map(|(inode, _)| *inode).collect();
        if !failed.is_empty() {
            let ways = self.ways.anew(&failed);
            all.extend(snapshot_all(&ways).unwrap_or_default());
        }
        read(all)
    }

    fn look_up(&mut self, sockets: Vec<Asked>) -> Reply {
        let began_ns = clock::mono_ns();
        let mut by_netns: HashMap<u32, Vec<Asked>> = HashMap::new();
        for asked in sockets {
            by_netns.entry(asked.0.netns).or_default().push(asked);
        }
        let mut found = Vec::new();
        for (inode, asked) in by_netns {
            let now_ns = clock::mono_ns();
            let answers =
                self.ways.to(&[inode]).pop().and_then(|netns| sockdiag::look_up(&netns, &asked).ok());
            if answers.is_none() {
                self.ways.lose(inode);
            }
            let answers = answers.unwrap_or_else(|| vec![Presence::Unknown; asked.len()]);
            found.extend(asked.into_iter().zip(answers).map(|(asked, presence)| {
                let found = match presence {
                    Presence::There(socket) => Found::There(seed(&socket, inode, Role::Unknown, now_ns)),
                    Presence::Gone => Found::Gone,
                    Presence::Unknown => Found::Unknown,
                };
                (asked, found)
            }));
        }
        Reply::LookedUp { span: Span { began_ns, ended_ns: clock::mono_ns() }, found }
    }

    /// Makes a listing, and answers other questions in between.
    fn list(&mut self, only: &[u32]) -> Result<(), Closed> {
        let mut listing = self.begin(only)?;
        while let Some(netns) = listing.left.pop_front() {
            let cost_ns = listing.cost_ns;
            if let Some(reply) = listing.dump(&netns) {
                self.say(reply)?;
            }
            let pause = if listing.began.elapsed() < AT_ONCE {
                Duration::ZERO
            } else {
                Duration::from_nanos(listing.cost_ns - cost_ns) * PAUSE_FACTOR
            };
            let until = Instant::now() + pause;
            // Only questions that can be answered at once come through here; listings wait.
            while let Some(request) =
                self.requests.next_within(until.saturating_duration_since(Instant::now()))?
            {
                self.answer(request)?;
            }
        }
        let complete = listing.end(&mut self.said);
        self.say(complete)
    }

    /// Tells the books of all; how many TIME_WAIT sockets each has.
    fn open(&self, all: &[Netns]) -> Result<Each<u64>, Closed> {
        let began_ns = clock::mono_ns();
        let books = snapshot_all(all).unwrap_or_default();
        let span = Span { began_ns, ended_ns: clock::mono_ns() };
        let (mut counts, mut read) = (Vec::new(), Vec::new());
        for (netns, books) in books {
            counts.push((
                netns,
                books.map(|(read_ns, books)| {
                    read.push((netns, read_ns, books));
                    books.sockstat_tw
                }),
            ));
        }
        self.say(Reply::Opened { span, books: read })?;
        Ok(counts)
    }

    /// Which namespaces are to be listed. Those that have no TIME_WAIT sockets are told at once.
    fn begin(&mut self, only: &[u32]) -> Result<Listing, Closed> {
        let (began_ns, began, thread_ns) = (clock::mono_ns(), Instant::now(), clock::thread_ns());
        let mut all = discover();
        let reached = all.iter().map(|netns| netns.inode).collect();
        self.ways.set(&all);
        all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
        let counts = if std::mem::replace(&mut self.is_open, true) {
            time_waits(&all).unwrap_or_default()
        } else {
            self.open(&all)?
        };
        let (mut left, mut empty) = (VecDeque::new(), Vec::new());
        let mut listing = Listing {
            began_ns,
            began,
            reached,
            left: VecDeque::new(),
            limitations: Gathered::default(),
            cost_ns: 0,
        };
        for (netns, (_, count)) in all.into_iter().zip(counts) {
            match count {
                Ok(0) => empty.push(netns.inode),
                Ok(_) => left.push_back(netns),
                Err(error) => listing.fail(netns.inode, &error),
            }
        }
        listing.left = left;
        listing.cost_ns = clock::thread_ns().saturating_sub(thread_ns);
        let span = Span { began_ns, ended_ns: clock::mono_ns() };
        self.say(Reply::Namespaces { netns: empty, span, seeds: Vec::new() })?;
        Ok(listing)
    }
}

/// Of books, those that could be read.
fn read(all: Each<(u64, Books)>) -> Vec<Read> {
    let read = |(netns, books): (u32, Result<(u64, Books), net::Error>)| {
        let (read_ns, books) = books.ok()?;
        Some((netns, read_ns, books))
    };
    all.into_iter().filter_map(read).collect()
}

impl Listing {
    fn fail(&mut self, netns: u32, error: &net::Error) {
        // One that went away took its sockets along.
        if !matches!(error, net::Error::Gone { .. }) {
            self.limitations.add_of(netns, What::Namespaces, error, &error.remedy());
        }
    }

    fn dump(&mut self, netns: &Netns) -> Option<Reply> {
        let (began_ns, mut cost_ns) = (clock::mono_ns(), 0);
        // Whichever thread that is.
        let asked = netns.within(|| {
            let states = States::TIME_WAIT_OR_FIN_WAIT2.or(States::LISTEN);
            billed(&mut cost_ns, || sockdiag::tcp(netns, states))
        });
        let span = Span { began_ns, ended_ns: clock::mono_ns() };
        let reply = billed(&mut cost_ns, || self.reply(netns, span, asked.unwrap_or_else(Err)));
        self.cost_ns += cost_ns;
        reply
    }

    fn reply(
        &mut self,
        netns: &Netns,
        span: Span,
        asked: Result<sockdiag::Listing, net::Error>,
    ) -> Option<Reply> {
        let found = match asked {
            Ok(found) => found,
            Err(error) => {
                self.fail(netns.inode, &error);
                return None;
            }
        };
        if let Some(degraded) = found.degraded {
            self.limitations.add_of(netns.inode, What::Sockets, &degraded, degraded.remedy());
        }
        let listening = found.sockets.iter().filter(|socket| socket.state == LISTEN);
        let served: HashSet<u16> = listening.map(|socket| socket.sport).collect();
        let role =
            |socket: &DiagSocket| if served.contains(&socket.sport) { Role::Server } else { Role::Unknown };
        let waiting = found.sockets.iter().filter(|socket| socket.is_time_wait());
        let seeds = waiting.map(|socket| seed(socket, netns.inode, role(socket), span.began_ns)).collect();
        Some(Reply::Namespaces { netns: vec![netns.inode], span, seeds })
    }

    /// What is as it was said of an earlier listing is not said again.
    fn end(self, said: &mut Limitations) -> Reply {
        let mut limitations = self.limitations.told();
        limitations.retain(|limitation| said.add_first(limitation.clone()));
        let span = Span { began_ns: self.began_ns, ended_ns: clock::mono_ns() };
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

fn seed(socket: &DiagSocket, netns: u32, role: Role, now_ns: u64) -> Seed {
    Seed {
        conn: socket.conn(netns),
        cookie: (socket.cookie != 0).then_some(socket.cookie),
        substate: socket.substate(),
        role,
        ends_ns: now_ns + u64::from(socket.expires_ms) * 1_000_000,
    }
}

/// The books of every namespace of interest in which anything can have happened.
fn books(only: &[u32]) -> Result<Vec<(u32, Books)>, net::Error> {
    let mut namespaces = discover();
    namespaces.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let readings = read(snapshot_all(&namespaces)?);
    Ok(readings.into_iter().map(|(netns, _, books)| (netns, books)).collect())
}
