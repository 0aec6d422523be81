//! The first process of a test guest: prepares the machine, runs the scenarios once for each backend, powers off.
//!
//! Owns: mounts, modules, and the marker lines by which the host follows the run on the serial console.
//! Must not know: what the scenarios do. The host's side is `xtask/src/vm`.
//!
//! The kernel command line says what to run: `twtrace.label=5.10 twtrace.backends=fentry,kprobe
//! twtrace.scenarios=a,b twtrace.state=no_tracefs,cgroup_v1` (no scenarios: all; with `twtrace.deal=2` what falls to that kernel; no state: as a usual Debian); or, in place of
//! scenarios, `twtrace.instructions=WORDS`: `twtrace-scenarios instructions` with these words, which are parted by semicolons.
//! Each marker line starts with `@@guest `.

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, wait};
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use twtrace_kit::netns::lo_up;
use twtrace_scenarios::around::PREPARED;

/// File system type, mount point, and whether a kernel without it is still of use.
const MOUNTS: [(&str, &str, bool); 10] = [
    ("proc", "/proc", true),
    ("sysfs", "/sys", true),
    ("devtmpfs", "/dev", true),
    ("tmpfs", "/tmp", true),
    ("tmpfs", "/run", true),
    ("devpts", "/dev/pts", false),
    ("securityfs", "/sys/kernel/security", false),
    ("tracefs", "/sys/kernel/tracing", false),
    ("debugfs", "/sys/kernel/debug", false),
    ("bpf", "/sys/fs/bpf", true),
];

/// Controllers of cgroup v1 that are mounted, each where the kernel has it, with `twtrace.state=cgroup_v1` or `cgroup_hybrid`.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "devices", "freezer", "pids"];

/// Modules to load, in this order: `MODULES/order` has one file name a line.
const MODULES: &str = "/modules";

/// A BPF object to use instead of the embedded one, where the host put one.
const OBJECT: &str = "/lib/twtrace.bpf.o";

/// Console priority up to which lines of the kernel's log are repeated at the end: 4 is a warning.
const LOG_PRIORITY: u32 = 4;

fn main() {
    if let Err(error) = work() {
        say(&format!("error {error:#}"));
    }
    if let Err(error) = repeat_kernel_log() {
        say(&format!("error the kernel's log cannot be read: {error:#}"));
    }
    say("done");
    // If powering off fails, init ends, the kernel panics, and `panic=-1` ends the guest all the same.
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    say(&format!("error cannot power off: {error}"));
}

/// Prints a marker, on a line of its own.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Where the console is gone there is nobody to tell.
    drop(writeln!(out, "\n@@guest {text}").and_then(|()| out.flush()));
}

fn work() -> Result<()> {
    // The command line, which says how the rest is to be, needs the first.
    let (first, rest) = MOUNTS.split_at(1);
    first.iter().try_for_each(|wanted| mount_one(*wanted))?;
    let wish = Wish::parse(&fs::read_to_string("/proc/cmdline")?);
    // As on a machine that nobody has prepared.
    let is_unwanted = |kind: &str| wish.is("no_tracefs") && PREPARED.contains(&kind);
    rest.iter().filter(|(kind, ..)| !is_unwanted(kind)).try_for_each(|wanted| mount_one(*wanted))?;
    mount_cgroups(&wish)?;
    load_modules()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    say(&format!("kernel {}", release.trim()));
    // As any distribution's boot does, in the first network namespace.
    lo_up()?;
    take_away(&wish)?;
    if !wish.count.is_empty() {
        say("begin count");
        let code = count(&wish.count)?;
        say(&format!("end count {code}"));
        return Ok(());
    }
    for backend in &wish.backends {
        say(&format!("begin {backend}"));
        let code = run_scenarios(backend, &wish)?;
        say(&format!("end {backend} {code}"));
    }
    Ok(())
}

fn mount_one((kind, target, needed): (&str, &str, bool)) -> Result<()> {
    match mount_with(kind, target, None) {
        Err(error) if !needed => say(&format!("note {error:#}")),
        done => done?,
    }
    Ok(())
}

fn mount_with(kind: &str, target: &str, options: Option<&str>) -> Result<()> {
    let context = || format!("cannot mount {kind} on {target}");
    fs::create_dir_all(target).with_context(context)?;
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options).with_context(context)
}

/// cgroup v2 alone, v1 alone, or v1 with a v2 hierarchy that has no controllers beside it, as systemd mounts each.
fn mount_cgroups(wish: &Wish) -> Result<()> {
    let (only_v1, is_hybrid) = (wish.is("cgroup_v1"), wish.is("cgroup_hybrid"));
    if !only_v1 && !is_hybrid {
        return mount_with("cgroup2", "/sys/fs/cgroup", None);
    }
    mount_with("tmpfs", "/sys/fs/cgroup", None)?;
    mount_with("cgroup", "/sys/fs/cgroup/systemd", Some("none,name=systemd"))?;
    for name in CONTROLLERS {
        if let Err(error) = mount_with("cgroup", &format!("/sys/fs/cgroup/{name}"), Some(name)) {
            say(&format!("note {error:#}"));
        }
    }
    if is_hybrid {
        mount_with("cgroup2", "/sys/fs/cgroup/unified", None)?;
    }
    Ok(())
}

/// Takes from the kernel what it does not tell on other machines.
fn take_away(wish: &Wish) -> Result<()> {
    if wish.is("kptr_restrict") {
        fs::write("/proc/sys/kernel/kptr_restrict", "2").context("kptr_restrict")?;
    }
    if wish.is("no_btf") {
        fs::create_dir_all("/empty")?;
        mount(Some("/empty"), "/sys/kernel/btf", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context("covering /sys/kernel/btf")?;
    }
    Ok(())
}

/// What the kernel command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    label: String,
    backends: Vec<String>,
    scenarios: Vec<String>,
    state: Vec<String>,
    count: Vec<String>,
    deal: Option<String>,
}

impl Wish {
    fn is(&self, state: &str) -> bool {
        self.state.iter().any(|word| word == state)
    }

    fn parse(cmdline: &str) -> Wish {
        let list = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let mut wish = Wish::default();
        for word in cmdline.split_whitespace() {
            match word.split_once('=') {
                Some(("twtrace.label", value)) => wish.label = value.to_owned(),
                Some(("twtrace.backends", value)) => wish.backends = list(value),
                Some(("twtrace.scenarios", value)) => wish.scenarios = list(value),
                Some(("twtrace.state", value)) => wish.state = list(value),
                Some(("twtrace.deal", value)) => wish.deal = Some(value.to_owned()),
                Some(("twtrace.instructions", value)) => {
                    wish.count = value.split(';').map(str::to_owned).collect()
                }
                _ => {}
            }
        }
        wish
    }
}

fn load_modules() -> Result<()> {
    let order = Path::new(MODULES).join("order");
    let names = fs::read_to_string(&order).with_context(|| format!("{}", order.display()))?;
    for name in names.lines() {
        let path = Path::new(MODULES).join(name);
        let file = fs::File::open(&path).with_context(|| format!("{}", path.display()))?;
        let no_parameters = CString::default();
        let done = nix::kmod::finit_module(&file, &no_parameters, nix::kmod::ModuleInitFlags::empty());
        done.with_context(|| format!("module {name} cannot be loaded"))?;
    }
    Ok(())
}

/// Runs the scenarios with one backend; returns their exit status as a shell would show it.
fn run_scenarios(backend: &str, wish: &Wish) -> Result<i32> {
    let mut command = Command::new("/bin/twtrace-scenarios");
    // One at a time: under software emulation a hook runs a hundred times as long, and where hooks can be preempted (7.x) the
    // kernel skips the others' runs of it meanwhile, which twtrace counts and tells, but which is not what is tested here.
    command
        .args(["run", "--again", "--jobs", "1", "--backend", backend, "--label", &wish.label])
        .args(&wish.scenarios);
    command.args(wish.deal.iter().flat_map(|kernel| ["--deal", kernel]));
    run(&mut command)
}

/// Counts instructions; returns the exit status as a shell would show it.
fn count(words: &[String]) -> Result<i32> {
    let mut command = Command::new("/bin/twtrace-scenarios");
    command.args(["instructions", "--twtrace", "/bin/twtrace"]).args(words);
    run(&mut command)
}

fn run(command: &mut Command) -> Result<i32> {
    command.env_clear().env("PATH", "/bin").env("HOME", "/tmp").env("TERM", "dumb").current_dir("/tmp");
    if Path::new(OBJECT).exists() {
        command.env("TWTRACE_BPF_OBJECT", OBJECT);
    }
    let child = command.stdin(Stdio::null()).spawn();
    let child = child.with_context(|| format!("{:?} cannot be started", command.get_program()))?;
    // Orphans become children of init: they are reaped on the way, or they would stay as zombies.
    loop {
        match wait().context("wait")? {
            WaitStatus::Exited(pid, code) if pid.as_raw().cast_unsigned() == child.id() => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw().cast_unsigned() == child.id() => {
                return Ok(128 + signal as i32);
            }
            _ => {}
        }
    }
}

/// Repeats warnings and worse, which `quiet` kept off the console, so that the host can look at them.
fn repeat_kernel_log() -> Result<()> {
    let mut log = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if let Some(line) = warning(&text) {
                    say(&format!("log {line}"));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            // EPIPE: the record was overwritten while we read; the next read goes on after the gap.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error).context(format!("/dev/kmsg, descriptor {}", log.as_raw_fd())),
        }
    }
}

/// The message of a `/dev/kmsg` record (`priority,sequence,time,flags;message`) that is a warning or worse.
fn warning(record: &str) -> Option<&str> {
    let (head, body) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    (priority & 7 <= LOG_PRIORITY).then(|| body.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_run() {
        let wish = Wish::parse(
            "console=ttyS0 quiet twtrace.label=5.10 twtrace.backends=fentry,kprobe twtrace.scenarios=\n",
        );
        assert_eq!(wish.label, "5.10");
        assert_eq!(wish.backends, ["fentry", "kprobe"]);
        assert!(wish.scenarios.is_empty());
        assert_eq!(Wish::parse("twtrace.scenarios=a,b").scenarios, ["a", "b"]);
        assert!(wish.count.is_empty());
        let words = Wish::parse("quiet twtrace.instructions=--backends;fentry,kprobe").count;
        assert_eq!(words, ["--backends", "fentry,kprobe"]);
        let wish = Wish::parse("lockdown=integrity twtrace.state=no_tracefs,cgroup_v1");
        assert!(wish.is("cgroup_v1") && wish.is("no_tracefs") && !wish.is("no_btf"));
    }

    #[test]
    fn only_warnings_and_worse_of_the_kernels_log_are_repeated() {
        assert_eq!(warning("4,339,5140900,-;WARNING: CPU: 0\n SUBSYSTEM=x\n"), Some("WARNING: CPU: 0"));
        assert_eq!(warning("12,340,5140900,-;user's warning"), Some("user's warning"));
        assert_eq!(warning("6,341,5690716,-;all is well"), None);
        assert_eq!(warning("no record"), None);
    }
}
