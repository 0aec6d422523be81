//! Owns: the loads whose instructions are counted, and the settings of the machine that each needs. Each is made by two
//! processes at most, one connection after the other, so that two runs do the same.
//! Must not know: what runs beside them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork};
use serde::{Deserialize, Serialize};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::pass;

use super::peer::Peer;

const PORT: u16 = 9123;
/// Addresses of the client-first load, so that finding a free port stays cheap.
const TARGETS: u32 = 100;
/// A range of ports that no load comes to the end of.
const WIDE: &str = "1024 64999";
/// A range in which each connection of the server-first load meets the TIME_WAIT socket of an older one.
const NARROW: &str = "30000 31023";
/// Ports of that range.
const NARROW_PORTS: u32 = 1024;
/// Longer than the kernel's TIME_WAIT.
const ALL_ENDED: Duration = Duration::from_secs(62);
/// Bytes of a request, and of its answer.
const REQUEST: usize = 100;

/// What is done, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// The client closes first: a TIME_WAIT socket is born at its end, none ends.
    Client,
    /// The server closes first, and each connection takes over an older TIME_WAIT socket: a birth and an early end.
    Server,
    /// The peer, which is no socket of this machine, closes first: of two connections one was made from here and one to here,
    /// and nothing becomes TIME_WAIT.
    Passive,
    /// Requests and answers over one connection.
    KeepAlive,
}

/// The machine that loads run on.
pub(super) struct Machine {
    filled: bool,
    peer: Peer,
}

impl Machine {
    /// Makes this machine ready for all loads.
    ///
    /// # Errors
    /// Where a setting cannot be made.
    pub(super) fn set_up() -> Result<Self> {
        // A port in TIME_WAIT may be had by connect(), and the table is never full.
        set_ipv4("tcp_tw_reuse", "1")?;
        set_ipv4("tcp_max_tw_buckets", "262144")?;
        Ok(Self { filled: false, peer: Peer::set_up()? })
    }

    /// Brings it into the state in which a load begins.
    ///
    /// # Errors
    /// Where that cannot be reached.
    pub(super) fn prepare(&mut self, load: Load) -> Result<()> {
        set_ipv4("ip_local_port_range", if load == Load::Server { NARROW } else { WIDE })?;
        if load != Load::Server {
            pass(ALL_ENDED);
            return Ok(());
        }
        // One for each port: those of an earlier time may have ended meanwhile.
        let rounds = if self.filled { 2 } else { 6 };
        self.filled = true;
        self.run(load, rounds, NARROW_PORTS).map(drop)
    }

    /// Runs a load for some rounds, and returns how many instructions the machine ran in each.
    ///
    /// # Errors
    /// Where a connection failed.
    pub(super) fn run(&mut self, load: Load, rounds: u32, count: u32) -> Result<Vec<u64>> {
        if load == Load::Passive {
            return each_round(rounds, count, |n| self.peer.connection(n));
        }
        let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT))?;
        let (turns, server_turns) = UnixStream::pair()?;
        let server = Server::start(load, &listener, server_turns, rounds * count)?;
        let instructions = client(load, turns, rounds, count)?;
        server.wait()?;
        Ok(instructions)
    }
}

/// The clock that counts instructions.
fn now() -> Result<u64> {
    Ok(u64::try_from(clock_gettime(ClockId::CLOCK_MONOTONIC)?.num_nanoseconds())?)
}

/// Does something so often, round by round, and returns how many instructions each round took.
fn each_round(rounds: u32, count: u32, mut work: impl FnMut(u32) -> Result<()>) -> Result<Vec<u64>> {
    let mut instructions = Vec::new();
    let mut before = now()?;
    for round in 0..rounds {
        for n in round * count..(round + 1) * count {
            work(n).with_context(|| format!("connection {n}"))?;
        }
        let after = now()?;
        instructions.push(after - before);
        before = after;
    }
    Ok(instructions)
}

/// `turns` keeps both ends in step where the connection itself does not: how often processes switch would be chance.
fn client(load: Load, mut turns: UnixStream, rounds: u32, count: u32) -> Result<Vec<u64>> {
    let targets = if load == Load::Client { TARGETS } else { 1 };
    let to =
        |n: u32| SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + n % targets), PORT);
    if load == Load::KeepAlive {
        let mut stream = TcpStream::connect(to(0))?;
        let mut bytes = [0; REQUEST];
        return each_round(rounds, count, |_| {
            stream.write_all(&bytes)?;
            Ok(stream.read_exact(&mut bytes)?)
        });
    }
    each_round(rounds, count, |n| {
        let mut stream = TcpStream::connect(to(n))?;
        if load == Load::Server {
            return until_closed(&mut stream);
        }
        drop(stream);
        Ok(turns.read_exact(&mut [0])?)
    })
}

fn serve(load: Load, listener: &TcpListener, mut turns: UnixStream, count: u32) -> Result<()> {
    if load == Load::KeepAlive {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = [0; REQUEST];
        for _ in 0..count {
            stream.read_exact(&mut bytes)?;
            stream.write_all(&bytes)?;
        }
        return until_closed(&mut stream);
    }
    for _ in 0..count {
        let (mut stream, _) = listener.accept()?;
        if load == Load::Client {
            until_closed(&mut stream)?;
            drop(stream);
            turns.write_all(&[0])?;
        }
    }
    Ok(())
}

fn until_closed(stream: &mut TcpStream) -> Result<()> {
    ensure!(stream.read(&mut [0; 64])? == 0, "there should be no data");
    Ok(())
}

/// The process at the other end. It does not outlive this value.
struct Server(Option<Pid>);

impl Server {
    fn start(load: Load, listener: &TcpListener, turns: UnixStream, count: u32) -> Result<Self> {
        // SAFETY: this process has one thread, so that no lock is held by another one in the child.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self(Some(child))),
            ForkResult::Child => {
                let done = serve(load, listener, turns, count);
                if let Err(error) = &done {
                    eprintln!("the server of the load: {error:#}");
                }
                // SAFETY: ends the process with nothing of the parent's flushed or dropped twice.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
        }
    }

    fn wait(mut self) -> Result<()> {
        let Some(pid) = self.0.take() else { return Ok(()) };
        let status = waitpid(pid, None)?;
        ensure!(matches!(status, WaitStatus::Exited(_, 0)), "the server of the load ended with {status:?}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It is our child and not waited for yet: both can only succeed.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}
