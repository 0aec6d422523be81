//! The generator's processes. The first accepts, gives the clients work, keeps the pace, and answers orders; a client makes connections when
//! it is told to.
//!
//! Owns: how a run goes. Must not know: who gives the orders, and why.
//!
//! All processes share one core. All connections of a batch are accepted before the next one is given out: nobody ever waits for a
//! packet, and the accept queue cannot overflow.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, getpid};
use socket2::{Domain, Socket, Type};

use super::board::Board;
use super::{Done, First, Order, PORT, Reply, Shape};

/// Connections given out at a time, at most.
const BATCH: u64 = 64;
/// `listen()` backlog: a batch and more.
const BACKLOG: i32 = 1024;
/// The longest connect() that is told from longer ones, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;
/// How long a connection that is on its way may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// At a given rate work is given out about this often: a timer's wake-up costs as much as a connection.
const STEP: Duration = Duration::from_micros(500);

/// Runs a generator: orders come on stdin, replies go to stdout. Ends when stdin does.
///
/// # Errors
/// Where it cannot be set up. What goes wrong later is a reply.
pub(crate) fn serve(shape: &Shape) -> Result<()> {
    let mut server = Server::start(shape)?;
    say(&Reply::Ready)?;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?).context("no order")?;
        let reply = match server.run(order) {
            Ok(done) => Reply::Done(done),
            Err(error) => Reply::Failed(format!("{error:#}")),
        };
        say(&reply)?;
    }
    Ok(())
}

fn say(reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(std::io::stdout().lock().write_all(&line)?)
}

struct Server {
    shape: Shape,
    listener: Socket,
    board: Board,
    /// Their pids.
    clients: Vec<u32>,
    /// Whose turn it is.
    next: u32,
    /// Times taken off the board.
    read: u32,
    /// Connections since the start.
    made: u64,
}

impl Server {
    fn start(shape: &Shape) -> Result<Self> {
        stay_on_one_core()?;
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.set_reuse_address(true)?;
        listener.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT).into())?;
        listener.listen(BACKLOG)?;
        // For accept(): a client that failed sends nothing.
        listener.set_read_timeout(Some(PATIENCE))?;
        let board = Board::new(shape.processes)?;
        let mut clients = Vec::new();
        for number in 0..shape.processes {
            clients.push(start_client(shape, number, board)?);
        }
        Ok(Self { shape: *shape, listener, board, clients, next: 0, read: 0, made: 0 })
    }

    fn run(&mut self, order: Order) -> Result<Done> {
        let before = self.made_by_each();
        let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3)?;
        let (began, length) = (Instant::now(), order.length());
        let mut made = 0;
        loop {
            let elapsed = began.elapsed();
            if elapsed >= length {
                break;
            }
            match due(order.rate, elapsed, made) {
                0 => pause(began + STEP.mul_f64((elapsed.as_secs_f64() / STEP.as_secs_f64()).floor() + 1.0)),
                count => {
                    self.batch(count)?;
                    made += count;
                }
            }
            self.board.take(&mut self.read, |took_ns| times.saturating_record(took_ns));
        }
        self.made += made;
        self.settle()?;
        let elapsed_s = began.elapsed().as_secs_f64();
        self.board.take(&mut self.read, |took_ns| times.saturating_record(took_ns));
        let owners = self.owners(&before, made);
        let quantile = |share| times.value_at_quantile(share);
        Ok(Done { made, elapsed_s, p50_ns: quantile(0.5), p99_ns: quantile(0.99), owners })
    }

    /// Has so many connections made, and closes this end of each.
    fn batch(&mut self, count: u64) -> Result<()> {
        let mut left = u32::try_from(count)?;
        // To as many clients as there are: all of them are to have their turn.
        let each = u32::try_from(BATCH)?.div_ceil(self.shape.processes);
        while left > 0 {
            let share = each.min(left);
            self.board.give(self.next, share);
            self.next = (self.next + 1) % self.shape.processes;
            left -= share;
        }
        for _ in 0..count {
            let accepted = self.listener.accept().map(|(socket, _)| socket);
            let mut socket = accepted.map_err(|error| self.why(&error))?;
            if self.shape.first == First::Client {
                await_fin(&mut socket).map_err(|error| self.why(&error))?;
            }
        }
        Ok(())
    }

    /// Waits until the clients have closed their ends.
    fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while u64::from(self.board.closed_in_all()) != self.made & u64::from(u32::MAX) {
            if let Some(errno) = self.board.errno() {
                bail!("a client: {}", std::io::Error::from_raw_os_error(errno));
            }
            if Instant::now() > deadline {
                bail!("the clients do not close their ends");
            }
            // They are on this very core, and need it.
            nix::sched::sched_yield()?;
        }
        Ok(())
    }

    /// What is wrong: a client's failure, where there is one.
    fn why(&self, error: &std::io::Error) -> anyhow::Error {
        match self.board.errno() {
            Some(errno) => anyhow::anyhow!("a client: {}", std::io::Error::from_raw_os_error(errno)),
            None => anyhow::anyhow!("waiting for a client: {error}"),
        }
    }

    fn made_by_each(&self) -> Vec<u32> {
        let made = (0..self.shape.processes).map(|number| self.board.made(number).load(Ordering::Relaxed));
        if self.shape.first == First::Client { made.collect() } else { Vec::new() }
    }

    /// Who closed first, how often, in a run of `made` connections.
    fn owners(&self, before: &[u32], made: u64) -> Vec<(u32, u64)> {
        if self.shape.first == First::Server {
            return vec![(std::process::id(), made)];
        }
        let after = self.made_by_each();
        let counts = after.iter().zip(before).map(|(after, before)| u64::from(after.wrapping_sub(*before)));
        self.clients.iter().copied().zip(counts).filter(|(_, count)| *count != 0).collect()
    }
}

/// How many connections there should have been by now, less those made; at most a batch.
fn due(rate: Option<u32>, elapsed: Duration, made: u64) -> u64 {
    let Some(rate) = rate else { return BATCH };
    let wanted = (elapsed.as_secs_f64() * f64::from(rate)) as u64;
    wanted.saturating_sub(made).min(BATCH)
}

/// Sleeps until then: at a given rate there is nothing to do before.
fn pause(until: Instant) {
    // poll: it is the pace itself, no event is waited for.
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn start_client(shape: &Shape, number: u32, board: Board) -> Result<u32> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.with_context(|| format!("client process {number}"))? {
        ForkResult::Parent { child } => Ok(child.as_raw().unsigned_abs()),
        ForkResult::Child => Client { number, first: shape.first, board, targets: shape.targets }.live(),
    }
}

/// The last core we may run on: the first one has most of a machine's interrupts.
fn stay_on_one_core() -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut only = CpuSet::new();
    only.set(last.context("no core to run on")?)?;
    sched_setaffinity(getpid(), &only).context("staying on one core")
}

/// A client before it has begun.
struct Client {
    number: u32,
    first: First,
    board: Board,
    /// Connections go in turn to so many addresses.
    targets: u8,
}

impl Client {
    /// Works until it is killed, as it is when the server ends. Never returns.
    fn live(self) -> ! {
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let board = self.board;
        let Err(error) = self.work();
        board.fail(error.raw_os_error().unwrap_or(libc::EIO));
        // The runtime of the process this was forked from is none of ours to wind up.
        // SAFETY: ends the process and touches nothing.
        unsafe { libc::_exit(0) }
    }

    fn work(self) -> io::Result<std::convert::Infallible> {
        let Self { number, first, board, targets } = self;
        let mut open = Vec::new();
        // Not all of many clients begin with the same address.
        let mut turns = (0..targets).cycle().skip((number % u32::from(targets)) as usize);
        loop {
            for target in turns.by_ref().take(board.take_work(number) as usize) {
                let (socket, took_ns) = connect(target)?;
                board.connected(number, took_ns);
                match first {
                    First::Client => {
                        drop(socket);
                        board.closed();
                    }
                    First::Server => open.push(socket),
                }
            }
            for mut socket in open.drain(..) {
                await_fin(&mut socket)?;
                drop(socket);
                board.closed();
            }
        }
    }
}

/// A connection to 127.0.0.1 or one of the addresses after it, and how long connect() took, in nanoseconds.
fn connect(target: u8) -> io::Result<(Socket, u64)> {
    let target = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1 + target), PORT);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let began = Instant::now();
    socket.connect(&target.into())?;
    Ok((socket, u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)))
}

/// Waits until the other end has closed: only so is it certain whose FIN was first.
fn await_fin(socket: &mut Socket) -> io::Result<()> {
    match socket.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_follows_the_rate_and_is_a_batch_at_most() {
        assert_eq!(due(None, Duration::ZERO, 7), BATCH);
        assert_eq!(due(Some(1000), Duration::from_millis(31), 0), 31);
        assert_eq!(due(Some(1000), Duration::from_millis(31), 31), 0);
        assert_eq!(due(Some(1000), Duration::from_millis(31), 40), 0);
        assert_eq!(due(Some(20_000), Duration::from_secs(1), 0), BATCH);
    }
}
