//! Owns: commands for recordings to be made of: processes that are gone before anyone could look at them, and one that tells
//! which signals reach it.
//! Must not know: twtrace.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// `count` grandchildren, each of which opens one connection over loopback and exits with it: it is closed by the exit of a
/// process that lives for less than a millisecond, and whose parent is gone as well.
///
/// # Errors
/// Where a connection fails.
pub fn make(count: u32) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    for _ in 0..count {
        // SAFETY: this program has one thread.
        match unsafe { fork() }? {
            ForkResult::Child => std::process::exit(match beget(&listener, to) {
                Ok(()) => 0,
                Err(_) => 1,
            }),
            ForkResult::Parent { child } => match waitpid(child, None)? {
                WaitStatus::Exited(_, 0) => {}
                status => bail!("a child ended with {status:?}"),
            },
        }
        let (mut served, _) = listener.accept().context("accept")?;
        // Until the grandchild is gone, and with it the last descriptor of its end.
        served.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

fn beget(_listener: &TcpListener, to: std::net::SocketAddr) -> Result<()> {
    // SAFETY: this program has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let connection = TcpStream::connect(to);
            // Exits with the connection open.
            std::mem::forget(connection?);
            std::process::exit(0)
        }
        ForkResult::Parent { .. } => Ok(()),
    }
}

/// What [`count_interrupts`] exits with.
pub const COUNTED: u8 = 5;

/// How long a second SIGINT is waited for.
const SECOND: Duration = Duration::from_millis(700);

/// Writes a line to `file` for each SIGINT, and ends some time after the first. The file is there once it is ready.
///
/// # Errors
/// Where the file cannot be written.
pub fn count_interrupts(path: &Path) -> Result<()> {
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    interrupts.thread_block()?;
    let mut file = fs::File::create(path)?;
    interrupts.wait()?;
    writeln!(file, "SIGINT")?;
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: SECOND.subsec_nanos().into() };
    // SAFETY: a set and a time of ours; no information is asked for.
    while unsafe { libc::sigtimedwait(interrupts.as_ref(), std::ptr::null_mut(), &raw const timeout) } > 0 {
        writeln!(file, "SIGINT")?;
    }
    Ok(())
}
