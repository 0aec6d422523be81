//! Owns: the command that a recording is made of: found, started as the calling user, told of signals, waited for.
//! Must not know: what is recorded.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, rlim_t, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;

use super::user::Caller;
use crate::host::caps::Cap;
use crate::host::sandbox::Needs;
use crate::model::escape::printable;
use crate::recording::{Ending, Exit, Usage};

/// Exit status of a shell that finds no such command.
pub const NOT_FOUND: u8 = 127;
/// Exit status of a shell that finds a file which cannot be run.
pub const NOT_RUNNABLE: u8 = 126;

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run '{}': {why}", printable(&.name.to_string_lossy()))]
pub struct NotRun {
    name: OsString,
    why: String,
    /// [`NOT_FOUND`] or [`NOT_RUNNABLE`].
    pub status: u8,
}

/// A command that is ready to be started.
#[derive(Debug)]
pub struct Command {
    path: PathBuf,
    argv: Vec<OsString>,
    caller: Option<Caller>,
    memlock: Option<(rlim_t, rlim_t)>,
    stdout_is_taken: bool,
}

impl Command {
    /// Looks the command up as a shell does. `argv` is not empty. `stdout_is_taken`: the recording goes there, so what the
    /// command prints goes to stderr.
    ///
    /// # Errors
    /// Where there is no such program, or none that can be run: before anything is traced or written.
    pub fn find(argv: Vec<OsString>, caller: Option<Caller>, stdout_is_taken: bool) -> Result<Self, NotRun> {
        let name = argv.first().cloned().unwrap_or_default();
        let path = look_up(&name, std::env::var_os("PATH").as_deref());
        let path = path.map_err(|(why, status)| NotRun { name, why: why.to_owned(), status })?;
        // The kernel side may raise it for itself.
        let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).ok();
        Ok(Self { path, argv, caller, memlock, stdout_is_taken })
    }

    /// Program and arguments, as the head of a recording has them.
    pub fn argv(&self) -> Vec<String> {
        self.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// The user it will run as.
    pub fn uid(&self) -> u32 {
        self.caller.as_ref().map_or_else(nix::unistd::Uid::current, |caller| caller.uid).as_raw()
    }

    /// Starts it. `cgroup` is the `cgroup.procs` of the cgroup that it is to be in.
    ///
    /// # Errors
    /// Where the kernel does not run it.
    pub fn start(self, cgroup: Option<OwnedFd>) -> Result<Running, NotRun> {
        let name = self.argv.first().cloned().unwrap_or_default();
        let refused = |error: io::Error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let status = if missing { NOT_FOUND } else { NOT_RUNNABLE };
            NotRun { name, why: error.to_string(), status }
        };
        let is_anothers = self.uid() != nix::unistd::Uid::effective().as_raw();
        self.spawn(cgroup).map(|child| Running { child, is_anothers, ended: None }).map_err(refused)
    }

    fn spawn(self, cgroup: Option<OwnedFd>) -> io::Result<Child> {
        let mut command = std::process::Command::new(&self.path);
        if let Some((name, rest)) = self.argv.split_first() {
            command.arg0(name).args(rest);
        }
        if self.stdout_is_taken {
            command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        }
        if let Some(caller) = &self.caller {
            for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"] {
                command.env_remove(name);
            }
            command.envs(caller.variables.iter().map(|(name, value)| (name, value)));
        }
        let (caller, memlock) = (self.caller, self.memlock);
        // SAFETY: system calls only; what they need was made before the fork.
        unsafe {
            command.pre_exec(move || {
                if let Some(cgroup) = &cgroup {
                    nix::unistd::write(cgroup, b"0")?;
                }
                if let Some((soft, hard)) = memlock {
                    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
                }
                crate::host::descriptors::restore();
                // Capabilities that we were given to trace with are none of the command's business.
                let (clear, zero) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0 as libc::c_ulong);
                libc::prctl(libc::PR_CAP_AMBIENT, clear, zero, zero, zero);
                caller.as_ref().map_or(Ok(()), Caller::become_them)
            })
        };
        command.spawn()
    }
}

/// The program that a shell would run for `name`; else why not, and the shell's exit status for that.
fn look_up(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, (&'static str, u8)> {
    if name.as_bytes().contains(&b'/') {
        return runnable(Path::new(name)).map(|()| PathBuf::from(name));
    }
    let mut found = Err(("no such command in PATH", NOT_FOUND));
    let dirs = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    for candidate in dirs.into_iter().filter(|_| !name.is_empty()).map(|dir| dir.join(name)) {
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err((why, NOT_RUNNABLE)) => found = Err((why, NOT_RUNNABLE)),
            Err(_) => {}
        }
    }
    found
}

fn runnable(path: &Path) -> Result<(), (&'static str, u8)> {
    let found = std::fs::metadata(path).map_err(|_| ("no such file", NOT_FOUND))?;
    if found.is_dir() {
        return Err(("it is a directory", NOT_RUNNABLE));
    }
    match found.permissions().mode() & 0o111 {
        0 => Err(("it may not be executed; remedy: chmod +x", NOT_RUNNABLE)),
        _ => Ok(()),
    }
}

/// What becomes of the command when recording is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// There was none.
    NoCommand,
    /// It has ended.
    Ended(Exit),
    /// It runs, and is left alone: signals asked for an end twice.
    Leaves {
        /// Its pid.
        pid: u32,
        /// The first of the signals.
        signal: i32,
    },
    /// It runs, and is to be waited for.
    Outlasts,
}

/// A command that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// It runs as somebody else.
    is_anothers: bool,
    ended: Option<Ending>,
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As `others`, and what it takes to send it signals.
    pub fn needs(&self, others: Needs) -> Needs {
        let caps = others.caps.into_iter().chain(self.is_anothers.then_some(Cap::Kill)).collect();
        Needs { command: Some(self.pid()), caps, ..others }
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// If the kernel cannot say.
    pub fn poll(&mut self) -> io::Result<Option<Ending>> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            self.ended = Some(ending(status));
        }
        Ok(self.ended)
    }

    /// Sends it a signal, if it is still there. It has not been waited for then, so its pid is its own.
    pub fn signal(&self, signal: i32) {
        if let (None, Ok(pid), Ok(signal)) = (self.ended, i32::try_from(self.pid()), Signal::try_from(signal))
        {
            // It may be gone already, which is as well.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    let exit = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    };
    // No other child is ever waited for.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_or_else(
        |_| Usage::default(),
        |usage| Usage {
            user_us: micros(usage.user_time()),
            system_us: micros(usage.system_time()),
            max_rss_kib: usage.max_rss() as u64,
            voluntary_switches: usage.voluntary_context_switches() as u64,
            involuntary_switches: usage.involuntary_context_switches() as u64,
        },
    );
    Ending { exit, usage }
}

fn micros(time: TimeVal) -> u64 {
    (time.tv_sec() as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec() as u64)
}

impl Exit {
    /// What a shell says of it: the exit status, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Status(code) => code as u8,
            Self::Signal(signal) => 128_u8.wrapping_add(signal as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Ending {
        let argv = ["sh", "-c", script].map(OsString::from).to_vec();
        let mut running = Command::find(argv, None, false).unwrap().start(None).unwrap();
        loop {
            if let Some(ended) = running.poll().unwrap() {
                return ended;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_exit_status_and_a_signal_are_told_apart() {
        assert_eq!(run("exit 3").exit, Exit::Status(3));
        assert_eq!(run("exit 3").exit.code(), 3);
        assert_eq!(run("kill -TERM $$").exit, Exit::Signal(libc::SIGTERM));
        assert_eq!(run("kill -KILL $$").exit.code(), 137);
    }

    #[test]
    fn what_is_no_command_is_said_before_it_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let find = |name: &OsStr| {
            let refused = look_up(name, Some(dir.path().as_os_str()));
            refused.map_err(|(_, status)| status)
        };
        assert_eq!(find(OsStr::new("none")), Err(NOT_FOUND));
        assert_eq!(find(OsStr::new("")), Err(NOT_FOUND));
        assert_eq!(find(OsStr::new("plain")), Err(NOT_RUNNABLE));
        assert_eq!(find(plain.as_os_str()), Err(NOT_RUNNABLE));
        assert_eq!(find(dir.path().as_os_str()), Err(NOT_RUNNABLE));
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(find(OsStr::new("plain")), Ok(plain));
    }

    #[test]
    fn a_file_that_the_kernel_does_not_run_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
        let command = Command::find(vec![script.into_os_string()], None, false).unwrap();
        assert_eq!(command.start(None).unwrap_err().status, NOT_FOUND);
    }
}
