//! Owns: the scenario's hold on its actors: processes that make one system call when told to, so that nothing races.
//! Must not know: expectations, twtrace.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, Pid, fork};

use crate::actor_process;
use crate::op::{self, Half, Op, Reply};
pub use crate::pair::{Pair, close_in_order, complete};

/// A process under the scenario's command. Clones name the same process.
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
    /// Forks an actor named `comm` that starts in the calling process's network namespace, whose inode is `netns`.
    pub fn start(comm: &str, netns: u32) -> Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // SAFETY: scenario processes have one thread.
        match unsafe { fork() }? {
            ForkResult::Child => actor_process::run(theirs, comm),
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

/// A socket of an actor, not connected or listening.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Whose it is.
    pub actor: Actor,
    /// The descriptor there.
    pub fd: RawFd,
}

impl Raw {
    fn attempt(&self, op: Op) -> Result<Attempt<()>> {
        Ok(self.actor.attempt(op)?.map(drop))
    }

    /// bind().
    pub fn bind(&self, to: impl Into<SocketAddr>) -> Result<Attempt<()>> {
        self.attempt(Op::Bind(self.fd, to.into()))
    }

    /// bind() will not choose a port, connect() will.
    pub fn bind_no_port(&self) -> Result<()> {
        self.actor.run(Op::BindNoPort(self.fd))
    }

    /// Its port will be one of these, both ends included.
    pub fn port_range(&self, low: u16, high: u16) -> Result<()> {
        self.actor.run(Op::PortRange(self.fd, low, high))
    }

    /// connect() that waits for no answer.
    pub fn begin(&self, to: impl Into<SocketAddr>) -> Result<()> {
        self.actor.run(Op::Begin(self.fd, to.into()))
    }

    /// Drops all that comes in.
    pub fn drop_incoming(&self) -> Result<()> {
        self.actor.run(Op::DropIncoming(self.fd, true))
    }

    /// listen().
    pub fn listen(&self) -> Result<Attempt<()>> {
        self.attempt(Op::Listen(self.fd))
    }

    /// connect().
    pub fn connect(&self, to: impl Into<SocketAddr>) -> Result<Attempt<Sock>> {
        match self.attempt(Op::Connect(self.fd, to.into()))? {
            Ok(()) => Ok(Ok(self.connected()?)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// accept() by this socket's owner.
    pub fn accept(&self) -> Result<Sock> {
        let reply = self.actor.call(Op::Accept(self.fd), None)?.0;
        self.actor.raw(&reply)?.connected()
    }

    /// As [`Self::accept`], by io_uring.
    pub fn accept_by_ring(&self) -> Result<Sock> {
        let reply = self.actor.call(Op::RingAccept(self.fd), None)?.0;
        self.actor.raw(&reply)?.connected()
    }

    /// As [`Self::bind`], by io_uring.
    pub fn bind_by_ring(&self, to: impl Into<SocketAddr>) -> Result<Attempt<()>> {
        self.attempt(Op::RingBind(self.fd, to.into()))
    }

    /// This listening socket as a forked child of its owner has it.
    pub fn inherited_by(&self, child: &Actor) -> Self {
        Self { actor: child.clone(), fd: self.fd }
    }

    /// getsockname().
    pub fn local(&self) -> Result<SocketAddr> {
        self.addr(Op::Local(self.fd))
    }

    /// close().
    pub fn close(&self) -> Result<()> {
        self.actor.run(Op::Close(self.fd))
    }

    fn connected(&self) -> Result<Sock> {
        let local = self.local()?;
        let peer = self.addr(Op::Peer(self.fd))?;
        Ok(Sock { raw: self.clone(), netns: self.actor.netns(), local, peer })
    }

    /// A v4-mapped address is what it is on the wire.
    fn addr(&self, op: Op) -> Result<SocketAddr> {
        let reply = self.actor.call(op, None)?.0;
        let Reply::Addr(addr) = reply else { bail!("no address, but {reply:?}") };
        Ok(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Sock {
    raw: Raw,
    /// Inode of the network namespace.
    pub netns: u32,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
}

impl Sock {
    fn run(&self, op: impl FnOnce(RawFd) -> Op) -> Result<()> {
        self.raw.actor.run(op(self.raw.fd)).with_context(|| format!("{} -> {}", self.local, self.peer))
    }

    /// Whose it is.
    pub fn actor(&self) -> &Actor {
        &self.raw.actor
    }

    /// Sends so many bytes.
    pub fn send(&self, length: usize) -> Result<()> {
        self.run(|fd| Op::Send(fd, length))
    }

    /// Receives exactly so many bytes.
    pub fn receive(&self, length: usize) -> Result<()> {
        self.run(|fd| Op::Receive(fd, length))
    }

    /// Waits for the peer's FIN.
    pub fn eof(&self) -> Result<()> {
        self.run(Op::Eof)
    }

    /// close().
    pub fn close(&self) -> Result<()> {
        self.run(Op::Close)
    }

    /// close() by another thread, which is named `name`. Gives its tid.
    pub fn close_on_thread(&self, name: &str) -> Result<u32> {
        Ok(self.raw.actor.number(Op::CloseOnThread(self.raw.fd, name.to_owned()))?.try_into()?)
    }

    /// shutdown().
    pub fn shutdown(&self, half: Half) -> Result<()> {
        self.run(|fd| Op::Shutdown(fd, half))
    }

    /// close() will send an RST.
    pub fn linger_zero(&self) -> Result<()> {
        self.run(Op::LingerZero)
    }

    /// Drops all that comes in, or no longer.
    pub fn drop_incoming(&self, drop: bool) -> Result<()> {
        self.run(|fd| Op::DropIncoming(fd, drop))
    }

    /// The cookie, which this question makes the kernel give out.
    pub fn cookie(&self) -> Result<u64> {
        self.raw.actor.number(Op::Cookie(self.raw.fd))
    }

    /// The last descriptor goes away with a cycle of UNIX sockets that the kernel's collector finds.
    pub fn strand(&self) -> Result<()> {
        self.run(Op::Strand)
    }

    /// A copy for `other`, passed over a UNIX socket (SCM_RIGHTS).
    pub fn passed_to(&self, other: &Actor) -> Result<Self> {
        let (_, copy) = self.raw.actor.call(Op::Give(self.raw.fd), None)?;
        let copy = copy.context("no descriptor came")?;
        let (reply, _) = other.call(Op::Take, Some(copy.as_raw_fd()))?;
        Ok(Self { raw: other.raw(&reply)?, ..self.clone() })
    }

    /// The copy that a forked child of the owner has.
    pub fn inherited_by(&self, child: &Actor) -> Self {
        Self { raw: Raw { actor: child.clone(), fd: self.raw.fd }, ..self.clone() }
    }
}
