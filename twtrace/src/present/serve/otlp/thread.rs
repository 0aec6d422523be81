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
use super::fate::Fate;
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
}

impl Work {
    fn new(endpoint: Endpoint, shared: Arc<Shared>, resource: Resource) -> Self {
        let began_ns = (shared.started_s * 1e9) as u64;
        Self {
            endpoint,
            shared,
            resource,
            beginnings: points::beginnings(began_ns),
            told: Told::default(),
            queue: Queue::new(Instant::now()),
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
                    send(&mut self.endpoint, &mut self.queue, &self.shared.fate).await;
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
            while self.queue.next().is_some() {
                send(&mut self.endpoint, &mut self.queue, &self.shared.fate).await;
            }
        };
        let _ = tokio::time::timeout(PARTING, rest).await;
        self.queue.give_up(&self.shared.fate);
    }

    /// Makes messages of what is known now. `false` where nothing is.
    async fn look(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Ok(picture) = shared.board.picture().await else { return false };
        let usage = Usage::read(shared.started_s);
        let families = families(&picture, &usage, &shared.served(), shared.top);
        let now_ns = u64::try_from(Clock::read().wall_ns).unwrap_or(0);
        let (message, count) = points::message(&families, &self.resource, &mut self.beginnings, now_ns);
        self.push(Signal::Metrics, message.encode_to_vec(), count);
        let findings = &picture.diagnosis().1;
        if let Some((message, count)) = findings::message(findings, &mut self.told, &self.resource, now_ns) {
            self.push(Signal::Logs, message.encode_to_vec(), count);
        }
        true
    }

    fn push(&mut self, signal: Signal, bytes: Vec<u8>, count: u64) {
        let message = Message { signal, bytes: Bytes::from(bytes), count };
        self.queue.push(message, &self.shared.fate);
    }
}

/// Sends the next message. Nothing is lost when this is given up half-way; then it may come twice.
async fn send(endpoint: &mut Endpoint, queue: &mut Queue, fate: &Fate) {
    let Some((message, _)) = queue.next() else { return };
    let (outcome, said) = endpoint.send(&message).await;
    queue.settle(outcome, Instant::now(), fate);
    let said = said.unwrap_or_default();
    match outcome {
        Outcome::Taken(_) if fate.succeeded() => crate::note!("twtrace: exporting to {}", endpoint.shown()),
        Outcome::Taken(_) => {}
        Outcome::Later(_) if fate.failed() => {
            crate::note!(
                "twtrace: cannot export to {}: {said}; it is tried again, and kept meanwhile",
                endpoint.shown()
            );
        }
        Outcome::Never if fate.failed() => {
            crate::note!("twtrace: {} does not take what is exported: {said}; it is lost", endpoint.shown());
        }
        Outcome::Later(_) | Outcome::Never => {}
    }
}
