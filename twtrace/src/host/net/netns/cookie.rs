//! Owns: what tells a network namespace from all others since the machine was booted. Its inode does not: the next one that is made may
//! have it as soon as this one is gone.
//! Must not know: what it is compared for.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::{Each, Netns, discover};
use crate::host::net::Error;

/// `SO_NETNS_COOKIE` (include/uapi/asm-generic/socket.h, 6.1 to 7.3; since 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The cookie of the calling thread's network namespace, which the kernel gives to no other before the next boot;
/// `None` where it does not tell. The kernel lets go of the socket that is asked a moment after it is closed
/// (netlink_release(), net/netlink/af_netlink.c, 5.10 to 7.3: an RCU grace period), and of the namespace with it.
pub fn cookie_here() -> Option<u64> {
    // Of a kind that a trace may make once it has given up power.
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let asked: OwnedFd = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a number that has as many, and how many it wrote.
    let done = unsafe {
        libc::getsockopt(
            asked.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (done == 0 && length as usize == size_of::<u64>() && cookie != 0).then_some(cookie)
}

/// The cookie of each of `all`, in order, with its inode.
///
/// # Errors
/// Only if no thread could be started; what goes wrong with one namespace is in its entry.
pub fn cookies(all: &[Netns]) -> Result<Each<Option<u64>>, Error> {
    Netns::within_each(all, |_| Ok(cookie_here()))
}

/// Namespaces that are meant by their inodes, for somebody who looks at them again and again.
#[derive(Debug)]
pub struct Meant {
    inodes: Vec<u32>,
    cookies: HashMap<u32, u64>,
}

impl Meant {
    /// Those that have these inodes now.
    pub fn now(inodes: &[u32]) -> Self {
        let inodes = inodes.to_vec();
        let found = found(&inodes).into_iter();
        let cookies = found.filter_map(|(netns, cookie)| Some((netns.inode, cookie?))).collect();
        Self { inodes, cookies }
    }

    /// That none of them has given its inode to another one.
    ///
    /// # Errors
    /// [`Error::Replaced`] of the first that has.
    pub fn still(&self) -> Result<(), Error> {
        let is_another = |(netns, cookie): &(Netns, Option<u64>)| {
            self.cookies.get(&netns.inode).zip(*cookie).is_some_and(|(one, other)| *one != other)
        };
        match found(&self.inodes).into_iter().find(is_another) {
            Some((Netns { inode, .. }, _)) => Err(Error::Replaced { inode }),
            None => Ok(()),
        }
    }
}

/// The namespaces with these inodes, and their cookies, where they can be entered.
fn found(inodes: &[u32]) -> Vec<(Netns, Option<u64>)> {
    let mut all = if inodes.is_empty() { Vec::new() } else { discover() };
    all.retain(|netns| inodes.contains(&netns.inode));
    let cookies = cookies(&all).unwrap_or_default();
    all.into_iter().zip(cookies).map(|(netns, (_, cookie))| (netns, cookie.ok().flatten())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_given_its_inode_to_another_one_is_gone() {
        let own = Netns::own().unwrap().inode;
        let mut meant = Meant::now(&[own]);
        assert!(meant.still().is_ok());
        meant.cookies.values_mut().for_each(|cookie| *cookie += 1);
        let said = meant.still().map_err(|error| error.to_string());
        let want = format!("network namespace {own} is gone: another one has its inode");
        assert_eq!(said, if cookie_here().is_some() { Err(want) } else { Ok(()) });
        assert!(Meant::now(&[]).still().is_ok());
    }

    #[test]
    fn a_namespace_has_one_cookie_however_often_it_is_asked() {
        let own = Netns::own().unwrap();
        let all = cookies(&[own.clone(), own.clone()]).unwrap();
        for (inode, cookie) in all {
            assert_eq!((inode, cookie.unwrap()), (own.inode, cookie_here()));
        }
    }
}
