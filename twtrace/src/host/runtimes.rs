//! Owns: what container runtimes on this machine call their containers: asked at their own sockets, on a thread of its own, once for each.
//! Must not know: who wants to know.
//!
//! Nobody waits for a runtime: names are there a moment after a container is met, or never. A runtime that is not there, does not answer or
//! does not know a container is no error.

mod cri;
mod docker;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hashlink::LruCache;

use crate::host::wire::{Channel, Protocol, ServerAddress};
use crate::host::worker::{Died, Thread};
use crate::model::identity::{Container, Names, Naming, Runtime};

/// Containers that are remembered.
const KNOWN: usize = 4096;
/// Containers that are asked after and not answered yet; more are asked after later.
const WAITING: usize = 256;
/// So long an answer may take, and so many bytes it may have.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST: usize = 4 << 20;
/// A container of which nothing came is asked after again when it is met so much later.
const AGAIN_NS: u64 = 30_000_000_000;

/// What is spoken at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// Docker's API over HTTP.
    Docker,
    /// Kubernetes' Container Runtime Interface over gRPC.
    Cri,
}

/// Where runtimes listen, unless they are told otherwise.
const SOCKETS: [(Runtime, Speaks, &str); 6] = [
    (Runtime::Docker, Speaks::Docker, "/run/docker.sock"),
    (Runtime::Podman, Speaks::Docker, "/run/podman/podman.sock"),
    (Runtime::Containerd, Speaks::Cri, "/run/containerd/containerd.sock"),
    (Runtime::Containerd, Speaks::Cri, "/run/k3s/containerd/containerd.sock"),
    (Runtime::CriO, Speaks::Cri, "/run/crio/crio.sock"),
    // Kubernetes on Docker.
    (Runtime::Docker, Speaks::Cri, "/run/cri-dockerd.sock"),
];

/// A container whose names are wanted.
struct Wanted {
    id: String,
    runtime: Runtime,
    into: Naming,
}

/// See the head of the file.
pub struct Runtimes {
    known: LruCache<String, (Naming, u64)>,
    /// Sockets that are asked before those that are known.
    more: Vec<PathBuf>,
    thread: Option<(SyncSender<Wanted>, Thread)>,
    can_start: bool,
}

impl Runtimes {
    /// Asks at `sockets`, whichever runtime they are of, and then where runtimes usually listen.
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self { known: LruCache::new(KNOWN), more: sockets, thread: None, can_start: true }
    }

    /// The names of a container, which may come later. Takes no time. `now_ns` is of any clock that only goes up.
    pub fn names(&mut self, container: &Container, now_ns: u64) -> Naming {
        if !is_asked_for(container) {
            return Naming::default();
        }
        if let Some((naming, asked_ns)) = self.known.get_mut(&container.id) {
            let naming = naming.clone();
            if naming.get().is_some() || now_ns < asked_ns.saturating_add(AGAIN_NS) {
                return naming;
            }
            *asked_ns = now_ns;
            self.ask(container, naming.clone());
            return naming;
        }
        let naming = Naming::default();
        self.known.insert(container.id.clone(), (naming.clone(), now_ns));
        self.ask(container, naming.clone());
        naming
    }

    /// That nobody asks any more, where the thread has died: containers that are met from then on have no names. It says so once.
    pub fn died(&mut self) -> Option<Died> {
        let (_, thread) = self.thread.take_if(|(_, thread)| thread.alive().check().is_err())?;
        self.can_start = false;
        Some(thread.died())
    }

    fn ask(&mut self, container: &Container, into: Naming) {
        if self.thread.is_none() && self.can_start {
            self.thread = start(&self.more);
            self.can_start = self.thread.is_some();
        }
        if let Some((thread, _)) = &self.thread {
            // What there is no room for is asked for when it is met again.
            let _ = thread.try_send(Wanted { id: container.id.clone(), runtime: container.runtime, into });
        }
    }
}

/// Whether it has an id that a runtime could know: that of a container that goes by its name says it all.
fn is_asked_for(container: &Container) -> bool {
    let is_id = container.id.len() >= 12 && container.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && !matches!(container.runtime, Runtime::Lxc | Runtime::Nspawn | Runtime::Garden)
}

fn start(more: &[PathBuf]) -> Option<(SyncSender<Wanted>, Thread)> {
    let (ask, wanted) = sync_channel(WAITING);
    let more = more.to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().ok()?;
    // Without a thread nothing is missing but names. It ends with whoever asks.
    let thread = Thread::start("runtimes", move || answer(&runtime, &more, &wanted)).ok()?;
    Some((ask, thread))
}

fn answer(runtime: &tokio::runtime::Runtime, more: &[PathBuf], wanted: &Receiver<Wanted>) {
    for Wanted { id, runtime: made_by, into } in wanted {
        if let Some(names) = runtime.block_on(look_up(made_by, &id, more)) {
            into.set(names);
        }
    }
}

/// Asks one socket after the other until one knows it.
async fn look_up(made_by: Runtime, id: &str, more: &[PathBuf]) -> Option<Names> {
    for path in more {
        for speaks in [Speaks::Cri, Speaks::Docker] {
            if let Some(names) = ask(path, speaks, id).await {
                return Some(names);
            }
        }
    }
    // The cgroup of a pod does not always tell what runs it.
    let may_be = |runtime| runtime == made_by || made_by == Runtime::Kubernetes;
    for (_, speaks, path) in SOCKETS.iter().filter(|(runtime, ..)| may_be(*runtime)) {
        if let Some(names) = ask(Path::new(path), *speaks, id).await {
            return Some(names);
        }
    }
    None
}

async fn ask(path: &Path, speaks: Speaks, id: &str) -> Option<Names> {
    let destination = ServerAddress::Unix(path.to_owned());
    let protocol = match speaks {
        Speaks::Docker => Protocol::Http1,
        Speaks::Cri => Protocol::Http2,
    };
    let mut channel = Channel::new(destination, protocol, PATIENCE, LONGEST);
    match speaks {
        Speaks::Docker => docker::names(&mut channel, id).await,
        Speaks::Cri => cri::names(&mut channel, id).await,
    }
}

#[cfg(test)]
mod tests;
