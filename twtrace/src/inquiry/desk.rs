//! Owns: the side that answers: the socket, and a recording of what lives.
//! Must not know: who asks.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;

use super::ask::is_ours;
use crate::clock::Clock;
use crate::event::{Conn, Event, Kind};
use crate::recording::{EncodeError, Encoder, Head, Stop, Tail};
use crate::tracker::{Live, Tracker};

/// A visitor who does not read for so long has gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events in a batch: bounds what is held twice.
const BATCH: usize = 16_384;

/// Where visitors are answered. The socket goes when this is dropped.
#[derive(Debug)]
pub struct Desk {
    listener: UnixListener,
    path: PathBuf,
    /// Somebody is being answered: one at a time, however many come.
    is_busy: Arc<AtomicBool>,
}

impl Desk {
    /// Listens in `place`, which is made if it is not there. To be called where there is a runtime.
    ///
    /// # Errors
    /// Of files and sockets; mostly because only root may write there. A trace goes on without.
    pub fn open(place: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !is_ours(place)? {
            return Err(io::Error::other("others may write there"));
        }
        sweep(place);
        // A pid is used again, and may be the same in two pid namespaces.
        let name = format!("{}-{}.sock", std::process::id(), Clock::read().mono_ns);
        let path = place.join(name);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, is_busy: Arc::default() })
    }

    pub(super) async fn visitor(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Whether somebody is being answered.
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    /// Tells a visitor what lives. The answer is made here, and sent by a thread of its own, since a visitor may read slowly. Whoever
    /// comes while another is being answered gets nothing, and may come again.
    pub(super) fn answer(&self, mut visitor: UnixStream, backend: &str, world: &Tracker) -> io::Result<()> {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let is_busy = Free(Arc::clone(&self.is_busy));
        let bytes = told(backend, world).map_err(io::Error::other)?;
        std::thread::Builder::new().name("inquiry".into()).spawn(move || {
            // A visitor who left has what there is of an answer.
            let _ = visitor.write_all(&bytes);
            drop(is_busy);
        })?;
        Ok(())
    }
}

/// The next visitor of a trace that can be asked; of one that cannot, never. Can be given up at any time.
///
/// # Errors
/// Of the socket: then it is of no use any more.
pub async fn visitor(desk: Option<&Desk>) -> io::Result<UnixStream> {
    match desk {
        Some(desk) => desk.visitor().await,
        None => std::future::pending().await,
    }
}

impl Desk {
    /// Answers a visitor, who loses nothing but the answer if that fails; and closes the desk where nobody can come any more.
    pub fn receive(desk: &mut Option<Self>, visitor: io::Result<UnixStream>, backend: &str, world: &Tracker) {
        match (desk.as_ref(), visitor) {
            (Some(open), Ok(visitor)) => {
                let _ = open.answer(visitor, backend, world);
            }
            (_, Err(_)) => *desk = None,
            (None, _) => {}
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What cannot be removed now is swept away by the next. Others may still be there.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

/// Whatever happens, the next visitor is answered.
struct Free(Arc<AtomicBool>);

impl Drop for Free {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Removes sockets that nobody listens on.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if UnixStream::connect(&path).is_err_and(refused) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A recording of the sockets whose birth was seen.
fn told(backend: &str, world: &Tracker) -> Result<Vec<u8>, EncodeError> {
    let Clock { mono_ns, wall_ns } = Clock::read();
    let head = Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: crate::clock::boot_id(),
        mono_ns,
        wall_ns,
        backend: backend.to_owned(),
        ..Head::default()
    };
    let mut encoder = Encoder::new(&head)?;
    for (conn, live) in world.sockets() {
        if let Some(born) = birth(*conn, live) {
            encoder.append(&born);
            if encoder.waiting() == BATCH {
                encoder.close_batch()?;
            }
        }
    }
    encoder.finish(&Tail { mono_ns, wall_ns, stop: Stop::Other, ..Tail::default() })?;
    Ok(std::mem::take(encoder.bytes()))
}

/// The `created` that a live socket came from; `None` where nobody saw it.
fn birth(conn: Conn, live: Live) -> Option<Event> {
    let born_ns = live.born_ns?;
    let mut event = Event::new(Kind::Created, born_ns, Some(conn));
    event.role = live.role;
    event.substate = Some(live.substate);
    event.timeout_ms = u32::try_from(live.ends_ns.saturating_sub(born_ns) / 1_000_000).ok();
    event.cookie = live.cookie;
    event.owner = live.owner;
    event.via = Some(live.via);
    event.identity = live.identity;
    event.opener = live.opener;
    Some(event)
}
