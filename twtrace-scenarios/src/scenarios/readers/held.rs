//! Owns: scenarios about a reader that has stopped while twtrace has something whole to hand over: a recording, or a number of events.
//! Must not know: the harness, a recording's format: `twtrace export` reads it.

use std::ffi::OsStr;
use std::fs;
use std::io::{PipeReader, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::kernel;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{Numbers, Traffic, in_time, read_lines, stop_in_time, until_over, usual_end};
use crate::hung::disk::Disk;
use crate::sandbox::Sandbox;
use crate::tracer::{Told, Tracer};

/// What a recording of so many connections takes, a pipe has no room for.
const MANY: u64 = 10_007;
/// Connections of which a pipe has room for what they take.
const FIRST: u64 = 97;
/// Events that a pipe has no room for, and twtrace has.
const COUNT: u64 = 1009;

/// What is said of a reader and of a disk, before the number of events that are not written.
const NOT_READ: &str = "stdout: it is not read fast enough: ";
const NOT_TAKEN: &str = ": it does not take fast enough what is written to it: ";

/// Bytes that lie in a pipe.
fn waiting(pipe: &PipeReader) -> Result<i32> {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes an int to where it is told, and there is one.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    ensure!(done == 0, "FIONREAD: {}", std::io::Error::last_os_error());
    Ok(bytes)
}

/// What there is of a recording in a pipe; it has no end.
fn read_pipe(sandbox: &Sandbox, mut pipe: PipeReader) -> Result<Numbers> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = dir.path().join("cut.twt");
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    fs::write(&file, bytes)?;
    read_cut_off(sandbox, &file)
}

/// What there is of a recording that has no end.
fn read_cut_off(sandbox: &Sandbox, file: &Path) -> Result<Numbers> {
    let args = ["--to", "jsonl", "-o", "-"];
    let output = Command::new(&sandbox.setup.twtrace).arg("export").arg(file).args(args).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("its end is missing"), "export: {stderr}");
    read_lines(&String::from_utf8(output.stdout)?)
}

/// How many events stderr says are not in the recording.
fn unwritten(told: &Told, said: &str) -> Result<u64> {
    let rest = told.stderr.split_once(said).with_context(|| format!("no `{said}` in {:?}", told.stderr))?.1;
    Ok(rest.split(' ').next().unwrap_or_default().parse()?)
}

/// A recording into a pipe that nobody reads: a signal and a duration end it in time, what lies in the pipe can be read, and what does not is
/// counted.
pub(in super::super) fn recording(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let ways = [Some(Signal::SIGTERM), None];
    // What fills a pipe takes an emulated machine half a minute.
    let ways = if kernel::is_emulated() { &ways[..1] } else { &ways[..] };
    for by in ways.iter().copied() {
        let (pipe, stdout) = std::io::pipe()?;
        let args = ["-o", "-", "--netns", "self", "--duration", "4s"].map(OsStr::new);
        let args = &args[..if by.is_some() { 4 } else { 6 }];
        let ends = (Some(Stdio::from(OwnedFd::from(stdout))), None);
        let mut tracer = Tracer::launch_changed(&sandbox.setup, "record", args, ends, |_| ())?;
        tracer.ready()?;
        let began = Instant::now();
        let mut made = 0;
        let told = match by {
            Some(by) => {
                made += Traffic::start(FIRST)?.finish()?;
                let head = waiting(&pipe)?;
                until_true("the first events to be written", PATIENCE, || Ok(waiting(&pipe)? > head))?;
                made += Traffic::start(MANY)?.finish()?;
                stop_in_time(tracer, by, usual)?
            }
            None => {
                let (told, while_traced) = until_over(tracer, (began, usual), 4)?;
                made += while_traced;
                told
            }
        };
        ensure!(told.status.code() == Some(1), "{by:?}: {}: {}", told.status, told.stderr);
        let (read, unwritten) = (read_pipe(sandbox, pipe)?, unwritten(&told, NOT_READ)?);
        let seen = read.created;
        ensure!(
            unwritten != 0 && seen <= made,
            "{by:?}: {seen} were read of {made}, {unwritten} not written"
        );
        // Later, the sockets of the first time alone fill the pipe.
        if by.is_some() {
            let all = read.sockets() + unwritten;
            ensure!(
                seen >= FIRST && all >= made,
                "{by:?}: {made} connections, {seen} read, {all} with others"
            );
        }
    }
    sandbox.balanced();
    Ok(())
}

/// A recording into a file whose disk hangs: a signal and a duration end it in time, what was written before can be read, and what was not is counted.
pub(in super::super) fn disk(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    for by in [Some(Signal::SIGTERM), None] {
        let disk = Disk::mount()?;
        let file = disk.file();
        let words = ["--netns", "self", "--duration", "4s"].map(OsStr::new);
        let words = if by.is_some() { &words[..2] } else { &words[..] };
        let args = [&["-o".as_ref(), file.as_os_str()], words].concat();
        let mut tracer = Tracer::launch_changed(&sandbox.setup, "record", &args, (None, None), |_| ())?;
        tracer.ready()?;
        let began = Instant::now();
        let mut made = Traffic::start(FIRST)?.finish()?;
        until_true("the first events to be written", PATIENCE, || {
            Ok(read_cut_off(sandbox, &disk.written())?.created != 0)
        })?;
        disk.hang()?;
        made += Traffic::start(FIRST)?.finish()?;
        let told = match by {
            Some(by) => stop_in_time(tracer, by, usual)?,
            None => {
                let told = tracer.finish()?;
                in_time(began, usual + Duration::from_secs(4), "--duration 4s")?;
                told
            }
        };
        ensure!(told.status.code() == Some(1), "{by:?}: {}: {}", told.status, told.stderr);
        ensure!(told.stderr.contains(&file.display().to_string()), "{by:?}: {}", told.stderr);
        let unwritten = unwritten(&told, NOT_TAKEN)?;
        let read = read_cut_off(sandbox, &disk.written())?;
        let all = read.sockets() + unwritten;
        ensure!(
            unwritten != 0 && read.created != 0 && all >= made,
            "{by:?}: {made} connections, {} read, {unwritten} not written",
            read.created
        );
    }
    sandbox.balanced();
    Ok(())
}

/// A number of events for a reader that has stopped: once they are told it is waited for, and no longer than the duration.
pub(in super::super) fn count(sandbox: &mut Sandbox) -> Result<()> {
    let usual = usual_end(sandbox)?;
    let (pipe, stdout) = std::io::pipe()?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let args = ["--json", "--netns", "self", "--count", "1009", "--duration", "4s"];
    let mut tracer = Tracer::launch_into(&sandbox.setup, &args, dir, stdout.into())?;
    tracer.ready()?;
    let began = Instant::now();
    let made = Traffic::start(COUNT + 7)?.finish()?;
    let told = tracer.finish()?;
    in_time(began, usual + Duration::from_secs(4), "--count 1009 --duration 4s")?;
    ensure!(told.status.success() && made > COUNT, "{}: {}", told.status, told.stderr);
    ensure!(told.stderr.contains("(unwritten "), "all of it could be written: {}", told.stderr);
    drop(pipe);
    sandbox.balanced();
    Ok(())
}
