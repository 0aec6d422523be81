//! Owns: network namespaces: how one is entered for a moment, which can be reached, and what `--netns` means.
//! Must not know: what is asked inside one.
//!
//! Nothing here keeps a file descriptor of a namespace, or a thread in one, beyond a single call: that would keep a
//! dying namespace and its TIME_WAIT sockets alive and so change what is observed.

mod cookie;
mod discover;
mod spec;

pub use cookie::{Meant, cookie_here, cookies};
pub use discover::{Survey, discover, survey};
pub use spec::{resolve_all, resolve_spec};

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::Error;
use crate::host::caps::{Cap, Caps};
use crate::host::identity::pids::are_the_kernels;
use crate::model::escape;
use crate::model::limitation::{Limitation, What};

/// The namespace of the asking thread. Not `/proc/self`, which is the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// For each namespace asked, in the order of asking: its inode and what came of it.
pub type Each<T> = Vec<(u32, Result<T, Error>)>;

/// A network namespace and a way into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Netns {
    /// Its inode, which is what the kernel calls `net.ns.inum` and events call `netns`.
    pub inode: u32,
    /// The file name of its bind mount, if it has one: `blue` for `/run/netns/blue`. Hostile until escaped.
    pub name: Option<String>,
    /// A file that leads to it. It may lead nowhere, or elsewhere, by the time it is used.
    pub path: PathBuf,
}

impl Netns {
    /// The namespace of the calling thread. Entering it needs no privilege.
    ///
    /// # Errors
    /// [`Error::Io`] where /proc is not there.
    pub fn own() -> Result<Self, Error> {
        let inode = own_inode()?;
        Ok(Self { inode, name: None, path: PathBuf::from(OWN) })
    }

    /// What people call it, hostile until escaped: its name, `host` where its inode is `host` (see [`host_inode`]); `None` where it has none.
    pub fn called(&self, host: Option<u32>) -> Option<String> {
        self.name.clone().or_else(|| (host == Some(self.inode)).then(|| "host".to_owned()))
    }

    /// Runs `work` inside the namespace: here where the calling thread is in it, else on a thread of its own, for the calling thread never
    /// moves. When this returns, nothing of ours holds the namespace, unless `work` returned a socket made in it; the kernel may for some
    /// milliseconds, where a netlink socket was closed in it. Whoever asks several
    /// things asks them all in one `work`: calls of this in there start no further thread.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::NoPermission`], or [`Error::Io`] if no thread could be started. `work` has then
    /// not run.
    ///
    /// # Panics
    /// Where `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        if own_inode()? == self.inode {
            return Ok(work());
        }
        on_own_thread(|| {
            let _inside = self.enter()?;
            Ok(work())
        })?
    }

    /// Runs `work` inside each of `all`, one after the other, on one thread: the calling one where it is in all of them.
    ///
    /// # Errors
    /// Only if that thread could not be started; what goes wrong with one namespace is in its entry.
    pub fn within_each<T: Send>(
        all: &[Self],
        mut work: impl FnMut(&Self) -> Result<T, Error> + Send,
    ) -> Result<Each<T>, Error> {
        let own = own_inode()?;
        let is_inside = all.iter().all(|ns| ns.inode == own);
        let mut one = |ns: &Self| {
            let _inside = ns.enter()?;
            work(ns)
        };
        let mut each = || all.iter().map(|ns| (ns.inode, one(ns))).collect();
        if is_inside { Ok(each()) } else { on_own_thread(each) }
    }

    /// Moves the calling thread in, until the value returned is dropped.
    fn enter(&self) -> Result<Inside, Error> {
        if own_inode()? == self.inode {
            return Ok(Inside { home: None });
        }
        let home = File::open(OWN).map_err(Error::io(OWN))?;
        let target = open_harmlessly(&self.path).map_err(|source| self.refused(source))?;
        if inode_of(&target)? != Some(self.inode) {
            return Err(Error::Gone { inode: self.inode, path: self.path.clone() });
        }
        setns(&target, CloneFlags::CLONE_NEWNET).map_err(|errno| self.refused(errno.into()))?;
        Ok(Inside { home: Some(home) })
    }

    fn refused(&self, source: io::Error) -> Error {
        let (inode, path) = (self.inode, self.path.clone());
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ESRCH | Errno::ENOTDIR) => Error::Gone { inode, path },
            Some(Errno::EPERM | Errno::EACCES) => Error::NoPermission { inode, path },
            _ => Error::Io { what: format!("cannot enter {}", escape::path(&path)), source },
        }
    }
}

/// The calling thread is inside a namespace for as long as this lives.
struct Inside {
    home: Option<File>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // An exiting thread lets go of its namespace only after join() has returned; going home first makes it
        // exact. Where that is refused, the exit of the thread still does it.
        if let Some(home) = &self.home {
            let _ = setns(home, CloneFlags::CLONE_NEWNET);
        }
    }
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)
            .map_err(Error::io("cannot start a thread for a network namespace"))?;
        worker.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// Inode of the calling thread's network namespace.
///
/// # Errors
/// [`Error::Io`] where /proc is not there.
pub fn own_inode() -> Result<u32, Error> {
    let link = std::fs::read_link(OWN).map_err(Error::io(OWN))?;
    inode_in_link(&link).ok_or_else(|| Error::malformed(OWN, format!("it reads {}", escape::path(&link))))
}

/// The inode of the machine's own network namespace, which is that of its process 1; `None` where pids are not the machine's, or it may not
/// be looked at.
pub fn host_inode() -> Option<u32> {
    let link = || inode_in_link(&std::fs::read_link("/proc/1/ns/net").ok()?);
    are_the_kernels().then(link).flatten()
}

/// Opens a file that should be a namespace's. Whoever can replace it by a FIFO or a terminal must not be able to hold
/// us up or to become our terminal.
fn open_harmlessly(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The inode of the network namespace that an open file is, `None` if it is anything else: an inode number alone
/// could be any file's.
fn inode_of(file: &File) -> Result<Option<u32>, Error> {
    const WHAT: &str = "looking at the file of a network namespace";
    if fstatfs(file).map_err(io::Error::from).map_err(Error::io(WHAT))?.filesystem_type() != NSFS_MAGIC {
        return Ok(None);
    }
    // SAFETY: NS_GET_NSTYPE (ioctl_nsfs(2)) takes no argument and touches no memory of ours.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    let inode = file.metadata().map_err(Error::io(WHAT))?.ino();
    Ok(u32::try_from(inode).ok().filter(|_| kind == libc::CLONE_NEWNET))
}

/// The number in `net:[4026531840]` (ns_dname(), fs/nsfs.c, 5.10 to 7.3).
fn inode_in_link(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Processes whose namespace may not be looked up: there may be more of them.
pub fn hidden(pids: &[u32]) -> Limitation {
    let why = match pids {
        [pid] => format!("process {pid} does not show its network namespace, which may be another one"),
        pids => format!("{} processes do not show their network namespaces: there may be more", pids.len()),
    };
    let caps = Caps::own();
    let missing = caps.missing(&[Cap::SysPtrace]);
    let mut remedy = caps.remedy(&missing);
    // Who has every capability is kept out by a sandbox or a security module, and may well know that it is no other one.
    if missing.is_empty() {
        remedy += "; `readlink /proc/PID/ns/net` says there which one it is";
    }
    Limitation::new(What::Namespaces, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_shows_nothing_is_named_and_many_are_counted() {
        let (one, many) = (hidden(&[4711]), hidden(&[7, 13, 4711]));
        assert!(one.why.starts_with("process 4711 does not show its network namespace"), "{one}");
        assert!(many.why.starts_with("3 processes do not show their network namespaces"), "{many}");
        // However many each of a thousand is alone for a moment, it is one thing to say.
        assert_eq!((&one.remedy, one.what), (&many.remedy, many.what));
    }

    #[test]
    fn only_the_kernels_name_of_a_network_namespace_is_taken() {
        for (link, want) in [
            ("net:[4026531840]", Some(4_026_531_840)),
            ("net:[1]", Some(1)),
            ("mnt:[4026531840]", None),
            ("net:[4294967296]", None),
            ("net:[-1]", None),
            ("net:[]", None),
            ("net:[7", None),
            ("/tmp/net:[7]", None),
            ("", None),
        ] {
            assert_eq!(inode_in_link(Path::new(link)), want, "{link}");
        }
    }

    #[test]
    fn own_namespace_is_asked_where_the_caller_is_without_privilege() {
        let own = Netns::own().unwrap();
        let caller = thread::current().id();
        let (thread, inode) = own.within(|| (thread::current().id(), own_inode().unwrap())).unwrap();
        assert_eq!((thread, inode), (caller, own.inode));
        let each = Netns::within_each(&[own.clone(), own.clone()], |_| Ok(thread::current().id())).unwrap();
        assert!(each.iter().all(|(_, thread)| thread.as_ref().is_ok_and(|thread| *thread == caller)));
        let lost = Netns { inode: 5, name: None, path: PathBuf::from("/nowhere") };
        let each = Netns::within_each(&[own, lost], |_| Ok(thread::current().id())).unwrap();
        assert!(
            each[0].1.as_ref().is_ok_and(|thread| *thread != caller),
            "it moves, and the caller never does"
        );
    }

    #[test]
    fn a_path_that_leads_to_something_else_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let other = PathBuf::from("/proc/self/ns/net");
        for path in [plain, fifo, other, dir.path().join("none"), PathBuf::from("/proc/self/ns/uts")] {
            let ns = Netns { inode: 7, name: None, path };
            let err = ns.within(|| ()).unwrap_err();
            assert!(matches!(err, Error::Gone { inode: 7, .. }), "{ns:?}: {err}");
        }
    }

    #[test]
    fn a_panic_inside_reaches_the_caller() {
        let own = Netns::own().unwrap();
        let caught = std::panic::catch_unwind(|| own.within(|| std::panic::panic_any(13_u8)));
        assert_eq!(caught.unwrap_err().downcast_ref::<u8>(), Some(&13));
    }

    #[test]
    fn going_round_keeps_order_and_each_ones_own_error() {
        let own = Netns::own().unwrap();
        let lost = Netns { inode: 5, name: None, path: PathBuf::from("/nowhere") };
        let mut seen = Vec::new();
        let all = [lost.clone(), own.clone(), lost];
        let results = Netns::within_each(&all, |ns| {
            seen.push(ns.inode);
            Ok(ns.inode)
        })
        .unwrap();
        assert_eq!(seen, [own.inode]);
        assert_eq!(results.iter().map(|(inode, _)| *inode).collect::<Vec<_>>(), [5, own.inode, 5]);
        assert!(matches!(results[0].1, Err(Error::Gone { inode: 5, .. })));
        assert_eq!(results[1].1.as_ref().unwrap(), &own.inode);
    }
}
