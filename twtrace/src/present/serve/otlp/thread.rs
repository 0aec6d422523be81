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
use super::findings::{self, SentFindings};
use super::points::{self, Beginnings};
use super::queue::{Message, Outcome, Queue, Signal};
use crate::host::machine::Machine;
use crate::host::usage::Usage;
use crate::host::worker::{Alive, Died, Joined, Thread};
use crate::model::clock::Clock;
use crate::present::serve::families::families;
use crate::present::serve::shared::Shared;

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

    /// Whether it still exports.
    pub fn alive(&self) -> Alive {
        self.thread.alive()
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
    told: SentFindings,
    queue: Queue,
    /// What becomes of metrics and of findings, as far as that was said.
    said: [Option<Becomes>; 2],
}

/// What becomes of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Taken,
    /// With words of the endpoint's.
    Remarked,
    /// A part.
    Rejected,
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
            told: SentFindings::default(),
            queue: Queue::new(Instant::now()),
            said: [None; 2],
        }
    }

    async fn run(&mut self, every: Duration, mut stopped: oneshot::Receiver<()>) {
        let mut collect_at = Instant::now();
        loop {
            if Instant::now() >= collect_at {
                let is_told = self.collect().await;
                collect_at = Instant::now() + if is_told { every } else { RETRY.min(every) };
            }
            let due = self.queue.next().map(|(_, due)| due);
            let sends = due.is_some_and(|due| due <= Instant::now());
            let next = async {
                if sends {
                    self.send().await;
                } else {
                    sleep_until(due.map_or(collect_at, |due| due.min(collect_at)).into()).await;
                }
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = next => {}
            }
        }
        let rest = async {
            self.collect().await;
            while self.queue.may_try(Instant::now()) && self.send().await {}
        };
        let _ = tokio::time::timeout(PARTING, rest).await;
        self.queue.give_up(&self.shared.fate);
    }

    /// Makes messages of what is known now. `false` where nothing is.
    async fn collect(&mut self) -> bool {
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

    /// Sends the next message; whether it is through with it. Nothing is lost when this is given up half-way; then it may come twice.
    async fn send(&mut self) -> bool {
        let Some((message, _)) = self.queue.next() else { return false };
        let (outcome, said) = self.endpoint.send(&message).await;
        self.queue.settle(outcome, Instant::now(), &self.shared.fate);
        self.tell(message.signal, outcome, &said.unwrap_or_default());
        !matches!(outcome, Outcome::Later(_))
    }

    /// Says what is news: an endpoint says much the same of each message of a signal.
    fn tell(&mut self, signal: Signal, outcome: Outcome, said: &str) {
        let fate = &self.shared.fate;
        let becomes = match outcome {
            Outcome::Taken(_) if said.is_empty() => Becomes::Taken,
            Outcome::Taken(0) => Becomes::Remarked,
            Outcome::Taken(_) => Becomes::Rejected,
            Outcome::Later(_) => Becomes::Kept,
            Outcome::Never => Becomes::Lost,
        };
        match outcome {
            Outcome::Taken(_) => fate.succeeded(),
            _ => fate.failed(),
        }
        let before = self.said[signal as usize].replace(becomes);
        if before == Some(becomes) {
            return;
        }
        let at = self.endpoint.shown();
        let was_taken = before.is_some_and(|before| !matches!(before, Becomes::Kept | Becomes::Lost));
        match becomes {
            Becomes::Taken if was_taken => {}
            Becomes::Taken => crate::note!("twtrace: exporting {} to {at}", signal.word()),
            Becomes::Remarked => {
                crate::note!("twtrace: {at} takes the {} that are exported, and says: {said}", signal.word());
            }
            Becomes::Rejected => crate::note!(
                "twtrace: {at} takes a part of the {} that are exported: {said}; the rest is lost",
                signal.word()
            ),
            Becomes::Kept => crate::note!(
                "twtrace: cannot export {} to {at}: {said}; it is tried again, and they are kept meanwhile",
                signal.word()
            ),
            Becomes::Lost => crate::note!(
                "twtrace: {at} does not take the {} that are exported: {said}; they are lost",
                signal.word()
            ),
        }
    }
}
