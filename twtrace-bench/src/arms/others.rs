//! Other tools: tcpstates and tcplife of libbpf-tools, a one-liner for bpftrace, and `ss` every second, which is what those do who have no
//! tracer.
//!
//! Owns: how they are run, what their output says, and the bill of the polling. Must not know: how loads are made.
//!
//! A TIME_WAIT socket begins where a connection that closed first goes from FIN_WAIT2 or CLOSING to CLOSE. That is what is counted of
//! tracers; what else they tell, they tell for other purposes.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::errno::Errno;
use twtrace_kit::command::which;

use super::Heard;
use crate::generator::First;
use crate::model::{Arm, Told};

/// The same tracepoint as twtrace's, and the same moment. States are those of include/net/tcp_states.h, 6.12.
const ONE_LINER: &str = "tracepoint:sock:inet_sock_set_state \
    /args->newstate == 7 && (args->oldstate == 5 || args->oldstate == 11)/ { @[pid, comm] = count(); }";

/// From one run of `ss` to the next.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn command(arm: Arm) -> Result<Command> {
    let (name, package) = match arm {
        Arm::Tcpstates => ("tcpstates", "libbpf-tools"),
        Arm::Tcplife => ("tcplife", "libbpf-tools"),
        _ => ("bpftrace", "bpftrace"),
    };
    which(name).with_context(|| format!("no {name} here (Debian package {package})"))?;
    let mut command = Command::new(name);
    if arm == Arm::Bpftrace {
        command.args(["-e", ONE_LINER]);
    }
    Ok(command)
}

pub(super) fn read(arm: Arm, out: &str, errors: &str, heard: &Heard) -> Result<Told> {
    let births = match arm {
        Arm::Tcpstates => out.lines().filter_map(|line| state_change(line, heard)).collect(),
        Arm::Tcplife => out.lines().filter_map(|line| life(line, heard)).collect(),
        _ => out.lines().filter_map(count).collect::<Vec<_>>(),
    };
    let mut owners = HashMap::<u32, u64>::new();
    births.iter().for_each(|(pid, count)| *owners.entry(*pid).or_default() += count);
    let tells_losses = arm != Arm::Bpftrace;
    Ok(Told {
        created: Some(owners.values().sum()),
        right: Some(heard.made.owners.right(owners)),
        lost: tells_losses.then(|| errors.lines().map(lost).sum()),
        lines: Some(out.lines().count() as u64),
        bytes: Some(out.len() as u64),
        ..Told::default()
    })
}

/// `SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS`; COMM may have spaces.
fn state_change(line: &str, heard: &Heard) -> Option<(u32, u64)> {
    let pid = line.split_whitespace().nth(1)?.parse().ok()?;
    let mut fields = line.split_whitespace().rev();
    let (_ms, new, _arrow, old) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (remote, _, local) = (fields.next()?, fields.next()?, fields.next()?);
    let born = new == "CLOSE" && ["FIN_WAIT2", "CLOSING"].contains(&old);
    let server = heard.site.port.to_string();
    (born && (local == server || remote == server)).then_some((pid, 1))
}

/// `PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS`, a line for each end of a connection. That of the end that closed first counts.
fn life(line: &str, heard: &Heard) -> Option<(u32, u64)> {
    let pid = line.split_whitespace().next()?.parse().ok()?;
    let mut fields = line.split_whitespace().rev().skip(3);
    let (remote, _, local) = (fields.next()?, fields.next()?, fields.next()?);
    let first = if heard.site.first == First::Client { remote } else { local };
    (first == heard.site.port.to_string()).then_some((pid, 1))
}

/// `@[PID, COMM]: COUNT`
fn count(line: &str) -> Option<(u32, u64)> {
    let (key, count) = line.strip_prefix("@[")?.rsplit_once("]: ")?;
    Some((key.split(',').next()?.parse().ok()?, count.parse().ok()?))
}

/// The number in libbpf-tools' `lost 7 events on CPU #1`.
fn lost(line: &str) -> u64 {
    let line = line.to_lowercase();
    let rest = line.split_once("lost ").map_or("", |(_, rest)| rest);
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A thread that runs `ss` at once and then every second.
pub(crate) struct Polling {
    stop: Sender<()>,
    thread: JoinHandle<Result<f64>>,
}

/// One run of `ss`.
pub(super) fn polled() -> Command {
    let mut command = Command::new("ss");
    command.args(["-tanH", "state", "time-wait"]);
    command
}

impl Polling {
    /// Begins.
    pub(super) fn start() -> Result<Self> {
        which("ss").context("no ss here (Debian package iproute2)")?;
        let (stop, stopped) = channel();
        let poll = move || -> Result<f64> {
            let mut cpu_s = 0.0;
            loop {
                cpu_s += billed(polled().stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)?;
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return Ok(cpu_s);
                }
            }
        };
        Ok(Self { stop, thread: std::thread::spawn(poll) })
    }

    /// Ends it. It tells no births and no owners; gives its CPU time in seconds.
    pub(super) fn stop(self) -> Result<(Told, f64)> {
        let Self { stop, thread } = self;
        drop(stop);
        let cpu_s = thread.join().map_err(|_| anyhow!("polling with ss panicked"))??;
        Ok((Told::default(), cpu_s))
    }
}

/// Waits for a child and gives its CPU time in seconds.
fn billed(child: Child) -> Result<f64> {
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: an all-zero rusage is a valid value of that C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are to memory of ours. The child is our own, and nobody else waits for it: `child` is not used again.
    Errno::result(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }).context("wait4")?;
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "ss failed with status {status:#x}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Made, Owners, Site};

    fn told(arm: Arm, first: First, out: &str, errors: &str) -> Told {
        let made = Made { count: 1, elapsed_s: 1.0, connect: None, owners: Owners::Counted(vec![(17, 1)]) };
        let site = Site { netns: 7, port: 10_007, first };
        read(arm, out, errors, &Heard { site, made: &made, created: Some(1) }).unwrap()
    }

    #[test]
    fn of_state_changes_births_count() {
        let out = "\
SKADDR           PID     COMM       LADDR           LPORT RADDR           RPORT OLDSTATE    -> NEWSTATE    MS
ffff8881068eae40 17      a b        127.0.0.1       60630 127.0.0.1       10007 SYN_SENT    -> ESTABLISHED 0.072
ffff8881068ed340 17      a b        127.0.0.1       60958 127.0.0.1       10007 FIN_WAIT2   -> CLOSE       0.010
ffff8881068ed341 0       swapper/1  127.0.0.1       60959 127.0.0.1       10007 CLOSING     -> CLOSE       0.010
ffff8881068eae40 17      a b        127.0.0.1       10007 127.0.0.1       60958 LAST_ACK    -> CLOSE       0.035
";
        let told =
            told(Arm::Tcpstates, First::Client, out, "lost 17 events on CPU #1\nlost 2 events on CPU #0\n");
        assert_eq!((told.created, told.right, told.lost, told.lines), (Some(2), Some(1), Some(19), Some(5)));
    }

    #[test]
    fn of_lives_those_of_the_right_end_count() {
        let out = "\
PID     COMM             LADDR           LPORT RADDR           RPORT TX_KB  RX_KB  MS
17      python3          127.0.0.1       60982 127.0.0.1       10007 0.00   0.00   0.08
18      python3          127.0.0.1       10007 127.0.0.1       60982 0.00   0.00   0.15
";
        let client = told(Arm::Tcplife, First::Client, out, "");
        assert_eq!((client.created, client.right, client.lost), (Some(1), Some(1), Some(0)));
        let server = told(Arm::Tcplife, First::Server, out, "");
        assert_eq!((server.created, server.right), (Some(1), Some(0)));
    }

    #[test]
    fn counts_of_the_one_liner_add_up() {
        let out = "Attaching 1 probe...\n\n\n@[18, a, b]: 46\n@[17, x]: 2\n";
        let told = told(Arm::Bpftrace, First::Client, out, "");
        assert_eq!((told.created, told.right, told.lost), (Some(48), Some(1), None));
    }

    #[test]
    fn a_childs_time_is_billed_and_its_failure_seen() {
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
        assert!(billed(busy.spawn().unwrap()).unwrap() > 0.0);
        assert!(billed(Command::new("false").spawn().unwrap()).is_err());
    }
}
