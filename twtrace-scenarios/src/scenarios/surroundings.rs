//! Owns: scenarios about a machine that nobody prepared: what is not mounted, hidden, not permitted, or counted otherwise; and about guests
//! whose kernel denies something to everybody: lockdown, no BTF, hidden addresses.
//! Must not know: the harness; how a guest gets into that state (`xtask/src/vm/states.rs`): each asks the machine whether it is in it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::actor::close_in_order;

use super::by_server;
use crate::around::{self, Around};
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::{Told, Tracer, kind};

/// Who accepted, and a bind() that fails: what only hooks of system calls tell on some kernels.
pub(super) fn busy(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    for _ in 0..5 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.expect(by_server(&pair.server, &server, "close").opener(&server));
    }
    for _ in 0..3 {
        let raw = client.socket(false, false)?;
        let errno = raw.bind(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRINUSE), "bind to a port in use: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("bind_failed", &client, "EADDRINUSE").is("family", "ipv4");
    sandbox.expect(failed.is("saddr", "127.0.0.1").is("sport", 10007).is("reuseaddr", false).times(3));
    sandbox.settle()
}

/// Everything is told, and nothing is mounted for anybody else.
fn all_is_told(sandbox: &mut Sandbox, around: Around) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let tracer = Tracer::start_around(
        &sandbox.setup,
        "events",
        &["--json", "--netns", &sandbox.netns().to_string()],
        around,
    )?;
    busy(sandbox)?;
    let told = tracer.stop(Signal::SIGINT)?;
    // That is a matter of the kernel, and not of what is mounted.
    let is_hidden = |event: &crate::schema::Event| {
        kind(event) == "limitation" && event["what"] != "other_calls" && event["what"] != "syn_refused"
    };
    ensure!(!told.events_with_losses()?.iter().any(is_hidden), "it cannot see everything: {}", told.stdout);
    ensure!(fs::read_to_string("/proc/self/mountinfo")? == mounts, "mounts have changed");
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

pub(super) fn tracefs_unmounted(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::without_tracefs)
}

pub(super) fn tracefs_mounted(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::with_tracefs)
}

/// As under `ip netns exec`.
pub(super) fn sysfs_fresh(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::fresh_sysfs)
}

pub(super) fn sysfs_missing(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::without_sysfs)
}

/// In a container that sees the machine's processes and may trace.
pub(super) fn container(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::container)
}

/// Out of such a container into the machine's mounts and network.
pub(super) fn nsenter(sandbox: &mut Sandbox) -> Result<()> {
    all_is_told(sandbox, around::nsenter)
}

/// With --no-syscalls nothing hangs on a system call, and what nothing else tells is told as not seen.
pub(super) fn no_syscalls(sandbox: &mut Sandbox) -> Result<()> {
    let args = ["--json", "--netns", &sandbox.netns().to_string(), "--no-syscalls"];
    let tracer = Tracer::start(&sandbox.setup, &args)?;
    let perf_events = descriptors(tracer.pid(), "anon_inode:[perf_event]")?;
    busy(sandbox)?;
    let told = tracer.stop(Signal::SIGINT)?;
    let events = told.events_with_losses()?;
    let is_unseen = |what: &str| events.iter().any(|e| kind(e) == "limitation" && e["what"] == what);
    ensure!(!is_unseen("other_calls"), "it is attached to system calls: {}", told.stdout);
    let mut expected = sandbox.expected().to_vec();
    // Where functions can be hooked, they tell the same.
    if is_unseen("bind_failed") {
        ensure!(is_unseen("openers"), "who accepts is not known either: {}", told.stdout);
        ensure!(perf_events == 0, "{perf_events} hooks by perf_event_open(2)");
        expected.retain(|pattern| !pattern.says("event", "bind_failed"));
        for pattern in &mut expected {
            pattern.wants.insert("opener_pid".to_owned(), Want::Absent);
            pattern.wants.insert("opener_comm".to_owned(), Want::Absent);
        }
    }
    sandbox.judge(&told, &expected)
}

/// How many descriptors of a process are of that kind.
fn descriptors(pid: u32, kind: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One may be closed meanwhile.
        count += usize::from(fs::read_link(entry?.path()).is_ok_and(|path| path.as_os_str() == kind));
    }
    Ok(count)
}

/// Runs twtrace to its end.
pub(super) fn output(twtrace: &Path, args: &[&str], around: Around) -> Result<Output> {
    let mut command = Command::new(twtrace);
    command.args(args).stdin(Stdio::null()).current_dir("/");
    // SAFETY: this process has one thread.
    unsafe { command.pre_exec(around) };
    command.output().context("starting twtrace")
}

/// A copy that every user may run.
pub(super) fn copy_for_all(sandbox: &Sandbox) -> Result<(TempDir, std::path::PathBuf)> {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let copy = dir.path().join("twtrace");
    fs::copy(&sandbox.setup.twtrace, &copy)?;
    for path in [dir.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok((dir, copy))
}

/// It refuses with 77, a line of reason that has all of `named`, and a line of remedy that has `remedy`.
pub(super) fn refuses(sandbox: &mut Sandbox, said: &Output, named: &[&str], remedy: &str) -> Result<()> {
    let stderr = String::from_utf8(said.stderr.clone())?;
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let good = matches!(lines[..], [why, how] if how.starts_with("remedy: ") && how.contains(remedy)
        && named.iter().all(|name| why.contains(name)));
    if said.status.code() != Some(77) || !good {
        sandbox
            .fail(format!("{}, not one line with {named:?} and one with {remedy:?}: {stderr}", said.status));
    }
    Ok(())
}

/// Exactly the capabilities that are needed are enough; of those that are not there each is named.
pub(super) fn capabilities(sandbox: &mut Sandbox) -> Result<()> {
    let (_dir, copy) = copy_for_all(sandbox)?;
    let backend = sandbox.setup.backend.clone();
    let args = ["events", "--json", "--duration", "200ms", "--backend", &backend];
    let said = output(&copy, &args, around::just_enough)?;
    let stderr = String::from_utf8(said.stderr)?;
    ensure!(said.status.success(), "with just enough capabilities: {}: {stderr}", said.status);
    ensure!(
        String::from_utf8(said.stdout)?.contains("CAP_SYS_ADMIN, CAP_SYS_PTRACE missing"),
        "that other namespaces cannot be entered is not said"
    );
    let said = output(&copy, &args, around::without_perfmon)?;
    refuses(sandbox, &said, &["CAP_PERFMON is missing"], "CAP_PERFMON")?;
    // Where functions are hooked, addresses serve to tell why sockets end early; else nothing goes without them.
    let said = output(&copy, &args, around::without_syslog)?;
    if said.status.success() {
        let stdout = String::from_utf8(said.stdout)?;
        ensure!(stdout.contains("end_reasons") && stdout.contains("CAP_SYSLOG"), "no limitation: {stdout}");
        return Ok(());
    }
    refuses(sandbox, &said, &["CAP_SYSLOG is missing"], "CAP_SYSLOG")
}

/// A soft limit is raised; a hard one is named, with nothing that does not help.
pub(super) fn few_files(sandbox: &mut Sandbox) -> Result<()> {
    let (twtrace, backend) = (sandbox.setup.twtrace.clone(), sandbox.setup.backend.clone());
    let args = ["events", "--duration", "200ms", "--backend", &backend];
    let said = output(&twtrace, &args, around::few_files_at_first)?;
    ensure!(said.status.success(), "{}: {}", said.status, String::from_utf8_lossy(&said.stderr));
    let said = output(&twtrace, &args, around::few_files)?;
    refuses(sandbox, &said, &["open files", "32"], "ulimit -Hn")?;
    // What it starts has the limits that it was started with itself.
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, out) = (dir.path().join("x.twt"), dir.path().join("limit"));
    let child = format!("cat /proc/self/limits > {}", out.display());
    if !Path::new("/bin/cat").exists() {
        return Ok(());
    }
    let file = file.to_string_lossy();
    let args = ["record", "-o", &file, "--backend", &backend, "--", "/bin/sh", "-c", &child];
    output(&twtrace, &args, around::few_files_at_first)?;
    let limits = fs::read_to_string(&out)?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    ensure!(line.split_whitespace().nth(3) == Some("32"), "the command's limit: {line:?}");
    Ok(())
}

/// The line of JSON that a command prints.
fn json(told: &Told) -> Result<Value> {
    let line = told.stdout.lines().last().with_context(|| format!("nothing told: {}", told.stderr))?;
    Ok(serde_json::from_str(line)?)
}

fn has_limitation(value: &Value, what: &str) -> bool {
    let all = value.get("limitations").and_then(Value::as_array);
    all.is_some_and(|all| {
        all.iter().any(|one| one["what"] == what && one["why"] != "" && one["remedy"] != "")
    })
}

/// In a PID namespace with a /proc of its own: pids are the machine's, nothing is looked up by them, and every output says so.
pub(super) fn pid_namespace(sandbox: &mut Sandbox) -> Result<()> {
    let setup = sandbox.setup.clone();
    let start = |name: &str, args: &[&str]| {
        around::in_pid_namespace(|| Tracer::start_around(&setup, name, args, around::fresh_proc))
    };
    let tracer = start("events", &["--json", "--netns", "self"])?;
    busy(sandbox)?;
    let told = tracer.stop(Signal::SIGINT)?;
    let all = told.events_with_losses()?;
    let limited = all.iter().filter(|event| kind(event) == "limitation");
    ensure!(
        limited.clone().any(|event| event["what"] == "processes"),
        "events say nothing of processes that cannot be looked up: {}",
        told.stdout
    );
    let expected: Vec<Pattern> =
        sandbox.expected().iter().cloned().map(|pattern| pattern.want("exe", Want::Absent)).collect();
    sandbox.judge(&told, &expected)?;
    sandbox.balanced();
    pid_namespace_elsewhere(&start)?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("x.twt");
    let file = file.to_string_lossy();
    start("record", &["-o", &file, "--duration", "200ms"])?.finish()?;
    let report = |args: &[&str]| {
        let said = output(&setup.twtrace, &[&["report", &file], args].concat(), || Ok(()))?;
        Ok::<_, anyhow::Error>(String::from_utf8(said.stdout)?)
    };
    let value: Value = serde_json::from_str(&report(&["--json"])?)?;
    ensure!(has_limitation(&value["head"], "processes"), "report --json: {}", value["head"]);
    let text = report(&[])?;
    ensure!(text.contains("not seen: programs"), "report: {text}");
    let said = output(&setup.twtrace, &["doctor", "--json", &file], || Ok(()))?;
    let value: Value = serde_json::from_slice(&said.stdout)?;
    ensure!(has_limitation(&value, "processes"), "doctor FILE: {value}");
    ensure!(value["severity"] != "fine", "the doctor says that all is well: {value}");
    let said = output(&setup.twtrace, &["replay", "--once", "--json", &file], || Ok(()))?;
    let value: Value = serde_json::from_slice(&said.stdout)?;
    ensure!(has_limitation(&value, "processes"), "replay: {value}");
    Ok(())
}

fn pid_namespace_elsewhere(start: &dyn Fn(&str, &[&str]) -> Result<Tracer>) -> Result<()> {
    let doctor = start("doctor", &["--json", "--netns", "self", "--duration", "1s"])?.finish()?;
    let value = json(&doctor)?;
    ensure!(has_limitation(&value, "processes"), "the doctor's diagnosis: {value}");
    let refused = start("events", &["--pid", "1"]);
    let Some(error) = refused.err() else { anyhow::bail!("--pid with another namespace's pids is taken") };
    let said = error.to_string();
    ensure!(said.contains("--pid cannot") && said.contains("--pid=host"), "--pid: {said}");
    Ok(())
}

/// Nothing is said at start where all is well, and no more than a line for each thing where it is not.
pub(super) fn quiet_start(sandbox: &mut Sandbox) -> Result<()> {
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let said = tracer.stderr()?;
    tracer.stop(Signal::SIGINT)?.events()?;
    ensure!(said.is_empty(), "it says on stderr: {said}");
    Ok(())
}

/// In a time namespace the calendar and every age are still right.
pub(super) fn time_namespace(sandbox: &mut Sandbox) -> Result<()> {
    let setup = sandbox.setup.clone();
    let began = now()?;
    let start = || Tracer::start(&setup, &["--json", "--netns", "self"]);
    let Some(tracer) = around::in_time_namespace(1_000_003, start)? else {
        // This kernel has none, and so nothing can be shifted.
        return Ok(());
    };
    busy(sandbox)?;
    let told = tracer.stop(Signal::SIGINT)?;
    let ended = now()?;
    let expected: Vec<Pattern> =
        sandbox.expected().iter().cloned().map(|pattern| pattern.want("exe", Want::Present)).collect();
    sandbox.judge(&told, &expected)?;
    for event in told.events()? {
        let time = event["time"].as_str().unwrap_or_default();
        ensure!(
            (began.as_str()..=ended.as_str()).contains(&time),
            "{time} is not within {began} and {ended}"
        );
        if let Some(age_ms) = event.get("age_ms").and_then(Value::as_u64) {
            ensure!(age_ms < 60_000, "a connection of seconds has an age of {age_ms} ms");
        }
    }
    Ok(())
}

/// The calendar, as events have it.
fn now() -> Result<String> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seconds = libc::time_t::try_from(since.as_secs())?;
    // SAFETY: all-zero is a valid tm.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to values of ours.
    unsafe { libc::gmtime_r(&raw const seconds, &raw mut parts) };
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        parts.tm_year + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        since.subsec_nanos()
    ))
}

fn ensure_says(path: &str, what: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    ensure!(text.contains(what), "{path} says {text:?}, not {what:?}: this guest was not booted for it");
    Ok(())
}

/// A trace of a moment.
fn events(sandbox: &Sandbox) -> Result<std::process::Output> {
    let args = ["events", "--json", "--duration", "200ms", "--backend", &sandbox.setup.backend];
    output(&sandbox.setup.twtrace, &args, || Ok(()))
}

/// Programs may not read the kernel's memory.
pub(super) fn by_confidentiality(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[confidentiality]")?;
    let said = events(sandbox)?;
    refuses(sandbox, &said, &["lockdown is at confidentiality"], "lockdown=integrity")
}

/// At integrity nothing of it is denied.
pub(super) fn not_by_integrity(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/sys/kernel/security/lockdown", "[integrity]")?;
    all_is_told(sandbox, || Ok(()))
}

/// Without the kernel's types no field can be found.
pub(super) fn without_btf(sandbox: &mut Sandbox) -> Result<()> {
    let btf = "/sys/kernel/btf/vmlinux";
    ensure!(!Path::new(btf).exists(), "{btf} is there: this guest was not booted for it");
    let said = events(sandbox)?;
    refuses(sandbox, &said, &[btf], "CONFIG_DEBUG_INFO_BTF")
}

/// Where functions are hooked, addresses serve to tell why sockets end early, and that they are missing is told; else nothing goes
/// without them.
pub(super) fn hidden_addresses(sandbox: &mut Sandbox) -> Result<()> {
    ensure_says("/proc/sys/kernel/kptr_restrict", "2")?;
    let said = events(sandbox)?;
    if !said.status.success() {
        return refuses(sandbox, &said, &["kptr_restrict is 2"], "sysctl -w kernel.kptr_restrict=1");
    }
    let stdout = String::from_utf8(said.stdout)?;
    ensure!(
        stdout.contains("end_reasons") && stdout.contains("kernel.kptr_restrict=1"),
        "no limitation is told: {stdout}"
    );
    Ok(())
}
