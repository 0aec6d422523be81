//! Owns: the side that asks: every running trace that may be asked.
//! Must not know: how an answer is made.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, socket, sockopt};

use crate::host::caps::Caps;
use crate::model::escape;
use crate::recording::Recording;

/// A trace that says nothing for so long has no time for us, or is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// A trace that has begun to answer may take so long for the next piece.
const BETWEEN: Duration = Duration::from_secs(5);
/// Time between two visits to a trace that has no room.
const AGAIN: Duration = Duration::from_millis(50);

/// What the running traces said.
#[derive(Default)]
pub struct Answers {
    /// A recording of the sockets that live, of each.
    pub recordings: Vec<Recording>,
    /// What the user should know: traces that could not be asked.
    pub notes: Vec<String>,
}

/// Asks every trace that listens in `dir`.
pub fn ask(dir: &Path) -> Answers {
    let mut answers = Answers::default();
    let shown = || escape::path(dir);
    match is_ours(dir) {
        Ok(true) => {}
        // Anybody could tell us anything.
        Ok(false) => {
            answers.notes.push(format!("{} is not asked: others than root and you may write there", shown()));
            return answers;
        }
        // There is no trace.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return answers,
        Err(error) => {
            answers.notes.push(format!("running traces cannot be asked: {}: {error}", shown()));
            return answers;
        }
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            let remedy = if Caps::own().uid() == 0 { "" } else { "; remedy: run as root" };
            answers.notes.push(format!("running traces cannot be asked who owns what: {error}{remedy}"));
            return answers;
        }
    };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // All at once: one that does not answer keeps nobody from hearing the others.
    let heard: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = paths.iter().map(|path| scope.spawn(|| hear(path))).collect();
        asked
            .into_iter()
            .map(|heard| heard.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for (path, heard) in paths.iter().zip(heard) {
        match heard {
            Ok(recording) => answers.recordings.push(recording),
            // One that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                let path = escape::path(path);
                answers.notes.push(format!("the trace at {path} does not say who owns what: {error}"));
            }
        }
    }
    answers
}

fn hear(path: &Path) -> io::Result<Recording> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match answer_of(path, deadline) {
            // It has no room for us.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                // poll: the other end's room cannot be waited for.
                std::thread::sleep(AGAIN);
            }
            heard => return heard,
        }
    }
}

/// [`io::ErrorKind::WouldBlock`] where the trace is busy.
fn answer_of(path: &Path, deadline: Instant) -> io::Result<Recording> {
    let busy = || io::Error::new(io::ErrorKind::WouldBlock, "it is busy; ask again in a moment");
    let mut stream = connect(path)?;
    refuse_stopped(&stream)?;
    let left = deadline.saturating_duration_since(Instant::now()).max(AGAIN);
    stream.set_read_timeout(Some(left))?;
    let mut first = [0];
    match stream.read(&mut first) {
        Ok(0) => return Err(busy()),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            refuse_stopped(&stream)?;
            return Err(io::Error::other(format!("it did not answer within {} s", PATIENCE.as_secs())));
        }
        Err(error) => return Err(error),
    }
    stream.set_read_timeout(Some(BETWEEN))?;
    let answer = io::Cursor::new(first).chain(stream);
    Recording::read(answer, "its answer").map_err(io::Error::other)
}

/// Connects without waiting: [`io::ErrorKind::WouldBlock`] where too many others are waiting.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?).map_err(|errno| match errno {
        Errno::EAGAIN => io::Error::new(io::ErrorKind::WouldBlock, "it is busy; ask again in a moment"),
        errno => errno.into(),
    })?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A process that was sent SIGSTOP answers nobody.
fn refuse_stopped(stream: &UnixStream) -> io::Result<()> {
    let Ok(peer) = getsockopt(stream, sockopt::PeerCredentials) else { return Ok(()) };
    let stat = std::fs::read(format!("/proc/{}/stat", peer.pid())).unwrap_or_default();
    let close = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let is_stopped = matches!(stat.get(close + 1..close + 3), Some(b" T" | b" t"));
    let pid = peer.pid();
    let why = || format!("its process {pid} is stopped; remedy: let it go on, kill -CONT {pid}");
    if is_stopped { Err(io::Error::other(why())) } else { Ok(()) }
}

/// Whether only root and the caller may make files in a directory.
///
/// # Errors
/// Where it is none, or cannot be looked at.
pub(super) fn is_ours(dir: &Path) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let is_mine = found.uid() == nix::unistd::geteuid().as_raw();
    Ok((found.uid() == 0 || is_mine) && found.mode() & 0o022 == 0)
}
