//! Owns: the engine: one task that decodes what the drain brings, counts it, hands it to the view, and hears signals, timers and
//! the threads that look things up.
//! Must not know: what the view does. Nothing in here waits for a reader, a file of a stranger's process or a namespace.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::alarm::Alarm;
use super::drain::{Drain, Message, Records};
use super::healing::Healing;
use super::lister::{Lister, Reply};
use super::scope::Scope;
use super::signals::Signals;
use super::verify::Verification;
use super::{Error, Options};
use crate::engine::Tracker;
use crate::host::identity::IdentityCache;
use crate::kernel::decode::{self, Record};
use crate::kernel::probe::{Lost, Probe};
use crate::model::clock;
use crate::model::event::{Event, Kind, Loss};
use crate::model::limitation::Limitations;
use crate::output::Writer;
use crate::source::inquiry::{Question, Server};
use crate::source::{Flow, View};

/// How often the kernel side is asked what it lost, and the view is asked what it wants, when nothing else happens.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Of what was found, so many sockets are told at a time, events in between, and only where there is room for so many bytes: they can wait
/// for a reader, which what happens cannot.
const TOLD_AT_ONCE: usize = 256;
const TOLD_BYTES: usize = 256 << 10;
/// What is known of a record's socket is fetched while so many before it are taken in.
const AHEAD: usize = 6;
/// The view is not asked more often than this because of a time that it named.
const SHORTEST: Duration = Duration::from_millis(5);

/// Why a trace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A signal says so, or time is up.
    Told,
    /// The view has had enough.
    View,
}

/// What the engine wakes for.
enum Wake {
    Signal(i32),
    Over,
    Reply(Reply),
    /// A client wants to know what lives.
    Question(Question),
    /// Nothing can be written any more.
    Broken,
    Check,
    Message(Message),
    /// There is more to be told of what was found, and room for it.
    Heal,
}

pub(super) struct Engine<'a> {
    pub(super) options: &'a Options,
    pub(super) scope: Scope,
    pub(super) probe: Probe,
    pub(super) drain: Drain,
    pub(super) lister: Lister,
    pub(super) signals: Signals,
    /// A signal that came before anybody could be told.
    pub(super) early: Option<i32>,
    pub(super) children: Signal,
    pub(super) woken: Arc<Notify>,
    pub(super) tracker: Tracker,
    pub(super) identities: IdentityCache,
    pub(super) healing: Healing,
    pub(super) reported: Loss,
    pub(super) verification: Verification,
    pub(super) started_ns: u64,
    /// When `--duration` is over, or a signal came that the view goes on after: no reader is waited for any longer.
    pub(super) over: Option<Instant>,
    pub(super) alarm: Alarm,
    pub(super) looked: Instant,
    pub(super) loss_checked_ns: u64,
    /// Nothing that came later is told.
    pub(super) until_ns: u64,
    /// All events up to here have come.
    pub(super) caught_up_ns: u64,
    pub(super) unread: bool,
    pub(super) limitations: Limitations,
    /// So many of them the view has heard of.
    pub(super) limitations_told: usize,
}

impl<'a> Engine<'a> {
    /// What a view makes the engine look with, from another thread.
    pub(super) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    /// Until there is a reason to end.
    pub(super) async fn follow(
        &mut self,
        mut server: Option<Server>,
        view: &mut dyn View,
    ) -> Result<Why, Error> {
        self.over = self.options.over();
        let mut over = pin!(time_is_up(self.over));
        loop {
            let due = self.due(view);
            let wake = tokio::select! {
                biased;
                signal = next_signal(&mut self.early, &mut self.signals) => Wake::Signal(signal),
                () = over.as_mut() => Wake::Over,
                () = broken(view) => Wake::Broken,
                reply = self.lister.reply() => Wake::Reply(reply?),
                question = next_question(server.as_mut()) => Wake::Question(question),
                () = self.woken.notified() => Wake::Check,
                _ = self.children.recv() => Wake::Check,
                rung = self.alarm.wait_until(due) => {
                    rung.map_err(Error::Wait)?;
                    Wake::Check
                }
                message = self.drain.next() => Wake::Message(message?),
                () = more_to_tell(&*view, self.healing.has_more()) => Wake::Heal,
            };
            let flow = match wake {
                Wake::Signal(signal) if view.signalled(signal) == Flow::Stop => return Ok(Why::Told),
                Wake::Over => return Ok(Why::Told),
                Wake::Broken => self.take_error(view)?,
                Wake::Reply(reply) => {
                    self.healing.take(reply);
                    self.heal(view)?
                }
                Wake::Question(question) => {
                    question.answer(&self.tracker);
                    Flow::Go
                }
                Wake::Signal(_) => {
                    self.over = Some(Instant::now());
                    self.check(view)?
                }
                Wake::Check => self.check(view)?,
                Wake::Heal => self.heal(view)?,
                Wake::Message(message) => {
                    let flow = self.take(message, view)?;
                    // However fast messages come, what was found goes on.
                    if flow == Flow::Go && self.healing.has_more() { self.heal(view)? } else { flow }
                }
            };
            if flow == Flow::Stop {
                return Ok(Why::View);
            }
        }
    }

    /// When to look again, though nothing may have happened.
    fn due(&self, view: &dyn View) -> Instant {
        let now_ns = clock::mono_ns();
        let of_view = view.due_ns().map_or(CHECK_EVERY, |due_ns| {
            Duration::from_nanos(due_ns.saturating_sub(now_ns)).clamp(SHORTEST, CHECK_EVERY)
        });
        (Instant::now() + of_view).min(self.looked + CHECK_EVERY)
    }

    pub(super) fn take_error(&mut self, view: &dyn View) -> Result<Flow, Error> {
        match view.output().and_then(Writer::error) {
            Some(error) => self.written(Err(error)),
            None => Ok(Flow::Go),
        }
    }

    /// A reader that went away is no failure; it is noted in `unread`.
    pub(super) fn written(&mut self, done: std::io::Result<Flow>) -> Result<Flow, Error> {
        done.or_else(|error| {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                return Err(Error::of_view(error));
            }
            self.unread = true;
            Ok(Flow::Stop)
        })
    }

    /// What the drain brought.
    pub(super) fn take(&mut self, message: Message, view: &mut dyn View) -> Result<Flow, Error> {
        let records = match message {
            Message::Records(records) => records,
            Message::Emptied { at_ns } => {
                self.caught_up_ns = at_ns;
                return self.heal(view);
            }
        };
        if self.take_records(records, view)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let batch = view.batch(&self.tracker);
        if self.written(batch)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        self.check(view)
    }

    /// Looks what is due: at the view, and about once a second at what the kernel side lost.
    fn check(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        self.looked = Instant::now();
        let now_ns = clock::mono_ns();
        self.tracker.advance(now_ns);
        let tick = view.tick(&mut self.tracker, now_ns);
        if self.written(tick)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        // At the end, what was lost is told once, as it was at that moment.
        let is_ending = self.until_ns != u64::MAX;
        if is_ending || now_ns.saturating_sub(self.loss_checked_ns) < CHECK_EVERY.as_nanos() as u64 {
            return Ok(Flow::Go);
        }
        self.loss_checked_ns = now_ns;
        let lost = self.probe.loss();
        let flow = self.report_loss(lost, now_ns, view)?;
        let flow = if flow == Flow::Stop { flow } else { self.heal(view)? };
        let lost_names = self.identities.lost_names();
        self.limit(lost_names);
        self.tell_limitations(view);
        view.health(self.drain.health());
        Ok(flow)
    }

    /// Takes in what was answered, asks what is to be asked, and tells what came of it.
    pub(super) fn heal(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        let has_room = view.event_output().is_none_or(|output| output.has_room_for(TOLD_BYTES));
        self.heal_in(if has_room { TOLD_AT_ONCE } else { 0 }, view)
    }

    /// As [`Self::heal`], telling no more than `room` sockets.
    pub(super) fn heal_in(&mut self, room: usize, view: &mut dyn View) -> Result<Flow, Error> {
        // What is found out once the trace has ended is told as of its end.
        let now_ns = clock::mono_ns().min(self.until_ns);
        let step = self.healing.step(now_ns, self.caught_up_ns, room, &mut self.tracker);
        for request in step.requests {
            self.lister.ask(request);
        }
        self.limit(step.limitations);
        for netns in step.left {
            self.scope.leave(netns);
            self.tracker.leave_netns(netns);
        }
        if self.healing.wants_mark() {
            self.drain.ask_for_mark();
        }
        for event in &step.events {
            if self.tell(event, view)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }

    /// Tells the view, if it is something that the user wants to see.
    fn tell(&mut self, event: &Event, view: &mut dyn View) -> Result<Flow, Error> {
        if !self.scope.is_all() && !self.options.filter.passes(event) {
            return Ok(Flow::Go);
        }
        let told = view.event(event);
        self.written(told)
    }

    fn take_records(&mut self, records: Records, view: &mut dyn View) -> Result<Flow, Error> {
        let mut flow = Flow::Go;
        let prefetches = self.tracker.waits_for_memory();
        let mut later = records.iter().skip(AHEAD);
        for record in records.iter() {
            if prefetches && let Some(conn) = later.next().and_then(decode::connection) {
                self.tracker.expect(&conn);
            }
            // An event is large, and stays where it was decoded.
            match &mut decode::decode(record) {
                Ok(Record::Event(event)) => {
                    // Taken off the ring it is: the tracker hears of it even if the view has had enough.
                    let wants = flow == Flow::Go;
                    if !self.probe.resolve_netns(event) {
                        // Too many namespaces are asked for to be filtered there, or it would not have come.
                    } else if event.mono_ns > self.until_ns {
                        self.healing.note_beyond(event);
                    } else if self.event(event, wants, view)? == Flow::Stop {
                        flow = Flow::Stop;
                    }
                }
                Ok(Record::Process(process)) => {
                    let (comm, now_ns) = (Some(process.comm), clock::mono_ns());
                    self.identities.resolve(process.pid, process.start_ns, comm, process.cgroup_id, now_ns);
                }
                Err(error) => return Err((*error).into()),
            }
        }
        Ok(flow)
    }

    /// Takes in an event, and tells the view if that wants any.
    fn event(&mut self, event: &mut Event, wants: bool, view: &mut dyn View) -> Result<Flow, Error> {
        identify(event, &mut self.identities);
        self.healing.note(event);
        if !self.scope.has(event, &self.tracker) {
            self.scope.leave_out(event, &mut self.identities, &mut self.probe);
            let doubt = self.scope.doubt(event);
            self.limit(doubt);
            return Ok(Flow::Go);
        }
        let applied = self.tracker.apply(event);
        applied.before.iter().for_each(|before| self.healing.note(before));
        for told in applied.before.iter().chain(applied.is_new.then_some(&*event)) {
            if wants && self.tell(told, view)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }

    /// Says what was lost since it was last said; `lost` is what the kernel side lost so far.
    pub(super) fn report_loss(
        &mut self,
        Lost { mut loss, doubts, read_ns }: Lost,
        now_ns: u64,
        view: &mut dyn View,
    ) -> Result<Flow, Error> {
        loss.unwritten = view.output().map_or(0, Writer::unwritten);
        loss.missed = self.healing.missed();
        let news = loss.since(&self.reported);
        self.healing.lost(&loss, &news, doubts, read_ns);
        if news.is_empty() {
            return Ok(Flow::Go);
        }
        if let Some(output) = view.output().filter(|_| self.reported.unwritten == 0 && news.unwritten != 0) {
            let (name, slow) = (output.name(), output.slow());
            crate::note!("twtrace: {name} {slow}: what cannot be written is counted as lost");
        }
        self.reported = loss;
        let mut event = Event::new(Kind::Lost, now_ns, None);
        event.loss = Some(Box::new(news));
        let _ = self.tracker.apply(&mut event);
        let told = view.event(&event);
        self.written(told)
    }
}

/// Of a trace that cannot be asked, never.
async fn next_question(server: Option<&mut Server>) -> Question {
    match server {
        Some(server) => server.question().await,
        None => std::future::pending().await,
    }
}

/// One that came `early`, or the next.
pub(super) async fn next_signal(early: &mut Option<i32>, signals: &mut Signals) -> i32 {
    match early.take() {
        Some(signal) => signal,
        None => signals.any().await,
    }
}

/// Until then; where nobody says, never.
pub(super) async fn time_is_up(over: Option<Instant>) {
    match over {
        Some(over) => sleep_until(over).await,
        None => std::future::pending().await,
    }
}

/// Until there is room for more of what was found.
pub(super) async fn more_to_tell(view: &dyn View, has_more: bool) {
    match view.event_output() {
        _ if !has_more => std::future::pending().await,
        Some(output) => output.room_for(TOLD_BYTES).await,
        None => {}
    }
}

/// Until the view cannot write any more.
async fn broken(view: &dyn View) {
    match view.output() {
        Some(output) => output.broken().await,
        None => std::future::pending().await,
    }
}

/// Looks up who the owner is, while there is somebody to look up.
fn identify(event: &mut Event, identities: &mut IdentityCache) {
    if let Some(owner) = &event.owner {
        let comm = Some(owner.comm);
        event.identity =
            Some(identities.resolve(owner.pid, owner.start_ns, comm, owner.cgroup_id, event.mono_ns));
    }
}
