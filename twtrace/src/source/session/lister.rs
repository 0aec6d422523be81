//! Owns: a thread that asks the kernel about network namespaces: which there are, what lives in them, whether single sockets are still
//! there, what their books say.
//! Must not know: the tracker, when to ask.
//!
//! A list of one namespace's sockets walks the hash table of the whole machine, so only those are listed that have TIME_WAIT sockets; and
//! once the first ones are through, no more than a share of the processor's time goes into it. Questions that come meanwhile are answered in
//! between.

mod listing;
mod messages;
mod same;
mod ways;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use crate::engine::Seed;
use crate::host::net;
use crate::host::net::books::{Books, Snapshot, snapshot_all, time_waits};
use crate::host::net::netns::{Each, Netns, cookie_here, discover};
use crate::host::net::sockdiag::{self, DiagSocket, Presence, States};
use crate::host::worker::{Closed, Replies, Requests, Worker};
use crate::model::clock;
use crate::model::event::Role;

use listing::{Listing, Said};
use ways::Ways;

pub(super) use messages::{Read, Reply, Request, SocketFate, SocketQuery, Span};
pub(super) use same::{ABSENT_TIMES, Became, Changed, Same};

/// How long a listing may go on without a pause.
const AT_ONCE: Duration = Duration::from_millis(500);
/// After that: pauses, by the processor time that the step before took. On a machine that is busy with other things a step takes long and
/// costs no more.
const PAUSE_FACTOR: u32 = 4;

/// The thread, from the engine's side.
pub(super) type Lister = Worker<Request, Reply>;

/// Starts it, with what is known of the namespaces that are asked for.
///
/// # Errors
/// If no thread can be started.
pub(super) fn start(same: Same) -> io::Result<Lister> {
    Worker::start("lister", |requests, replies| {
        Thread::new(requests, replies, same).run();
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
            && let Ok(listing) = sockdiag::tcp(netns, States::LISTEN)
        {
            found.extend(listing.sockets.iter().map(|socket| (netns.inode, socket.sport)));
        }
    }
    found
}

struct Thread<'a> {
    requests: &'a Requests<Request>,
    replies: &'a Replies<Reply>,
    ways: Ways,
    same: Same,
    /// What was found out of namespaces and not told yet.
    changed: Vec<Changed>,
    /// The books of all were told.
    is_open: bool,
    /// Listings that are asked for while one is being made.
    waiting: VecDeque<Vec<u32>>,
    /// What could not be listed, as was said already.
    said: Said,
}

impl<'a> Thread<'a> {
    fn new(requests: &'a Requests<Request>, replies: &'a Replies<Reply>, same: Same) -> Self {
        Self {
            requests,
            replies,
            ways: Ways::default(),
            same,
            changed: Vec::new(),
            is_open: false,
            waiting: VecDeque::new(),
            said: Said::default(),
        }
    }

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
            Request::AreToldApart => {
                self.same.tells_apart();
                return Ok(());
            }
            Request::LookUp { sockets } => self.look_up(sockets),
            Request::Check { netns } => {
                let began_ns = clock::mono_ns();
                let books = self.check(&netns);
                Reply::Checked { span: Span { began_ns, ended_ns: clock::mono_ns() }, books }
            }
            Request::Books { only } => Reply::Books { books: self.books(&only) },
        };
        self.say_changed()?;
        self.say(reply)
    }

    /// Says first what became of namespaces: what else is told is of those that are there now.
    fn say_changed(&mut self) -> Result<(), Closed> {
        let changed = std::mem::take(&mut self.changed);
        let now_ns = clock::mono_ns();
        let span = Span { began_ns: now_ns, ended_ns: now_ns };
        if changed.is_empty() { Ok(()) } else { self.say(Reply::Changed { span, changed }) }
    }

    fn say(&self, reply: Reply) -> Result<(), Closed> {
        if self.replies.send(reply) { Ok(()) } else { Err(Closed) }
    }

    /// Books of those of the namespaces that there is a way into. One may have ended with its process, where the namespace lives on.
    fn check(&mut self, netns: &[u32]) -> Vec<Read> {
        let ways = self.ways.to(netns);
        let all = snapshot_all(&ways).unwrap_or_default();
        let lacking = lacking(netns, &ways, &all, &self.same);
        let mut books = self.read(&ways, all);
        if !lacking.is_empty() {
            let ways = self.ways.anew(&lacking);
            let all = snapshot_all(&ways).unwrap_or_default();
            books.extend(self.read(&ways, all));
            // One that a way leads to is there, though it may not be asked.
            let gone = lacking.iter().filter(|inode| !ways.iter().any(|netns| netns.inode == **inode));
            self.changed.extend(gone.filter_map(|inode| self.same.miss(*inode)));
        }
        books
    }

    /// Of books of `all`, those that could be read, and that are not another namespace's than was asked for.
    fn read(&mut self, all: &[Netns], books: Each<Snapshot>) -> Vec<Read> {
        let read = |(netns, (_, snapshot)): (&Netns, (u32, Result<Snapshot, net::Error>))| {
            snapshot.ok().and_then(|snapshot| self.of_the_same(netns, snapshot))
        };
        all.iter().zip(books).filter_map(read).collect()
    }

    fn of_the_same(&mut self, netns: &Netns, snapshot: Snapshot) -> Option<Read> {
        let Snapshot { read_ns, cookie, books } = snapshot;
        self.changed.extend(self.same.see(netns, cookie, Some(books.counted())));
        (!self.same.has_left(netns.inode)).then_some((netns.inode, read_ns, books))
    }

    /// The books of every namespace of interest in which anything can have happened.
    fn books(&mut self, only: &[u32]) -> Result<Vec<(u32, Books)>, net::Error> {
        let mut all = discover();
        all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
        let books = snapshot_all(&all)?;
        Ok(self.read(&all, books).into_iter().map(|(netns, _, books)| (netns, books)).collect())
    }

    fn look_up(&mut self, sockets: Vec<SocketQuery>) -> Reply {
        let began_ns = clock::mono_ns();
        let mut by_netns: HashMap<u32, Vec<SocketQuery>> = HashMap::new();
        for asked in sockets {
            by_netns.entry(asked.0.netns).or_default().push(asked);
        }
        let mut found = Vec::new();
        for (inode, asked) in by_netns {
            if self.same.has_left(inode) {
                // Its sockets went with it; those that are there now are another one's.
                found.extend(asked.into_iter().map(|asked| (asked, SocketFate::Gone)));
                continue;
            }
            let now_ns = clock::mono_ns();
            let answers = self.presence(inode, &asked);
            if answers.is_none() {
                self.ways.lose(inode);
            }
            let answers = answers.unwrap_or_else(|| vec![Presence::Unknown; asked.len()]);
            found.extend(asked.into_iter().zip(answers).map(|(asked, presence)| {
                let found = match presence {
                    Presence::There(socket) => SocketFate::There(seed(&socket, inode, Role::Unknown, now_ns)),
                    Presence::Gone => SocketFate::Gone,
                    Presence::Unknown => SocketFate::Unknown,
                };
                (asked, found)
            }));
        }
        Reply::LookedUp { span: Span { began_ns, ended_ns: clock::mono_ns() }, found }
    }

    /// What became of sockets of a namespace; `None` where that cannot be asked.
    fn presence(&mut self, inode: u32, asked: &[SocketQuery]) -> Option<Vec<Presence>> {
        let netns = self.ways.to(&[inode]).pop()?;
        let ask = || (cookie_here(), sockdiag::look_up(&netns, asked));
        let (cookie, answers) = netns.within(ask).ok()?;
        let is_meant = self.is_meant(&netns, cookie);
        Some(if is_meant { answers.ok()? } else { vec![Presence::Gone; asked.len()] })
    }

    /// Makes a listing, and answers other questions in between.
    fn list(&mut self, only: &[u32]) -> Result<(), Closed> {
        let mut listing = self.begin(only)?;
        loop {
            let cost_ns = listing.cost_ns;
            let Some(netns) = listing.next(|astray| self.ways.anew(astray)) else { break };
            self.dump(&netns, &mut listing)?;
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
        listing.reached.retain(|inode| !self.same.has_left(*inode));
        let complete = listing.end(&mut self.said);
        self.say(complete)
    }

    /// Tells what lives in a namespace. Since the listing began it may have gone, and another one have its inode.
    fn dump(&mut self, netns: &Netns, listing: &mut Listing) -> Result<(), Closed> {
        let Some((cookie, reply)) = listing.dump(netns) else { return Ok(()) };
        let is_meant = self.is_meant(netns, cookie);
        self.say_changed()?;
        if is_meant { self.say(reply) } else { Ok(()) }
    }

    /// Whether what was said in a namespace is of the one that is meant; what became of that is to be told first.
    fn is_meant(&mut self, netns: &Netns, cookie: Option<u64>) -> bool {
        self.changed.extend(self.same.see(netns, cookie, None));
        !self.same.has_left(netns.inode)
    }

    /// Tells the books of all; how many TIME_WAIT sockets each has.
    fn open(&mut self, all: &[Netns], listing: &mut Listing) -> Result<Each<u64>, Closed> {
        let began_ns = clock::mono_ns();
        let snapshots = listing.asked(snapshot_all(all));
        let span = Span { began_ns, ended_ns: clock::mono_ns() };
        let (mut counts, mut books) = (Vec::new(), Vec::new());
        for (netns, (inode, snapshot)) in all.iter().zip(snapshots) {
            let count = snapshot.map(|snapshot| {
                books.extend(self.of_the_same(netns, snapshot));
                snapshot.books.sockstat_tw
            });
            counts.push((inode, count));
        }
        self.say_changed()?;
        self.say(Reply::Opened { span, books })?;
        Ok(counts)
    }

    /// Which namespaces are to be listed. Those that have no TIME_WAIT sockets are told at once.
    fn begin(&mut self, only: &[u32]) -> Result<Listing, Closed> {
        let (mut listing, thread_ns) = (Listing::new(), clock::thread_ns());
        let mut all = discover();
        self.ways.set(&all);
        listing.reached = all.iter().map(|netns| netns.inode).collect();
        all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
        let changed = self.same.compare(&all);
        self.changed.extend(changed);
        self.say_changed()?;
        // What is there with its inode is another one.
        all.retain(|netns| !self.same.has_left(netns.inode));
        let counts = if std::mem::replace(&mut self.is_open, true) {
            listing.asked(time_waits(&all))
        } else {
            self.open(&all, &mut listing)?
        };
        let mut empty = Vec::new();
        for (netns, (_, count)) in all.into_iter().zip(counts) {
            match count {
                Ok(0) => empty.push(netns.inode),
                Ok(_) => listing.left.push_back(netns),
                Err(error) => listing.fail(netns.inode, &error),
            }
        }
        listing.cost_ns = clock::thread_ns().saturating_sub(thread_ns);
        let span = listing.span();
        self.say(Reply::Namespaces { netns: empty, span, seeds: Vec::new() })?;
        Ok(listing)
    }
}

/// Of namespaces whose books were asked for, those that another way is looked for to: that is a look at every process. The known one has ended,
/// or there is none; where a way leads in and is refused, others are as well.
fn lacking(asked: &[u32], ways: &[Netns], books: &Each<Snapshot>, same: &Same) -> Vec<u32> {
    let has_ended = |books: &Result<Snapshot, net::Error>| matches!(books, Err(net::Error::Gone { .. }));
    let ended = books.iter().filter(|(_, books)| has_ended(books)).map(|(inode, _)| *inode);
    let has_none =
        |inode: &&u32| same.may_be_gone(**inode) && !ways.iter().any(|netns| netns.inode == **inode);
    ended.chain(asked.iter().filter(has_none).copied()).collect()
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

#[cfg(test)]
mod tests;
