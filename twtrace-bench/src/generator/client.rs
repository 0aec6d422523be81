//! A client process of the generator: it makes connections when it is told to.
//!
//! Owns: what a client does. Must not know: how many there are, how fast they are to be.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use super::board::Board;
use super::order::{First, PORT};

/// A client before it has begun.
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) first: First,
    pub(super) board: Board,
    /// Connections go in turn to so many addresses.
    pub(super) targets: u8,
}

impl Client {
    /// Works until it is killed, as it is when the server ends. Never returns.
    pub(super) fn live(self) -> ! {
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
pub(super) fn await_fin(socket: &mut Socket) -> io::Result<()> {
    match socket.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
