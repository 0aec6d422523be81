//! Owns: reading command lines, on a thread of its own: they lie in the memory of a stranger's process, which may be mapped from a
//! file system that never answers.
//! Must not know: who asks, what else is known of a process.
//!
//! Reading `/proc/PID/cmdline` touches that memory (get_mm_cmdline(), fs/proc/base.c, 5.10 to 7.3); where a page of it
//! comes from a hung FUSE mount, the reader sleeps until the mount is let go, and no signal ends that. So pages are
//! looked at first, in `/proc/PID/pagemap`, and only memory that is there and comes from no file is read. A process
//! could still change its memory in between: then this thread is given up and another one takes its place, a few times.
//! Nobody ever waits for it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::proc::{CMDLINE_MAX, Proc};
use crate::model::event::Comm;
use crate::model::identity::Cmdline;

/// Processes whose command line is wanted and not read yet; of more, there is none.
const WAITING: usize = 1024;
/// A read that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads that are given up before no command line is read any more.
const GIVEN_UP: usize = 4;

/// A process whose command line is wanted.
pub(super) struct Wanted {
    pub(super) pid: u32,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub(super) start_ns: u64,
    /// The name that it must still have then: exec() would have given it another one, and other arguments.
    pub(super) comm: Option<Comm>,
    pub(super) into: Cmdline,
}

/// What a thread and whoever asks it share: since when it has been reading.
type Busy = Arc<Mutex<Option<Instant>>>;

/// Asks a thread. It ends with the value, or is left behind where it hangs.
pub(super) struct Reader {
    root: PathBuf,
    is_harmless: fn(&OwnedFd, &[u8]) -> bool,
    thread: Option<(SyncSender<Wanted>, Busy)>,
    given_up: usize,
}

impl Reader {
    /// For the processes under one `/proc`.
    pub(super) fn new(root: &Path) -> Self {
        Self::with(root, is_harmless)
    }

    /// `is_harmless`: see [`is_harmless`].
    pub(super) fn with(root: &Path, is_harmless: fn(&OwnedFd, &[u8]) -> bool) -> Self {
        Self { root: root.into(), is_harmless, thread: None, given_up: 0 }
    }

    /// Asks for a command line. Takes no time: where the thread is behind, or hangs, it stays unknown.
    pub(super) fn ask(&mut self, wanted: Wanted) {
        if self.thread.as_ref().is_some_and(|(_, busy)| hangs(busy)) {
            self.thread = None;
            self.given_up += 1;
        }
        if self.thread.is_none() && self.given_up < GIVEN_UP {
            self.thread = self.start();
        }
        if let Some((requests, _)) = &self.thread {
            // What there is no room for is left out.
            let _ = requests.try_send(wanted);
        }
    }

    fn start(&self) -> Option<(SyncSender<Wanted>, Busy)> {
        let (requests, wanted) = sync_channel(WAITING);
        let busy = Busy::default();
        let (root, is_harmless, shared) = (self.root.clone(), self.is_harmless, busy.clone());
        let work = move || read_on(&Proc::new(&root), is_harmless, &wanted, &shared);
        // Without a thread nothing is missing but command lines.
        std::thread::Builder::new().name("cmdline".into()).spawn(work).ok()?;
        Some((requests, busy))
    }
}

fn hangs(busy: &Busy) -> bool {
    let since = *busy.lock().unwrap_or_else(PoisonError::into_inner);
    since.is_some_and(|since| since.elapsed() > PATIENCE)
}

fn read_on(proc: &Proc, is_harmless: fn(&OwnedFd, &[u8]) -> bool, wanted: &Receiver<Wanted>, busy: &Busy) {
    let say = |since| *busy.lock().unwrap_or_else(PoisonError::into_inner) = since;
    for Wanted { pid, start_ns, comm, into } in wanted {
        say(Some(Instant::now()));
        if let Some(text) = proc.cmdline(pid, start_ns, comm, is_harmless) {
            into.set(text);
        }
        say(None);
    }
}

/// A page is in memory, or was swapped out (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 0b11 << 62;
/// It is of a file, or shared.
const FILE: u64 = 1 << 61;

/// Whether reading the arguments of a process waits for nobody: all their pages are there, and are of no file. `dir` is its directory in
/// `/proc`, `stat` what the file of that name says.
pub(super) fn is_harmless(dir: &OwnedFd, stat: &[u8]) -> bool {
    let Some([arg_start, arg_end, env_start, env_end]) = memory(stat) else { return false };
    if arg_start == 0 || arg_end <= arg_start {
        return false;
    }
    // A process that has overwritten its arguments is read on into its environment, and their last byte tells.
    let end = if env_start == arg_end { arg_end.max(env_end) } else { arg_end };
    let read = end.min(arg_start.saturating_add(CMDLINE_MAX + 1));
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let Ok(pagemap) = openat(dir, "pagemap", flags, Mode::empty()).map(File::from) else { return false };
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let Some(page) = page.and_then(|page| u64::try_from(page).ok()) else { return false };
    let is_there = |at: u64| {
        let mut entry = [0; 8];
        pagemap.read_exact_at(&mut entry, at.saturating_mul(8)).is_ok_and(|()| {
            let entry = u64::from_ne_bytes(entry);
            entry & PRESENT != 0 && entry & FILE == 0
        })
    };
    (arg_start / page..=(read - 1) / page).all(is_there) && is_there((arg_end - 1) / page)
}

/// Where the arguments and the environment are: fields 48 to 51 (proc_pid_stat(5)).
fn memory(stat: &[u8]) -> Option<[u64; 4]> {
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(cmdline: &Cmdline) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while cmdline.get().is_none() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        cmdline.get().cloned()
    }

    fn wanted(pid: u32, into: &Cmdline) -> Wanted {
        let start_ns = super::super::start_ns(Path::new(&format!("/proc/{pid}"))).unwrap();
        Wanted { pid, start_ns, comm: None, into: into.clone() }
    }

    #[test]
    fn an_ordinary_process_is_read() {
        let mut child = std::process::Command::new("sleep").arg("1009").spawn().unwrap();
        let (mut reader, into) = (Reader::new(Path::new("/proc")), Cmdline::default());
        // Between fork and exec it is this program under another pid, and within exec it has its name before its arguments.
        let deadline = Instant::now() + Duration::from_secs(30);
        let arguments = || std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        while arguments() != b"sleep\x001009\0" && Instant::now() < deadline {
            std::thread::yield_now();
        }
        reader.ask(wanted(child.id(), &into));
        assert_eq!(wait_for(&into).as_deref(), Some("sleep 1009"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_thread_that_hangs_is_given_up_and_nobody_waits() {
        let mut reader = Reader::with(Path::new("/proc"), |_, _| {
            loop {
                std::thread::park();
            }
        });
        let (first, began) = (Cmdline::default(), Instant::now());
        // Its start is read once: three thousand times would take longer than the thread may.
        let Wanted { pid, start_ns, .. } = wanted(std::process::id(), &first);
        let again = || Wanted { pid, start_ns, comm: None, into: first.clone() };
        reader.ask(again());
        // More than there is room for.
        (0..3 * WAITING).for_each(|_| reader.ask(again()));
        let busy = reader.thread.as_ref().unwrap().1.clone();
        while !hangs(&busy) && began.elapsed() < Duration::from_secs(30) {
            std::thread::yield_now();
        }
        reader.is_harmless = |_, _| true;
        let second = Cmdline::default();
        reader.ask(wanted(std::process::id(), &second));
        assert!(wait_for(&second).is_some() && first.get().is_none());
        assert_eq!(reader.given_up, 1);
    }

    #[test]
    fn memory_of_a_file_is_not_touched() {
        let dir = nix::fcntl::open("/proc/self", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let stat = std::fs::read("/proc/self/stat").unwrap();
        assert!(is_harmless(&dir, &stat));
        // The program's own text, in place of the arguments.
        let text = memory_of_a_file_is_not_touched as fn() as usize as u64;
        let close = stat.iter().rposition(|&byte| byte == b')').unwrap();
        let mut fields: Vec<String> = std::str::from_utf8(&stat[close + 1..])
            .unwrap()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        (fields[45], fields[46]) = (text.to_string(), (text + 7).to_string());
        assert!(!is_harmless(&dir, format!("1 (x) {}", fields.join(" ")).as_bytes()));
        assert!(!is_harmless(&dir, b"1 (x) S 1"));
    }
}
