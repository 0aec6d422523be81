//! Owns: the processes of the demo: a server and a client over loopback.
//! Must not know: the story, tracing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context as _, Result};

/// Which end closes a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum First {
    /// The one that connected.
    Client,
    /// The one that was connected to.
    Server,
}

/// Takes a name that `ps` and twtrace will show.
fn call_myself(name: &str) -> Result<()> {
    let name = std::ffi::CString::new(name)?;
    nix::sys::prctl::set_name(&name).context("prctl(PR_SET_NAME)")
}

/// Does not outlive whoever started it.
fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")
}

/// Answers each connection once, until it is killed. Says `ready` when it listens.
///
/// # Errors
/// Of sockets.
pub fn serve(name: &str, port: u16, first: First) -> Result<()> {
    call_myself(name)?;
    die_with_parent()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("bind")?;
    println!("ready");
    let mut request = [0; 64];
    for stream in listener.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut request)?;
        stream.write_all(b"42 rows\n")?;
        if first == First::Client {
            // Returns 0 at the client's FIN.
            let _ = stream.read(&mut request)?;
        }
    }
    Ok(())
}

/// Makes `times` connections, one after the other, one request each. Says how many it made and how many failed.
///
/// # Errors
/// Of sockets, other than a want of ports.
pub fn connect(name: &str, port: u16, times: u16, first: First) -> Result<()> {
    call_myself(name)?;
    die_with_parent()?;
    let (mut made, mut failed) = (0, 0);
    for _ in 0..times {
        let mut stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => stream,
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                failed += 1;
                continue;
            }
            Err(error) => return Err(error).context("connect"),
        };
        stream.write_all(b"SELECT 42\n")?;
        let mut reply = [0; 64];
        let _ = stream.read(&mut reply)?;
        if first == First::Server {
            let _ = stream.read(&mut reply)?;
        }
        made += 1;
    }
    println!("{made} {failed}");
    Ok(())
}

/// Brings up `lo` in the calling thread's network namespace (netdevice(7), SIOCSIFFLAGS).
///
/// # Errors
/// Of socket() and ioctl().
pub fn raise_loopback() -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: an ifreq is plain data; zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is ours and of the type that this ioctl reads.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
