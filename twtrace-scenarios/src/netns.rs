//! Owns: network namespaces: making one, bringing its lo up, its inode, its sysctls.
//! Must not know: actors, scenarios, twtrace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket, Type};

/// Moves the calling process into a new network namespace and brings its lo up. Gives the inode.
///
/// An RST does not end a TIME_WAIT there (RFC 1337), so that what happens is always the same. By default it may: on two
/// CPUs a peer's FIN now and then overtakes its last ACK, the TIME_WAIT answers that late ACK, and the peer, whose
/// socket is gone by then, answers with an RST.
pub fn enter_new() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET), which needs CAP_SYS_ADMIN")?;
    lo_up()?;
    set_ipv4("tcp_rfc1337", "1")?;
    inode()
}

/// Inode of the calling process's network namespace: what the kernel calls `net.ns.inum`.
pub fn inode() -> Result<u32> {
    Ok(u32::try_from(fs::metadata("/proc/self/ns/net")?.ino())?)
}

/// Writes a sysctl of the calling process's network namespace; `name` as under /proc/sys/net/ipv4.
pub fn set_ipv4(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/{name}");
    fs::write(&path, value).with_context(|| format!("writing {value:?} to {path}"))
}

fn lo_up() -> Result<()> {
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
