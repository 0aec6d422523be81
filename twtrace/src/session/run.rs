//! Owns: the loop: drain on a tick, drain when much waits, stop when told to.
//! Must not know: what the view does.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::listing::{self, Listing};
use super::verify::{Counting, Ledger, Moment};
use super::{Flow, Options, Summary, View};
use crate::clock::{self, Clock};
use crate::decode::{self, Record};
use crate::event::{Event, Kind, Loss};
use crate::files::ReadyFile;
use crate::filter::Filter;
use crate::identity::IdentityCache;
use crate::inquiry::{self, Desk};
use crate::net::books::{Books, snapshot_all};
use crate::net::netns::discover;
use crate::probe::{Cannot, Probe};
use crate::tracker::Tracker;

/// How often the ring is looked at when nothing announces itself.
const TICK: Duration = Duration::from_millis(25);
/// How often the kernel side is asked what it lost.
const LOSS_EVERY_NS: u64 = 1_000_000_000;
/// Records taken from the ring before the view may write: bounds what a batch holds back.
const BATCH: usize = 4096;
/// Processes whose identity is remembered.
const IDENTITIES: usize = 16_384;

/// Why a trace came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot.
    #[error(transparent)]
    Cannot(#[from] Cannot),
    /// The kernel side and this side do not speak the same language.
    #[error("the kernel side sent something that is no event: {0}")]
    Decode(#[from] decode::DecodeError),
    /// The view could not write; a broken pipe is not an error.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    /// The ready file could not be made.
    #[error("cannot create the ready file {path}: {error}")]
    Ready {
        /// Its path, escaped.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Signals or timers.
    #[error("cannot wait for events: {0}")]
    Wait(std::io::Error),
    /// The kernel's books.
    #[error("cannot read the kernel's books: {0}")]
    Books(#[from] crate::net::Error),
}

struct Session<'a> {
    options: &'a Options,
    /// What the world consists of: the filter, whatever the reasons of ends.
    scope: Filter,
    probe: Probe,
    world: Tracker,
    identities: IdentityCache,
    reported: Loss,
    ledger: Ledger,
    started_ns: u64,
    loss_checked_ns: u64,
    stale: bool,
    unread: bool,
}

/// Traces until `view` has had enough, the duration is over, or a signal says so.
///
/// # Errors
/// See [`Error`].
pub async fn run(options: &Options, view: &mut dyn View) -> Result<Summary, Error> {
    let mut signals = Signals::listen().map_err(Error::Wait)?;
    let ready = options.ready_file.as_deref().map(ReadyFile::claim).transpose();
    let ready = ready.map_err(|error| not_ready(options, error))?;
    let mut session = Session::begin(options)?;
    for fallback in session.probe.fallbacks() {
        eprintln!("twtrace: {fallback}");
    }
    eprintln!("twtrace: tracing with the {} backend", session.probe.backend());
    view.attached(session.probe.backend().word());
    view.listed(&mut session.world);
    let begun = view.begin(Clock::read()).map(|()| Flow::Go);
    if written(begun, &mut session.unread)? == Flow::Stop {
        return session.end(view);
    }
    if let Some(ready) = ready {
        ready.make().map_err(|error| not_ready(options, error))?;
    }
    let followed = session.follow(view, &mut signals).await;
    if followed.is_err() {
        view.ending();
    }
    followed?;
    session.end(view)
}

fn not_ready(options: &Options, error: std::io::Error) -> Error {
    let path = options.ready_file.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
    Error::Ready { path: crate::escape::printable(&path).into_owned(), error }
}

/// A reader that went away is no failure; it is noted in `unread`.
fn written(done: std::io::Result<Flow>, unread: &mut bool) -> Result<Flow, Error> {
    done.or_else(|error| {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            return Err(Error::Output(error));
        }
        *unread = true;
        Ok(Flow::Stop)
    })
}

impl<'a> Session<'a> {
    fn begin(options: &'a Options) -> Result<Self, Error> {
        let mut ledger = Ledger::default();
        if options.verify {
            ledger.enter(Moment::BeforeAttach, books(options)?);
        }
        let mut setup = options.probe.clone();
        setup.filter = options.filter.kernel();
        setup.listeners = listing::listeners(&options.filter.netns);
        let probe = Probe::attach(&setup)?;
        let started_ns = clock::mono_ns();
        if options.verify {
            ledger.enter(Moment::AfterAttach, books(options)?);
        }
        // Nothing is drained before this is in the tracker: whatever ends from now on ends after it.
        let listing = listing::list(&options.filter.netns, clock::mono_ns());
        let mut session = Self {
            options,
            scope: Filter { reasons: Vec::new(), ..options.filter.clone() },
            probe,
            world: Tracker::new(),
            identities: IdentityCache::new(IDENTITIES),
            reported: Loss::default(),
            ledger,
            started_ns,
            loss_checked_ns: started_ns,
            stale: false,
            unread: false,
        };
        session.world.advance(started_ns);
        session.take(listing);
        Ok(session)
    }

    /// Takes a listing in, as far as its sockets are of interest: a filter on the owner leaves none.
    fn take(&mut self, listing: Listing) {
        for note in &listing.notes {
            eprintln!("twtrace: {note}");
        }
        let Self { scope, world, .. } = self;
        world.seed(listing.seeds.into_iter().filter(|seed| {
            let mut event = Event::new(Kind::Ended, 0, Some(seed.conn));
            event.role = seed.role;
            scope.passes(&event)
        }));
    }

    async fn follow(&mut self, view: &mut dyn View, signals: &mut Signals) -> Result<(), Error> {
        let ring: OwnedFd = self.probe.readable().try_clone_to_owned().map_err(Error::Wait)?;
        // SAFETY: an OwnedFd always gives the same open descriptor, and is owned by what is registered.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|error| Error::Wait(error.into()))?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Where this user may not, a trace goes on without being asked.
        let mut desk = Desk::open(Path::new(inquiry::PLACE)).ok();
        let over = tokio::time::sleep(self.options.duration.unwrap_or(Duration::MAX / 4));
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                signal = signals.any() => {
                    if view.signalled(signal) == Flow::Stop {
                        return Ok(());
                    }
                }
                () = &mut over => return Ok(()),
                visitor = inquiry::visitor(desk.as_ref()) => {
                    Desk::receive(&mut desk, visitor, self.probe.backend().word(), &self.world);
                }
                ready = ring.readable() => ready.map_err(Error::Wait)?.clear_ready(),
                _ = tick.tick() => {}
            }
            if self.turn(view)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// Empties the ring, and looks after what was lost.
    fn turn(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        loop {
            let (empty, flow) = self.drain(view, BATCH)?;
            let flow = if flow == Flow::Stop { flow } else { self.batch(view)? };
            let flow = if flow == Flow::Stop { flow } else { self.tick(view)? };
            if flow == Flow::Stop {
                return Ok(flow);
            }
            if empty {
                break;
            }
        }
        let now_ns = clock::mono_ns();
        if now_ns.saturating_sub(self.loss_checked_ns) >= LOSS_EVERY_NS {
            self.loss_checked_ns = now_ns;
            if self.report_loss(view, now_ns)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            if self.stale {
                return self.list_again(view);
            }
        }
        Ok(Flow::Go)
    }

    fn batch(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        written(view.batch(&self.world), &mut self.unread)
    }

    fn tick(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        let now_ns = clock::mono_ns();
        self.world.advance(now_ns);
        written(view.tick(&mut self.world, now_ns), &mut self.unread)
    }

    fn drain(&mut self, view: &mut dyn View, most: usize) -> Result<(bool, Flow), Error> {
        let Self { probe, world, identities, options, scope, unread, .. } = self;
        let filter = &options.filter;
        let unfiltered = filter.is_empty();
        let mut flow = Ok(Flow::Go);
        let empty = probe.drain(most, |bytes| {
            // Taken off the ring it is: the world hears of it even if the view has had enough.
            match decode::decode(bytes) {
                Ok(Record::Event(mut event)) => {
                    identify(&mut event, identities);
                    if !unfiltered && !belongs(&event, world, scope) {
                        return;
                    }
                    world.apply(&mut event);
                    if matches!(flow, Ok(Flow::Go)) && (unfiltered || filter.passes(&event)) {
                        flow = written(view.event(&event), unread);
                    }
                }
                Ok(Record::Process(process)) => {
                    let comm = Some(&process.comm.0);
                    identities.resolve(
                        process.pid,
                        process.start_ns,
                        comm,
                        process.cgroup_id,
                        clock::mono_ns(),
                    );
                }
                Err(error) => flow = Err(error.into()),
            }
        });
        flow.map(|flow| (empty, flow))
    }

    /// Says what was lost since it was last said.
    fn report_loss(&mut self, view: &mut dyn View, now_ns: u64) -> Result<Flow, Error> {
        let loss = self.probe.loss();
        self.probe.sweep(&loss);
        let news = loss.since(&self.reported);
        if news.is_empty() {
            return Ok(Flow::Go);
        }
        self.reported = loss;
        self.stale |= news.events() != 0;
        let mut event = Event::new(Kind::Lost, now_ns, None);
        event.loss = Some(news);
        self.world.apply(&mut event);
        written(view.event(&event), &mut self.unread)
    }

    /// After a loss: asks the kernel what lives.
    fn list_again(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        self.stale = false;
        self.world.begin_listing();
        let listing = listing::list(&self.options.filter.netns, clock::mono_ns());
        let listed = listing.listed.clone();
        // With a filter on the owner the tracker holds a part only, and a listing cannot say which.
        self.take(listing);
        let (_, flow) = self.drain(view, usize::MAX)?;
        self.world.forget_unlisted(|netns| listed.contains(&netns));
        Ok(flow)
    }

    fn end(mut self, view: &mut dyn View) -> Result<Summary, Error> {
        view.ending();
        if self.options.verify {
            self.ledger.enter(Moment::BeforeDetach, books(self.options)?);
        }
        self.probe.detach();
        if self.options.verify {
            self.ledger.enter(Moment::AfterDetach, books(self.options)?);
        }
        let (_, mut flow) = self.drain(view, usize::MAX)?;
        if flow == Flow::Go {
            flow = self.report_loss(view, clock::mono_ns())?;
        }
        if self.stale && flow == Flow::Go {
            flow = self.list_again(view)?;
        }
        if flow == Flow::Go {
            self.batch(view)?;
        }
        view.ended(&self.world);
        let loss = self.probe.loss();
        let counting = if self.probe.counts_expiries() { Counting::Expiries } else { Counting::Births };
        let verdict = self.options.verify.then(|| self.ledger.close(&self.world, &loss, counting));
        Ok(Summary {
            backend: self.probe.backend(),
            counts: *self.world.total(),
            live: self.world.live(),
            loss,
            skipped: self.probe.skipped(),
            unread: self.unread,
            elapsed_ns: clock::mono_ns().saturating_sub(self.started_ns),
            verdict,
        })
    }
}

/// Whether an event is about the part of the world that the filter leaves. The kernel side cannot decide all of that. An end does not
/// say whose it is: where that matters, it belongs if its birth did.
fn belongs(event: &Event, world: &Tracker, scope: &Filter) -> bool {
    let known = event.kind == Kind::Ended && event.conn.is_some_and(|conn| world.knows(&conn));
    known || ((event.kind != Kind::Ended || scope.only_conn()) && scope.passes(event))
}

/// Looks up who the owner is, while there is somebody to look up.
fn identify(event: &mut Event, identities: &mut IdentityCache) {
    if let Some(owner) = &event.owner {
        let comm = Some(&owner.comm.0);
        event.identity =
            Some(identities.resolve(owner.pid, owner.start_ns, comm, owner.cgroup_id, event.mono_ns));
    }
}

/// The books of every namespace of interest that can be reached.
fn books(options: &Options) -> Result<Vec<(u32, Books)>, crate::net::Error> {
    let mut namespaces = discover();
    let only = &options.filter.netns;
    namespaces.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let readings = snapshot_all(&namespaces)?;
    Ok(readings.into_iter().filter_map(|(netns, books)| Some((netns, books.ok()?))).collect())
}

/// What ends a trace in good order.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// The number of the one that came.
    async fn any(&mut self) -> i32 {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
            _ = hangup.recv() => libc::SIGHUP,
        }
    }
}
