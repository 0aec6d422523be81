//! Owns: the hold on actors: processes that make one system call when told to, so that nothing races. `process` is what runs in them, `op`
//! the words between it and us, `sockets` what they hold; `io_uring` and `memory` are what few of them do.
//! Must not know: expectations, tracers.

pub mod io_uring;
mod memory;
mod op;
mod process;
mod sockets;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, Pid, fork};

pub use op::Half;
use op::{Op, Reply};
pub use sockets::{Pair, Raw, Sock, close_in_order, complete};

/// A process under our command. Clones name the same process.
#[derive(Clone, Debug)]
pub struct Actor(Rc<Hold>);

#[derive(Debug)]
struct Hold {
    pid: u32,
    comm: String,
    uid: Cell<u32>,
    netns: Cell<u32>,
    control: RefCell<Option<OwnedFd>>,
}

/// What a call of an actor came to where failure is a possible outcome: the errno.
pub type Attempt<T> = std::result::Result<T, i32>;

impl Actor {
    /// Forks an actor named `comm` off the calling process, which has one thread. It starts in its network namespace, whose inode is `netns`.
    pub fn start(comm: &str, netns: u32) -> Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // SAFETY: who starts actors has one thread.
        match unsafe { fork() }? {
            ForkResult::Child => process::run(theirs, comm),
            ForkResult::Parent { child } => Self::hold(child.as_raw().try_into()?, comm, 0, netns, ours),
        }
    }

    fn hold(pid: u32, comm: &str, uid: u32, netns: u32, control: OwnedFd) -> Result<Self> {
        Ok(Self(Rc::new(Hold {
            pid,
            comm: comm.to_owned(),
            uid: Cell::new(uid),
            netns: Cell::new(netns),
            control: RefCell::new(Some(control)),
        })))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Its name.
    pub fn comm(&self) -> &str {
        &self.0.comm
    }

    /// Its uid.
    pub fn uid(&self) -> u32 {
        self.0.uid.get()
    }

    /// Inode of its network namespace.
    pub fn netns(&self) -> u32 {
        self.0.netns.get()
    }

    fn say(&self, op: &Op, beside: Option<RawFd>) -> Result<()> {
        let control = self.0.control.borrow();
        op::send(control.as_ref().context("this actor was dismissed")?, op, beside)
            .with_context(|| format!("telling {}: {op:?}", self.0.comm))
    }

    fn hear(&self) -> Result<(Reply, Option<OwnedFd>)> {
        let control = self.0.control.borrow();
        op::receive(control.as_ref().context("this actor was dismissed")?)?
            .with_context(|| format!("{} (pid {}) is gone", self.0.comm, self.0.pid))
    }

    fn attempt(&self, op: Op) -> Result<Attempt<Reply>> {
        self.say(&op, None)?;
        match self.hear()?.0 {
            Reply::Failed(0, why) => bail!("{} could not {op:?}: {why}", self.0.comm),
            Reply::Failed(errno, _) => Ok(Err(errno)),
            reply => Ok(Ok(reply)),
        }
    }

    fn call(&self, op: Op, beside: Option<RawFd>) -> Result<(Reply, Option<OwnedFd>)> {
        self.say(&op, beside)?;
        match self.hear()? {
            (Reply::Failed(_, why), _) => bail!("{} could not {op:?}: {why}", self.0.comm),
            heard => Ok(heard),
        }
    }

    fn run(&self, op: Op) -> Result<()> {
        self.call(op, None).map(drop)
    }

    fn number(&self, op: Op) -> Result<u64> {
        let reply = self.call(op, None)?.0;
        let Reply::Number(number) = reply else { bail!("{}: no number, but {reply:?}", self.0.comm) };
        Ok(number)
    }

    /// A socket, not bound; IPv6 or IPv4.
    pub fn socket(&self, v6: bool, reuse: bool) -> Result<Raw> {
        let reply = self.call(Op::Socket { v6, reuse }, None)?.0;
        self.raw(&reply)
    }

    fn raw(&self, reply: &Reply) -> Result<Raw> {
        let Reply::Fd(fd) = *reply else { bail!("{}: no descriptor, but {reply:?}", self.0.comm) };
        Ok(Raw { actor: self.clone(), fd })
    }

    /// Listens on `at` with SO_REUSEADDR.
    pub fn listen(&self, at: impl Into<SocketAddr>) -> Result<Raw> {
        let at = at.into();
        let raw = self.socket(at.is_ipv6(), true)?;
        raw.bind(at)?.map_err(|errno| anyhow!("bind to {at}: errno {errno}"))?;
        raw.listen()?.map_err(|errno| anyhow!("listen on {at}: errno {errno}"))?;
        Ok(raw)
    }

    /// A forked child, which has copies of all sockets that this actor has now.
    pub fn fork(&self) -> Result<Self> {
        let (reply, control) = self.call(Op::Fork, None)?;
        let Reply::Number(pid) = reply else { bail!("{}: no pid, but {reply:?}", self.0.comm) };
        let control = control.context("the child's control socket did not come")?;
        Self::hold(pid.try_into()?, &self.0.comm, self.uid(), self.netns(), control)
    }

    /// Moves the actor into a new network namespace of its own, lo up.
    pub fn unshare(&self) -> Result<()> {
        self.0.netns.set(self.number(Op::Unshare)?.try_into()?);
        Ok(())
    }

    /// Moves the actor into the network namespace of `other`.
    pub fn join(&self, other: &Self) -> Result<()> {
        let file = other.netns_file()?;
        self.call(Op::Join, Some(file.as_raw_fd()))?;
        self.0.netns.set(other.netns());
        Ok(())
    }

    /// Its network namespace, which lives as long as the file is open.
    pub fn netns_file(&self) -> Result<File> {
        Ok(File::open(format!("/proc/{}/ns/net", self.0.pid))?)
    }

    /// Makes its arguments lie in a page of this file, and the lock of its memory be held until that has come.
    pub fn hang_arguments(&self, path: &str) -> Result<()> {
        self.run(Op::HangArguments(path.to_owned()))
    }

    /// Becomes the user `uid` for good.
    pub fn set_user(&self, uid: u32) -> Result<()> {
        self.run(Op::SetUser(uid))?;
        self.0.uid.set(uid);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(self.0.pid.try_into()?), Signal::SIGKILL)?)
    }

    /// Lets the actor go: it exits, whatever it still holds is closed by its exit.
    pub fn dismiss(&self) {
        self.0.control.borrow_mut().take();
    }

    /// Starts to connect to `port` of loopback addresses and to close first, over and over.
    pub fn churn(&self, port: u16) -> Result<()> {
        self.say(&Op::Churn(port, 0), None)
    }

    /// As [`Self::churn`], with a pause of so many milliseconds after each seven connections.
    pub fn churn_slowly(&self, port: u16, pause_ms: u64) -> Result<()> {
        self.say(&Op::Churn(port, pause_ms), None)
    }

    /// Starts to accept from `listener` and to close second, over and over.
    pub fn absorb(&self, listener: &Raw) -> Result<()> {
        self.say(&Op::Absorb(listener.fd), None)
    }

    /// Ends [`Self::churn`] or [`Self::absorb`]; for the first gives the number of connections made.
    pub fn halt(&self) -> Result<u64> {
        match self.call(Op::Halt, None)?.0 {
            Reply::Number(made) => Ok(made),
            _ => Ok(0),
        }
    }
}
