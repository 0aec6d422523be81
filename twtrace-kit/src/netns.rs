//! Network namespaces: making one, entering one, bringing its lo up, its inode, its sysctls.
//!
//! Owns: these calls. Must not know: who is in them, and why.
//!
//! The kernel keeps a namespace for each thread: all of it is about the calling one.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Socket, Type};

/// The calling thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// Moves the calling thread into a new network namespace and brings its lo up. Gives the inode.
///
/// An RST does not end a TIME_WAIT there (RFC 1337), so that what happens is always the same. By default it may: on two
/// CPUs a peer's FIN now and then overtakes its last ACK, the TIME_WAIT answers that late ACK, and the peer, whose
/// socket is gone by then, answers with an RST.
///
/// # Errors
/// Where the kernel refuses: it takes CAP_SYS_ADMIN.
pub fn enter_new() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET), which needs CAP_SYS_ADMIN")?;
    lo_up()?;
    set_ipv4("tcp_rfc1337", "1")?;
    inode()
}

/// Moves the calling thread into a network namespace that somebody holds open.
///
/// # Errors
/// Where the kernel refuses: it takes CAP_SYS_ADMIN.
pub fn enter(netns: impl AsFd) -> Result<()> {
    setns(netns, CloneFlags::CLONE_NEWNET).context("setns(CLONE_NEWNET), which needs CAP_SYS_ADMIN")
}

/// The network namespace that the calling thread is in, held open: to come back to, or to keep.
///
/// # Errors
/// Where there is no /proc.
pub fn own() -> Result<File> {
    File::open(OWN).context(OWN)
}

/// Inode of the calling thread's network namespace: what the kernel calls `net.ns.inum`.
///
/// # Errors
/// Where there is no /proc.
pub fn inode() -> Result<u32> {
    Ok(u32::try_from(fs::metadata(OWN).context(OWN)?.ino())?)
}

/// Writes a sysctl of the calling thread's network namespace; `name` as under /proc/sys/net/ipv4.
///
/// # Errors
/// Where there is no such sysctl, or it does not take the value.
pub fn set_ipv4(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/{name}");
    fs::write(&path, value).with_context(|| format!("writing {value:?} to {path}"))
}

/// Runs `ip` (iproute2) in the calling thread's network namespace.
///
/// # Errors
/// Where there is no `ip`, or it fails.
pub fn ip(args: &[&str]) -> Result<()> {
    crate::command::read(Command::new("ip").args(args)).map(drop)
}

/// Brings lo up in the calling thread's network namespace.
///
/// # Errors
/// Where the kernel refuses: it takes CAP_NET_ADMIN.
pub fn lo_up() -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: an all-zero ifreq is a valid value of that C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = std::ffi::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    if unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        bail!("bringing lo up: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
