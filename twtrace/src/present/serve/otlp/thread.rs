//! Owns: the thread that exports: when it asks for a picture, when it sends, how it ends.
//! Must not know: what a message holds, what an answer means.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::attributes::resource;
use super::endpoint::Endpoint;
use super::findings::{self, Told};
use super::points::{self, Beginnings};
use super::queue::{Message, Outcome, Queue, Signal};
use crate::host::machine::Machine;
use crate::host::usage::Usage;
use crate::host::worker::{Died, Joined, Thread};
use crate::model::clock::Clock;
use crate::present::serve::families::families;
use crate::present::serve::http::Shared;

/// A trace that is not attached yet is asked again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// So long what is left may take when all ends.
const PARTING: Duration = Duration::from_secs(1);

/// The thread that exports.
pub struct Exporter {
    thread: Thread,
    stop: oneshot::Sender<()>,
}

impl Exporter {
    /// Exports every so often from now on what `shared` answers. `said` is `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        endpoint: Endpoint,
        every: Duration,
        shared: Arc<Shared>,
        said: Option<&str>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resource = resource(&Machine::read(), said);
        let mut work = Work::new(endpoint, shared, resource);
        let thread = Thread::start("otlp", move || {
            runtime.block_on(work.run(every, stopped));
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { thread, stop })
    }

    /// Sends what is left, in bounded time, and ends.
    ///
    /// # Errors
    /// If it panicked.
    pub fn stop(self) -> Result<Joined, Died> {
        // It may have ended.
        let _ = self.stop.send(());
        self.thread.join_by(Instant::now() + 2 * PARTING)
    }
}

struct Work {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    resource: Resource,
    beginnings: Beginnings,
    told: Told,
    queue: Queue,
    /// What becomes of messages, as far as that was said.
    said: Option<Becomes>,
    /// What the endpoint said of metrics and of findings that it took, as long as it says something: once is enough.
    remarks: [bool; 2],
}

/// What becomes of messages that the endpoint did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Kept,
    Lost,
}

impl Work {
    fn new(endpoint: Endpoint, shared: Arc<Shared>, resource: Resource) -> Self {
        let began_ns = shared.started_ns;
        Self {
            endpoint,
            shared,
            resource,
            beginnings: points::beginnings(began_ns),
            told: Told::default(),
            queue: Queue::new(Instant::now()),
            said: None,
            remarks: [false; 2],
        }
    }

    async fn run(&mut self, every: Duration, mut stopped: oneshot::Receiver<()>) {
        let mut look_at = Instant::now();
        loop {
            if Instant::now() >= look_at {
                let is_told = self.look().await;
                look_at = Instant::now() + if is_told { every } else { RETRY.min(every) };
            }
            let due = self.queue.next().map(|(_, due)| due);
            let sends = due.is_some_and(|due| due <= Instant::now());
            let next = async {
                if sends {
                    self.send().await;
                } else {
                    sleep_until(due.map_or(look_at, |due| due.min(look_at)).into()).await;
                }
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = next => {}
            }
        }
        let rest = async {
            self.look().await;
            // An endpoint that wants to be left alone is.
            while self.queue.next().is_some_and(|(_, due)| due <= Instant::now()) {
                self.send().await;
            }
        };
        let _ = tokio::time::timeout(PARTING, rest).await;
        self.queue.give_up(&self.shared.fate);
    }

    /// Makes messages of what is known now. `false` where nothing is.
    async fn look(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Ok(picture) = shared.board.picture().await else { return false };
        let usage = Usage::read(shared.started_s());
        let families = families(&picture, &usage, &shared.served(), shared.top);
        let (clock, boot_ns) = (shared.clock(), Clock::of_boot().mono_ns);
        let (message, count) =
            points::message(&families, &self.resource, &mut self.beginnings, (clock, boot_ns));
        self.push(Signal::Metrics, message.encode_to_vec(), count);
        let findings = &picture.diagnosis().1;
        let now_ns = points::calendar_ns(clock, boot_ns);
        if let Some((message, count)) = findings::message(findings, &mut self.told, &self.resource, now_ns) {
            self.push(Signal::Logs, message.encode_to_vec(), count);
        }
        true
    }

    fn push(&mut self, signal: Signal, bytes: Vec<u8>, count: u64) {
        let message = Message { signal, bytes: Bytes::from(bytes), count };
        self.queue.push(message, &self.shared.fate);
    }

    /// Sends the next message. Nothing is lost when this is given up half-way; then it may come twice.
    async fn send(&mut self) {
        let Some((message, _)) = self.queue.next() else { return };
        let (outcome, said) = self.endpoint.send(&message).await;
        self.queue.settle(outcome, Instant::now(), &self.shared.fate);
        self.tell(message.signal, outcome, &said.unwrap_or_default());
    }

    /// Says what is news: an endpoint says much the same of each message.
    fn tell(&mut self, signal: Signal, outcome: Outcome, said: &str) {
        let (fate, at) = (&self.shared.fate, self.endpoint.shown());
        let becomes = match outcome {
            Outcome::Taken(rejected) => {
                self.said = None;
                if fate.succeeded() {
                    crate::note!("twtrace: exporting to {at}");
                }
                let had_said = std::mem::replace(&mut self.remarks[signal as usize], !said.is_empty());
                match rejected {
                    _ if had_said || said.is_empty() => {}
                    0 => crate::note!("twtrace: {at} takes what is exported, and says: {said}"),
                    _ => crate::note!(
                        "twtrace: {at} takes a part of what is exported: {said}; the rest is lost"
                    ),
                }
                return;
            }
            Outcome::Later(_) => Becomes::Kept,
            Outcome::Never => Becomes::Lost,
        };
        fate.failed();
        match (self.said.replace(becomes), becomes) {
            (before, now) if before == Some(now) => {}
            (_, Becomes::Kept) => {
                crate::note!("twtrace: cannot export to {at}: {said}; it is tried again, and kept meanwhile");
            }
            (_, Becomes::Lost) => {
                crate::note!("twtrace: {at} does not take what is exported: {said}; it is lost");
            }
        }
    }
}
