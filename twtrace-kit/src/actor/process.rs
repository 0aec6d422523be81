//! Owns: the inside of an actor: a forked process that does what it is told, one word at a time, and nothing else.
//! Its system calls are the ones that a tracer has to attribute.
//! Must not know: scenarios, expectations, tracers.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, setsockopt, socketpair,
    sockopt,
};
use nix::unistd::{ForkResult, Uid, fork, gettid, setresuid};
use socket2::{Domain, SockFilter, Socket, Type};

use super::op::{self, Half, Op, Reply};
use super::{io_uring, memory};
use crate::netns;
use crate::wait::pass;

/// A call of an actor that takes longer than this fails, so that the scenario can say which one hung.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// `listen()` backlog: no scenario has more connections waiting.
const BACKLOG: i32 = 511;

/// BPF_RET | BPF_K with 0: accept no byte of any packet.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

struct Executor {
    control: OwnedFd,
    sockets: BTreeMap<RawFd, Socket>,
}

/// Turns the calling process, which must have one thread and be freshly forked, into an actor named `comm`. Never
/// returns: the actor ends when the other side of `control` does.
pub(super) fn run(control: OwnedFd, comm: &str) -> ! {
    close_all_but(control.as_raw_fd(), &BTreeMap::new());
    let mut executor = Executor { control, sockets: BTreeMap::new() };
    let outcome = set_name(comm).and_then(|()| executor.serve());
    if let Err(error) = outcome {
        let _ = writeln!(io::stderr(), "actor {comm:?}: {error:#}");
    }
    std::process::exit(0);
}

fn set_name(comm: &str) -> Result<()> {
    prctl::set_name(&CString::new(comm)?)?;
    Ok(())
}

/// Closes what fork() has copied, above all the other actors' control sockets, whose end must be seen. What owned
/// these descriptors is never dropped in this process.
fn close_all_but(control: RawFd, sockets: &BTreeMap<RawFd, Socket>) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && *fd != control && !sockets.contains_key(fd)) {
        // SAFETY: a plain close(); the owners in this copied address space are never used or dropped again.
        unsafe { libc::close(fd) };
    }
}

impl Executor {
    fn serve(&mut self) -> Result<()> {
        while let Some((op, beside)) = op::receive::<Op>(&self.control)? {
            let (reply, give) = match self.act(op, beside) {
                Ok(done) => done,
                Err(error) => (Reply::Failed(errno_of(&error), format!("{error:#}")), None),
            };
            op::send(&self.control, &reply, give.as_ref().map(AsRawFd::as_raw_fd))?;
        }
        Ok(())
    }

    fn act(&mut self, op: Op, beside: Option<OwnedFd>) -> Result<(Reply, Option<OwnedFd>)> {
        let reply = match op {
            Op::Socket { v6, reuse } => self.keep(new_socket(v6, reuse)?)?,
            Op::Bind(fd, to) => done(self.socket(fd)?.bind(&to.into()))?,
            Op::BindNoPort(fd) => {
                setsockopt(self.socket(fd)?, sockopt::IpBindAddressNoPort, &true)?;
                Reply::Done
            }
            Op::PortRange(fd, low, high) => set_port_range(fd, low, high)?,
            Op::Begin(fd, to) => self.begin(fd, to)?,
            Op::Listen(fd) => done(self.socket(fd)?.listen(BACKLOG))?,
            Op::Connect(fd, to) => done(self.socket(fd)?.connect(&to.into()))?,
            Op::Accept(fd) => {
                let (socket, _) = self.socket(fd)?.accept().context("accept")?;
                self.keep(socket)?
            }
            Op::RingAccept(fd) => self.accept_by_ring(fd)?,
            Op::RingBind(fd, to) => self.bind_by_ring(fd, to)?,
            Op::Local(fd) => addr(self.socket(fd)?.local_addr()?)?,
            Op::Peer(fd) => addr(self.socket(fd)?.peer_addr()?)?,
            Op::Send(fd, length) => done(self.socket(fd)?.write_all(&vec![b'.'; length]))?,
            Op::Receive(fd, length) => done(self.socket(fd)?.read_exact(&mut vec![0; length]))?,
            Op::Eof(fd) => self.eof(fd)?,
            Op::Shutdown(fd, half) => {
                let how = if half == Half::Write { Shutdown::Write } else { Shutdown::Both };
                done(self.socket(fd)?.shutdown(how))?
            }
            Op::Close(fd) => {
                drop(self.take(fd)?);
                Reply::Done
            }
            Op::LingerZero(fd) => done(self.socket(fd)?.set_linger(Some(Duration::ZERO)))?,
            Op::DropIncoming(fd, true) => done(self.socket(fd)?.attach_filter(&DROP_ALL))?,
            Op::DropIncoming(fd, false) => done(self.socket(fd)?.detach_filter())?,
            Op::Cookie(fd) => Reply::Number(self.socket(fd)?.cookie()?),
            Op::Give(fd) => return Ok((Reply::Done, Some(self.socket(fd)?.try_clone()?.into()))),
            Op::Take => self.keep(Socket::from(beside.context("no descriptor came")?))?,
            Op::HangArguments(path) => {
                memory::hold(path.as_ref())?;
                Reply::Done
            }
            Op::Strand(fd) => strand(self.take(fd)?)?,
            Op::Unshare => Reply::Number(netns::enter_new()?.into()),
            Op::Join => {
                netns::enter(beside.context("no namespace came")?)?;
                Reply::Number(netns::inode()?.into())
            }
            Op::SetUser(uid) => {
                let uid = Uid::from_raw(uid);
                setresuid(uid, uid, uid)?;
                Reply::Done
            }
            Op::CloseOnThread(fd, name) => close_on_thread(self.take(fd)?, name)?,
            Op::Fork => return self.fork(),
            Op::Churn(port, pause_ms) => self.churn(port, Duration::from_millis(pause_ms))?,
            Op::Absorb(fd) => self.absorb(fd)?,
            Op::Halt => return Err(anyhow!("nothing to halt")),
        };
        Ok((reply, None))
    }

    fn accept_by_ring(&mut self, listener: RawFd) -> Result<Reply> {
        let listener = self.socket(listener)?.as_raw_fd();
        self.keep(io_uring::accept(listener)?.into())
    }

    fn bind_by_ring(&mut self, fd: RawFd, to: std::net::SocketAddr) -> Result<Reply> {
        io_uring::bind(self.socket(fd)?.as_raw_fd(), to)?;
        Ok(Reply::Done)
    }

    fn socket(&mut self, fd: RawFd) -> Result<&mut Socket> {
        self.sockets.get_mut(&fd).with_context(|| format!("this actor has no socket {fd}"))
    }

    fn begin(&mut self, fd: RawFd, to: SocketAddr) -> Result<Reply> {
        let socket = self.socket(fd)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(Reply::Done),
            other => done(other),
        }
    }

    fn take(&mut self, fd: RawFd) -> Result<Socket> {
        self.sockets.remove(&fd).with_context(|| format!("this actor has no socket {fd}"))
    }

    fn keep(&mut self, socket: Socket) -> Result<Reply> {
        socket.set_read_timeout(Some(CALL_TIMEOUT))?;
        socket.set_write_timeout(Some(CALL_TIMEOUT))?;
        let fd = socket.as_raw_fd();
        self.sockets.insert(fd, socket);
        Ok(Reply::Fd(fd))
    }

    fn eof(&mut self, fd: RawFd) -> Result<Reply> {
        let mut byte = [0];
        match self.socket(fd)?.read(&mut byte)? {
            0 => Ok(Reply::Done),
            _ => Err(anyhow!("data came where the peer's FIN was due")),
        }
    }

    /// The child keeps the sockets, as any forked process does, and hears its words on a control socket of its own.
    fn fork(&mut self) -> Result<(Reply, Option<OwnedFd>)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // SAFETY: this process has one thread (those of CloseOnThread have been joined).
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok((Reply::Number(u64::try_from(child.as_raw())?), Some(theirs))),
            ForkResult::Child => {
                close_all_but(ours.as_raw_fd(), &self.sockets);
                std::mem::forget(std::mem::replace(&mut self.control, ours));
                std::mem::forget(theirs);
                let _ = self.serve();
                std::process::exit(0);
            }
        }
    }

    fn churn(&mut self, port: u16, pause: Duration) -> Result<Reply> {
        let mut made = 0_u64;
        while !self.halted(None)? {
            for last in [1, 2, 3, 5, 7, 11, 13] {
                let to = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
                new_socket(false, false)?
                    .connect(&to.into())
                    .with_context(|| format!("connection {made}"))?;
                made += 1;
            }
            // This is what the load is like, and nobody's wait.
            pass(pause);
        }
        Ok(Reply::Number(made))
    }

    fn absorb(&mut self, fd: RawFd) -> Result<Reply> {
        while !self.halted(Some(fd))? {
            let (mut socket, _) = self.socket(fd)?.accept()?;
            socket.read_exact(&mut [0]).err();
        }
        Ok(Reply::Done)
    }

    /// Has the next word come? With a listener: waits until that, or a connection, has.
    fn halted(&mut self, listener: Option<RawFd>) -> Result<bool> {
        let mut fds = vec![PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        if let Some(fd) = listener {
            // SAFETY: `self.sockets` owns it for longer than this call.
            fds.push(PollFd::new(unsafe { BorrowedFd::borrow_raw(fd) }, PollFlags::POLLIN));
        }
        poll(&mut fds, if listener.is_some() { PollTimeout::NONE } else { PollTimeout::ZERO })?;
        let waiting = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        // What is still in the queue of the listener comes first.
        if fds.get(1).is_some_and(waiting) || !fds.first().is_some_and(waiting) {
            return Ok(false);
        }
        op::receive::<Op>(&self.control)?;
        Ok(true)
    }
}

fn done(result: io::Result<()>) -> Result<Reply> {
    Ok(result.map(|()| Reply::Done)?)
}

fn addr(addr: socket2::SockAddr) -> Result<Reply> {
    addr.as_socket().map(Reply::Addr).context("not an internet address")
}

fn errno_of(error: &anyhow::Error) -> i32 {
    error
        .chain()
        .find_map(|cause| {
            cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::raw_os_error)
                .or_else(|| cause.downcast_ref::<nix::errno::Errno>().map(|errno| *errno as i32))
        })
        .unwrap_or(0)
}

fn new_socket(v6: bool, reuse: bool) -> Result<Socket> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_reuse_address(reuse)?;
    Ok(socket)
}

fn close_on_thread(socket: Socket, name: String) -> Result<Reply> {
    let closer = std::thread::Builder::new().name(name).spawn(move || {
        drop(socket);
        gettid()
    })?;
    let tid = closer.join().map_err(|_| anyhow!("the closing thread panicked"))?;
    Ok(Reply::Number(u64::try_from(tid.as_raw())?))
}

/// One end of a UNIX socket pair goes, with `socket`, into its own receive queue; then nothing but that queue holds
/// either of them.
fn strand(socket: Socket) -> Result<Reply> {
    let (sender, queue) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    let fds = [queue.as_raw_fd(), socket.as_raw_fd()];
    sendmsg::<UnixAddr>(
        sender.as_raw_fd(),
        &[IoSlice::new(b".")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )?;
    drop(queue);
    drop(socket);
    // The last close: this one sets the collector off.
    drop(sender);
    Ok(Reply::Done)
}

/// `IP_LOCAL_PORT_RANGE` of include/uapi/linux/in.h, 6.12; since 6.3.
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

fn set_port_range(fd: RawFd, low: u16, high: u16) -> Result<Reply> {
    let range = u32::from(high) << 16 | u32::from(low);
    let length = libc::socklen_t::try_from(size_of::<u32>())?;
    // SAFETY: the option is read from `range`, which lives longer than the call and is as long as is said.
    let set = unsafe {
        libc::setsockopt(fd, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, (&raw const range).cast(), length)
    };
    if set == 0 {
        Ok(Reply::Done)
    } else {
        Err(std::io::Error::last_os_error()).context("IP_LOCAL_PORT_RANGE")
    }
}
