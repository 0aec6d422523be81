//! Owns: thousands of network namespaces, each held by a process, some of them busy.
//! Must not know: scenarios, twtrace.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause};
use twtrace_kit::netns::enter_new;

/// Between two connections of a busy namespace.
const PAUSE: Duration = Duration::from_micros(800);

/// Processes that hold a namespace each. They end with this.
#[derive(Debug)]
pub(crate) struct Many {
    idle: Vec<Pid>,
    busy: Vec<(Pid, UnixStream)>,
}

impl Many {
    /// Makes so many namespaces in which nothing happens.
    ///
    /// # Errors
    /// Where the kernel makes no more.
    pub(crate) fn hold(count: usize) -> Result<Self> {
        let mut all = Self { idle: Vec::with_capacity(count), busy: Vec::new() };
        for _ in 0..count {
            let (mut here, there) = UnixStream::pair()?;
            // SAFETY: this program has one thread.
            match unsafe { fork() }? {
                ForkResult::Child => {
                    drop(here);
                    std::process::exit(i32::from(idle(there).is_err()))
                }
                ForkResult::Parent { child } => all.idle.push(child),
            }
            drop(there);
            here.read_exact(&mut [0]).context("a process with a namespace of its own")?;
        }
        Ok(all)
    }

    /// Makes so many more, in each of which connections come and go until [`Many::halt`].
    ///
    /// # Errors
    /// As [`Many::hold`].
    pub(crate) fn stir(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (mut here, there) = UnixStream::pair()?;
            // SAFETY: this program has one thread.
            match unsafe { fork() }? {
                ForkResult::Child => {
                    drop(here);
                    std::process::exit(i32::from(busy(there).is_err()))
                }
                ForkResult::Parent { child } => {
                    drop(there);
                    here.read_exact(&mut [0]).context("a busy process")?;
                    self.busy.push((child, here));
                }
            }
        }
        Ok(())
    }

    /// Lets the busy ones begin.
    ///
    /// # Errors
    /// Where one has ended.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.busy.iter_mut().try_for_each(|(_, stream)| Ok(stream.write_all(b"g")?))
    }

    /// Stops the busy ones; says how many connections they made together. Their namespaces stay.
    ///
    /// # Errors
    /// Where one has ended.
    pub(crate) fn halt(&mut self) -> Result<u64> {
        self.busy.iter_mut().try_for_each(|(_, stream)| stream.write_all(b"h"))?;
        let mut made = 0;
        for (_, stream) in &mut self.busy {
            let mut count = [0; 8];
            stream.read_exact(&mut count)?;
            made += u64::from_ne_bytes(count);
        }
        ensure!(made != 0, "no connection was made");
        Ok(made)
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        let all = || self.idle.iter().chain(self.busy.iter().map(|(pid, _)| pid));
        for pid in all() {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        for pid in all() {
            let _ = waitpid(*pid, None);
        }
    }
}

fn idle(mut parent: UnixStream) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    enter_new()?;
    parent.write_all(b"r")?;
    drop(parent);
    loop {
        pause();
    }
}

fn busy(mut parent: UnixStream) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    enter_new()?;
    let listener = TcpListener::bind("127.0.0.1:10007")?;
    parent.write_all(b"r")?;
    parent.read_exact(&mut [0])?;
    parent.set_nonblocking(true)?;
    let mut made = 0_u64;
    while parent.read(&mut [0]).is_err() {
        let client = TcpStream::connect("127.0.0.1:10007")?;
        let (mut served, _) = listener.accept()?;
        drop(client);
        served.read_to_end(&mut Vec::new())?;
        made += 1;
        std::thread::sleep(PAUSE);
    }
    parent.set_nonblocking(false)?;
    parent.write_all(&made.to_ne_bytes())?;
    loop {
        pause();
    }
}
