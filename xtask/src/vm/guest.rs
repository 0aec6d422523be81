//! One guest from start to end: boot it under qemu, follow its console, keep the log, end it when its time is up.
//!
//! Owns: the qemu process. Must not know: what the lines on the console mean (`console` does).

use super::console::Console;
use super::kernels::Kernel;
use super::states::{PLAIN, State};
use crate::arch::Arch;
use crate::scenarios::Case;
use crate::{project, sh};
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a guest is to run, and for how long it may.
pub(super) struct Plan {
    pub(super) state: &'static State,
    /// Further parameters of the kernel.
    pub(super) append: String,
    pub(super) backends: Vec<String>,
    pub(super) scenarios: Vec<String>,
    /// Its turn where scenarios are dealt out to kernels; `None`: it plays all of them.
    pub(super) deal: Option<usize>,
    pub(super) deadline: Duration,
}

/// A guest that has ended.
pub(crate) struct Guest {
    pub(crate) kernel: Kernel,
    pub(super) console: Console,
    pub(crate) log: PathBuf,
    pub(crate) took: Duration,
}

/// How a guest is booted.
pub(super) struct Boot<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) archive: &'a [u8],
    /// Words of the kernel's command line, behind those that every guest has.
    pub(super) words: String,
    /// What the machine is like, for qemu.
    pub(super) machine: &'a [&'a str],
    /// The log's name is the kernel's version and this.
    pub(super) suffix: &'a str,
    pub(super) deadline: Duration,
    /// Lines of the console that are shown as they come.
    pub(super) shown: fn(&str) -> bool,
}

/// One thread for both CPUs: with a thread each, a CPU was seen to run a breakpoint that the other had already taken out of the
/// code again, and the kernel (which patches itself so) died of it. Guests run side by side anyway.
/// Some scenarios start ten traces at once, whose programs the kernel then checks side by side: in 1 GB it ran out of memory.
const MACHINE: [&str; 6] = ["-accel", "tcg,thread=single", "-m", "2048", "-smp", "2"];

/// Boots a kernel for scenarios and returns when the guest has ended, by itself or by its deadline.
///
/// # Errors
/// Where qemu cannot be started or the log cannot be written.
pub(super) fn run(kernel: &Kernel, archive: &[u8], plan: &Plan) -> Result<Guest> {
    let started = Instant::now();
    let deal = plan.deal.map_or_else(String::new, |kernel| format!("twtrace.deal={kernel}"));
    let words = format!(
        "twtrace.label={} twtrace.backends={} twtrace.scenarios={} twtrace.state={} {deal} {} {}",
        kernel.label,
        plan.backends.join(","),
        plan.scenarios.join(","),
        plan.state.made.join(","),
        plan.state.parameters,
        plan.append
    );
    let shown = |line: &str| {
        Case::parse(line).is_some() || line.starts_with("again ") || line.starts_with("@@guest begin ")
    };
    let suffix = if plan.state.name == PLAIN { String::new() } else { format!("-{}", plan.state.name) };
    let boot =
        Boot { kernel, archive, words, machine: &MACHINE, suffix: &suffix, deadline: plan.deadline, shown };
    let (text, log) = boot.run()?;
    Ok(Guest { kernel: kernel.clone(), console: Console::read(&text), log, took: started.elapsed() })
}

impl Boot<'_> {
    /// Boots it, and returns what it said on its console, and where that is kept.
    ///
    /// # Errors
    /// Where qemu cannot be started or the log cannot be written.
    pub(super) fn run(&self) -> Result<(String, PathBuf)> {
        let dir = project::target_dir().join("vm/logs");
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let initrd = tempfile::Builder::new().prefix("initrd-").tempfile_in(&dir)?;
        std::fs::write(initrd.path(), self.archive)?;
        let mut command = self.qemu();
        command.arg("-initrd").arg(initrd.path());
        let arch = match self.kernel.arch {
            Arch::Amd64 => "",
            Arch::Arm64 => "-arm64",
        };
        let log = dir.join(format!("{}{arch}{}.log", self.kernel.version, self.suffix));
        let deadline = Instant::now() + self.deadline;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = sh::guarded(&mut command)?;
        let (mut text, in_time) = self.follow(&mut child, &log, deadline)?;
        if !in_time {
            // Text, and not a flag, so that the log that is kept says it as well.
            text += &format!("\n@@guest error was ended after {} s, its deadline\n", self.deadline.as_secs());
        }
        std::fs::write(&log, &text).with_context(|| log.display().to_string())?;
        Ok((text, log))
    }

    fn qemu(&self) -> Command {
        let mut command = Command::new(self.kernel.arch.qemu());
        // `max` has pointer authentication, which on arm64 is most of the emulation's time by qemu's own, proper algorithm.
        let cpu: &[&str] = match self.kernel.arch {
            Arch::Amd64 => &["-cpu", "max"],
            Arch::Arm64 => &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        };
        command.args(cpu).args(self.machine);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        command.arg("-kernel").arg(&self.kernel.image);
        let console = match self.kernel.arch {
            Arch::Amd64 => "ttyS0 no_timer_check",
            Arch::Arm64 => "ttyAMA0",
        };
        // On a busy machine the emulated timer's interrupts come too late for the kernel's check of them, which panics then
        // (`check_timer`, arch/x86/kernel/apic/io_apic.c).
        let words = format!("console={console} quiet panic=-1 oops=panic {}", self.words);
        command.arg("-append").arg(words);
        command
    }

    /// Collects the console's text until it ends (`true`) or the deadline is there (`false`).
    fn follow(&self, child: &mut Child, log: &std::path::Path, deadline: Instant) -> Result<(String, bool)> {
        let console = child.stdout.take().context("qemu's console")?;
        let mut kept = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n') {
                // A console that cannot be read any more has ended, as has a receiver that is gone.
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut text = String::new();
        loop {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    kept.write_all(&line)?;
                    kept.write_all(b"\n")?;
                    let line = String::from_utf8_lossy(&line);
                    if (self.shown)(&line) {
                        println!("{:>5} | {}", self.kernel.label, line.trim_end().escape_debug());
                    }
                    text += &line;
                    text.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return Ok((text, true)),
                Err(RecvTimeoutError::Timeout) => return Ok((text, false)),
            }
        }
    }
}
