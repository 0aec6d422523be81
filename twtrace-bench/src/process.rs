//! Processes: how those of the bench are started and stopped, and what /proc and the clocks say about any.
//!
//! Owns: what all of them have in common beyond the kit's, and reading. Must not know: which programs, and why.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use twtrace_kit::bpf::{Held, descriptors};
use twtrace_kit::child::{GRACE, Guarded};
use twtrace_kit::wait::PATIENCE;

/// Starts a program, which has time to end by itself.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn start(command: &mut Command) -> Result<Guarded> {
    Ok(Guarded::spawn(command)?.with_grace(GRACE))
}

/// Sends it a signal and waits for its end, for which that signal is as good as success.
///
/// # Errors
/// Where it does not end in time, or ends otherwise.
pub(crate) fn stop(mut child: Guarded, signal: Signal) -> Result<()> {
    let status = child.stop(signal, PATIENCE)?;
    ensure!(status.success() || status.signal() == Some(signal as i32), "it ended with {status}");
    Ok(())
}

/// CPU time that a process has used so far, all of its threads, in seconds. Exact to the nanosecond, unlike the ticks in /proc.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    let clock: ClockId = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
        .with_context(|| format!("process {pid} has no CPU clock"))?;
    Ok(clock_gettime(clock)?.num_nanoseconds() as f64 / 1e9)
}

/// The peak of its resident memory, in KiB.
pub(crate) fn peak_rss_kib(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// Its resident memory, in KiB.
pub(crate) fn rss_kib(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// How often its threads went to sleep so far. What threads did that have ended is not in it.
pub(crate) fn sleeps(pid: u32) -> Result<u64> {
    sleeps_in(&Path::new("/proc").join(pid.to_string()).join("task"))
}

fn sleeps_in(tasks: &Path) -> Result<u64> {
    let threads = fs::read_dir(tasks).with_context(|| tasks.display().to_string())?;
    let of_thread = |thread: &fs::DirEntry| {
        // A thread may end meanwhile.
        number(&thread.path().join("status"), "voluntary_ctxt_switches:").unwrap_or(0)
    };
    Ok(threads.flatten().map(|thread| of_thread(&thread)).sum())
}

fn status(pid: u32, name: &str) -> Result<u64> {
    number(Path::new(&format!("/proc/{pid}/status")), name)
}

fn number(path: &Path, name: &str) -> Result<u64> {
    let path = path.display().to_string();
    let text = fs::read_to_string(&path).context(path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| anyhow!("{path} has no {name}"))
}

/// Memory of the BPF maps that a process holds, in KiB, as the kernel accounts for it.
pub(crate) fn maps_kib(pid: u32) -> Result<u64> {
    Ok(maps_bytes(&descriptors(pid)?) / 1024)
}

fn maps_bytes(descriptors: &[Held]) -> u64 {
    let mut maps = BTreeMap::new();
    for map in descriptors.iter().filter(|held| held.field("map_type").is_some()) {
        let bytes: u64 = map.field("memlock").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        // A map may be held twice. Where fdinfo names no id, each descriptor counts.
        let id = map.field("map_id").map_or_else(|| format!("#{}", maps.len()), str::to_owned);
        maps.insert(id, bytes);
    }
    maps.values().sum()
}

/// Whether it waits for something to read, with a BPF program in place: a tracer that has begun.
pub(crate) fn traces(pid: u32) -> Result<bool> {
    let attached = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().any(|entry| {
        fs::read_link(entry.path()).is_ok_and(|target| {
            let target = target.to_string_lossy();
            target.contains("bpf_link") || target.contains("bpf-link") || target.contains("[perf_event]")
        })
    });
    let waits = fs::read_to_string(format!("/proc/{pid}/wchan"))?;
    Ok(attached && waits.contains("poll"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twtrace_kit::wait::until_true;

    #[test]
    fn a_signal_asked_for_is_no_failure_but_an_exit_status_is() {
        twtrace_kit::child::heed(Signal::SIGINT).unwrap();
        let mut sleeper = Command::new("sleep");
        stop(start(sleeper.arg("60")).unwrap(), Signal::SIGINT).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let mut rude = Command::new("sh");
        rude.args(["-c", "trap 'exit 3' INT; : > \"$0\"; while :; do sleep 0.01; done"]).arg(&ready);
        let rude = start(&mut rude).unwrap();
        until_true("it to be ready", PATIENCE, || Ok(ready.exists())).unwrap();
        let error = stop(rude, Signal::SIGINT).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_process_is_billed_for_what_it_used() {
        let me = std::process::id();
        let before = cpu_s(me).unwrap();
        let mut sum = 0u64;
        while cpu_s(me).unwrap() < before + 0.003 {
            sum = std::hint::black_box(sum + 1);
        }
        // Other tests run beside it and take memory; and the kernel adds up what its processors counted only now and then.
        let now = rss_kib(me).unwrap();
        assert!(peak_rss_kib(me).unwrap() + 1024 >= now);
        assert!(sum > 0 && now > 100);
    }

    #[test]
    fn sleeps_of_every_thread_count() {
        const SWITCHES: &str = "voluntary_ctxt_switches:\t101\nnonvoluntary_ctxt_switches:\t5\n";
        let tasks = tempfile::tempdir().unwrap();
        for (tid, status) in [("7", "Name:\ta\nvoluntary_ctxt_switches:\t11\n"), ("13", ""), ("17", SWITCHES)]
        {
            fs::create_dir(tasks.path().join(tid)).unwrap();
            fs::write(tasks.path().join(tid).join("status"), status).unwrap();
        }
        assert_eq!(sleeps_in(tasks.path()).unwrap(), 112);
        assert!(sleeps_in(&tasks.path().join("none")).is_err());
        sleeps(std::process::id()).unwrap();
    }

    #[test]
    fn a_map_that_is_held_twice_counts_once() {
        let map = |id: &str, bytes: &str| {
            Held::from(format!("pos:\t0\nmap_type:\t27\nmemlock:\t{bytes}\n{id}").as_str())
        };
        let program = Held::from("prog_type:\t26\nmemlock:\t4096\n");
        let all =
            [map("map_id:\t7\n", "1024"), map("map_id:\t7\n", "1024"), map("map_id:\t8\n", "2048"), program];
        assert_eq!(maps_bytes(&all), 3072);
    }
}
