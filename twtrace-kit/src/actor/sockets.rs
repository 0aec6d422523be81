//! Owns: what an actor holds: a socket, one end of a connection, both ends, and in which order these are opened and closed.
//! Must not know: expectations, tracers.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, Result, anyhow, bail};

use super::op::{Half, Op, Reply};
use super::{Actor, Attempt};

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

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The end that connected.
    pub client: Sock,
    /// The end that accepted.
    pub server: Sock,
}

/// The actor connects its socket `from` to the listener; its owner accepts.
pub fn complete(from: &Raw, listener: &Raw, to: SocketAddr) -> Result<Pair> {
    let client = from.connect(to)?.map_err(|errno| anyhow!("connect to {to}: errno {errno}"))?;
    let server = listener.accept()?;
    if (server.peer, server.local) != (client.local, client.peer) {
        bail!("{} -> {} was accepted as {} <- {}", client.local, client.peer, server.local, server.peer);
    }
    Ok(Pair { client, server })
}

impl Pair {
    /// Moves a request and a response, and waits until both have come.
    pub fn exchange(&self, request: usize, response: usize) -> Result<()> {
        self.client.send(request)?;
        self.server.receive(request)?;
        self.server.send(response)?;
        self.client.receive(response)
    }
}

/// `first` closes; once its FIN has come, so does `second`. Only so is it certain whose FIN was first.
pub fn close_in_order(first: &Sock, second: &Sock) -> Result<()> {
    first.close()?;
    second.eof()?;
    second.close()
}
