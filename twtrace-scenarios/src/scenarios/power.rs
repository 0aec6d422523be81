//! Owns: scenarios about what a trace may still do once its hooks are attached, and about what a capability is for.
//! Must not know: how power is given up; /proc says what a thread has.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::surroundings::{busy, copy_for_all, output, refuses};
use crate::around;
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// `Name:\tvalue` of proc_pid_status(5).
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

fn caps(status: &str, name: &str) -> Result<u64> {
    u64::from_str_radix(field(status, name), 16).with_context(|| format!("{name} in {status}"))
}

/// The statuses of all threads.
fn threads(pid: u32) -> Result<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    // One may end meanwhile.
    let read = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    Ok(read.filter(|status| !field(status, "State:").starts_with(['Z', 'X'])).collect())
}

/// Waits until no thread has more than `kept`, nor can get more, and all are filtered.
fn has_given_up(pid: u32, kept: u64) -> Result<()> {
    let is_done = |status: &String| {
        caps(status, "CapPrm:").is_ok_and(|has| has & !kept == 0)
            && caps(status, "CapInh:").is_ok_and(|has| has == 0)
            && (field(status, "NoNewPrivs:"), field(status, "Seccomp:")) == ("1", "2")
    };
    let mut seen = Vec::new();
    let done = until_true("power to be given up", PATIENCE, || {
        seen = threads(pid)?;
        Ok(seen.len() > 3 && seen.iter().all(is_done))
    });
    done.with_context(|| seen.join("\n"))
}

/// Once it is attached no thread has more than it takes to look at other processes and into their namespaces; and all is still told.
pub(super) fn least(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json"])?;
    // Before 5.19 nobody else may read maps, but CAP_SYS_ADMIN stands in for it (bpf(2), kernel/bpf/syscall.c, 5.10).
    has_given_up(tracer.pid(), SYS_ADMIN | SYS_PTRACE | DAC_READ_SEARCH)?;
    busy(sandbox)?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected: Vec<Pattern> =
        sandbox.expected().iter().cloned().map(|pattern| pattern.want("exe", Want::Present)).collect();
    sandbox.judge(&told, &expected)?;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    // There nothing stands in for it.
    let reads_maps = if twtrace_kit::kernel::version()? < (5, 19) { BPF } else { 0 };
    has_given_up(tracer.pid(), SYS_PTRACE | DAC_READ_SEARCH | reads_maps)?;
    tracer.stop(Signal::SIGINT)?.events()?;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self", "--no-sandbox"])?;
    for status in threads(tracer.pid())? {
        let all = caps(&status, "CapPrm:")? == caps(&fs::read_to_string("/proc/self/status")?, "CapPrm:")?;
        ensure!(
            all && field(&status, "Seccomp:") == "0",
            "--no-sandbox gives up power all the same: {status}"
        );
    }
    tracer.stop(Signal::SIGINT)?.events()?;
    of_the_command(sandbox)
}

/// What is recorded loses nothing: it is started before that.
fn of_the_command(sandbox: &Sandbox) -> Result<()> {
    if !Path::new("/bin/cat").exists() {
        return Ok(());
    }
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, out) = (dir.path().join("x.twt"), dir.path().join("status"));
    let script = format!("cat /proc/self/status > {}", out.display());
    let args = [
        "-o".as_ref(),
        file.as_os_str(),
        "--".as_ref(),
        "/bin/sh".as_ref(),
        "-c".as_ref(),
        OsStr::new(&script),
    ];
    let told = Tracer::record(&sandbox.setup, &args, &[])?.finish()?;
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    let (its, ours) = (fs::read_to_string(&out)?, fs::read_to_string("/proc/self/status")?);
    for name in ["CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Uid:"] {
        ensure!(
            field(&its, name) == field(&ours, name),
            "a recorded command has {name} {}",
            field(&its, name)
        );
    }
    Ok(())
}

/// Another user with capabilities that the file of the program gives: what they do not let it see is told, and each serves what it is said
/// to serve.
pub(super) fn of_a_file(sandbox: &mut Sandbox) -> Result<()> {
    let (_dir, copy) = copy_for_all(sandbox)?;
    let backend = sandbox.setup.backend.clone();
    let args = ["events", "--json", "--duration", "200ms", "--backend", &backend];
    let enough = BPF | PERFMON | SYSLOG | DAC_READ_SEARCH;
    if !give(&copy, enough)? {
        // This file system keeps no capabilities.
        return Ok(());
    }
    let said = output(&copy, &args, around::nobody)?;
    let (stdout, stderr) = (String::from_utf8(said.stdout)?, String::from_utf8(said.stderr)?);
    ensure!(said.status.success(), "with capabilities of its file: {}: {stderr}", said.status);
    ensure!(
        stdout.contains("CAP_SYS_ADMIN, CAP_SYS_PTRACE missing"),
        "what it cannot see is not told: {stdout}"
    );
    for (cap, name) in [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")] {
        give(&copy, enough & !cap)?;
        let said = output(&copy, &args, around::nobody)?;
        refuses(sandbox, &said, &[&format!("{name} is missing")], name)?;
    }
    // With these it sees all that root sees.
    give(&copy, enough | SYS_ADMIN | SYS_PTRACE)?;
    let said = output(&copy, &args, around::nobody)?;
    ensure!(
        said.status.success(),
        "with all of them: {}: {}",
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    let is_hidden = |line: &&str| {
        line.contains(r#""limitation""#)
            && !["other_calls", "syn_refused"].iter().any(|usual| line.contains(usual))
    };
    let stdout = String::from_utf8(said.stdout)?;
    ensure!(
        !stdout.lines().any(|line| is_hidden(&line)),
        "with all of them it cannot see everything: {stdout}"
    );
    Ok(())
}

/// Gives a program capabilities, effective as it is run: `struct vfs_cap_data`, include/uapi/linux/capability.h, 6.12.
/// Says whether they can be kept.
fn give(program: &Path, caps: u64) -> Result<bool> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let words = [REVISION_2_EFFECTIVE, caps as u32, 0, (caps >> 32) as u32, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = std::ffi::CString::new(program.as_os_str().as_bytes())?;
    let name = c"security.capability";
    // SAFETY: strings that end with a NUL, and bytes with their length.
    let done = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0) };
    match Errno::result(done) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno).context("setxattr(security.capability)"),
    }
}
