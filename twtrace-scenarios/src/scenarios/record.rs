//! Owns: scenarios about `twtrace record`: what is in the file, whatever becomes of the recording or of its command.
//! Must not know: the harness, the file's format: `twtrace export` reads it.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::wait::{PATIENCE, until_true};

use super::by_client;
use crate::around::own_mounts;
use crate::children::COUNTED;
use crate::expect::{Pattern, TIMEWAIT_MS, either_substate};
use crate::sandbox::Sandbox;
use crate::schema::{Event, parse};
use crate::tracer::{Setup, Told, Tracer, kind, within};

/// nobody.
const NOBODY: u32 = 65534;

/// What a recording reads as.
struct Read {
    events: Vec<Event>,
    stderr: String,
}

impl Read {
    fn lacks_its_end(&self) -> bool {
        self.stderr.contains("its end is missing")
    }
}

fn read(setup: &Setup, file: &Path) -> Result<Read> {
    let output = Command::new(&setup.twtrace)
        .arg("export")
        .arg(file)
        .args(["--to", "jsonl", "-o", "-"])
        .output()
        .context("starting twtrace export")?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "export of {}: {}: {stderr}", file.display(), output.status);
    let events: Result<Vec<Event>> = String::from_utf8(output.stdout)?.lines().map(parse).collect();
    let mut events = events?;
    // What cannot be seen on this machine is told first, as it is live.
    events.retain(|event| kind(event) != "limitation");
    Ok(Read { events, stderr })
}

/// As the harness reads `events --json`, for the judgement.
fn told(read: &Read, status: ExitStatus, stderr: &str) -> Told {
    let lines: Vec<String> = read.events.iter().map(crate::schema::text).collect();
    Told { status, stdout: lines.join("\n"), stderr: stderr.to_owned() }
}

/// Makes `count` TIME_WAITs that are expected to be told.
fn make(sandbox: &mut Sandbox, (client, listener): &(Actor, Raw), count: usize) -> Result<()> {
    for _ in 0..count {
        let pair = sandbox.pair(client, listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, client, "close").opener(client));
    }
    Ok(())
}

/// This program, making connections: see `children`.
fn children(count: u32, exit: u8) -> Result<Vec<String>> {
    let own = std::env::current_exe()?.into_os_string().into_string().ok().context("an odd path")?;
    Ok(vec![own, "make".to_owned(), count.to_string(), exit.to_string()])
}

/// This program, doing nothing until a signal ends it.
fn waits() -> Result<Vec<String>> {
    Ok(vec![children(0, 0)?.swap_remove(0), "wait".to_owned()])
}

fn hatched(sandbox: &Sandbox, count: usize, uid: u32) -> Pattern {
    let pattern = Pattern::new("created", sandbox.netns()).is("role", "client").is("owner_via", "exit");
    let pattern = pattern.is("comm", "twtrace-scenari").is("uid", uid).is("timeout_ms", TIMEWAIT_MS);
    pattern.want("substate", either_substate()).times(count)
}

fn words<'a>(words: &[&'a str], command: &'a [String]) -> Vec<&'a OsStr> {
    let words = words.iter().copied().map(OsStr::new);
    words.chain(command.iter().map(OsStr::new)).collect()
}

fn path(dir: &TempDir, name: &str) -> Result<String> {
    dir.path().join(name).into_os_string().into_string().ok().context("an odd path")
}

/// A command of processes too short-lived to be looked up: under sudo it runs as the calling user, all that its processes own
/// is recorded, nothing else is, and its exit status is handed on.
pub(super) fn command(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, command) = (path(&dir, "command.twt")?, children(97, 3)?);
    let options = ["-o", &file, "--only-command", "--netns", "self", "--"];
    let nobody = NOBODY.to_string();
    let sudo = [("SUDO_UID", nobody.as_str()), ("SUDO_GID", nobody.as_str())];
    let mut tracer = Tracer::record(&sandbox.setup, &words(&options, &command), &sudo)?;
    tracer.ready()?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 7)?;
    let ended = tracer.finish()?;
    let expected = [hatched(sandbox, 97, NOBODY)];
    sandbox.expect(hatched(sandbox, 97, NOBODY));
    sandbox.settle()?;
    ensure!(ended.status.code() == Some(3), "{}: {}", ended.status, ended.stderr);
    let found = fs::metadata(&file)?;
    ensure!((found.uid(), found.gid(), found.mode() & 0o7777) == (NOBODY, NOBODY, 0o600), "{found:?}");
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(!read.lacks_its_end(), "{}", read.stderr);
    sandbox.judge(&told(&read, ExitStatus::default(), &ended.stderr), &expected)
}

/// Without a command, until SIGINT: everything, as `events` tells it.
pub(super) fn everything(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = path(&dir, "everything.twt")?;
    let mut tracer = Tracer::record(&sandbox.setup, &words(&["-o", &file], &[]), &[])?;
    tracer.ready()?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 13)?;
    sandbox.settle()?;
    let ended = tracer.stop(Signal::SIGINT)?;
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(!read.lacks_its_end(), "{}", read.stderr);
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told(&read, ended.status, &ended.stderr), &expected)
}

/// A command that is not there, or is none: the shell's exit statuses, and no file.
pub(super) fn no_such_command(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, plain) = (path(&dir, "none.twt")?, path(&dir, "plain")?);
    fs::write(&plain, "no program\n")?;
    for (command, code) in
        [("/no/such/program", 127), ("no-such-program-anywhere", 127), (plain.as_str(), 126)]
    {
        let ended =
            Tracer::record(&sandbox.setup, &words(&["-o", &file, "--", command], &[]), &[])?.finish()?;
        let named = ended.stderr.contains(command);
        ensure!(ended.status.code() == Some(code) && named, "{command}: {}: {}", ended.status, ended.stderr);
        ensure!(!Path::new(&file).exists(), "{command} left a file");
    }
    Ok(())
}

/// A signal for twtrace alone reaches the command; its end is the recording's end.
pub(super) fn signal_to_command(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = path(&dir, "signal.twt")?;
    let options = ["-o", file.as_str(), "--"];
    let mut tracer = Tracer::record(&sandbox.setup, &words(&options, &waits()?), &[])?;
    tracer.ready()?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 7)?;
    sandbox.settle()?;
    let ended = tracer.stop(Signal::SIGTERM)?;
    ensure!(ended.status.code() == Some(128 + Signal::SIGTERM as i32), "{}: {}", ended.status, ended.stderr);
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(!read.lacks_its_end(), "{}", read.stderr);
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told(&read, ExitStatus::default(), &ended.stderr), &expected)
}

/// Ctrl-C on a terminal reaches the command once, and the recording ends when the command does.
pub(super) fn ctrl_c(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, counted) = (path(&dir, "interrupted.twt")?, path(&dir, "counted")?);
    let terminal = openpty(None, None).context("a terminal")?;
    let own = children(0, 0)?.swap_remove(0);
    let options = ["-o", &file, "--netns", "self", "--", &own, "count", &counted];
    let mut tracer = Tracer::record_on(&sandbox.setup, &words(&options, &[]), terminal.slave)?;
    tracer.ready()?;
    until_true("the command to be ready", PATIENCE, || Ok(Path::new(&counted).exists()))?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 7)?;
    sandbox.settle()?;
    // What the key sends; the terminal makes a signal of it.
    nix::unistd::write(&terminal.master, b"\x03")?;
    let ended = tracer.finish()?;
    ensure!(ended.status.code() == Some(i32::from(COUNTED)), "{}: {}", ended.status, ended.stderr);
    let interrupts = fs::read_to_string(&counted)?;
    ensure!(interrupts == "SIGINT\n", "the command got {interrupts:?}");
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(!read.lacks_its_end(), "{}", read.stderr);
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told(&read, ExitStatus::default(), &ended.stderr), &expected)
}

/// SIGKILL: what was there a second before is there, and the reader says that the end is not.
pub(super) fn killed(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = path(&dir, "killed.twt")?;
    let mut tracer = Tracer::record(&sandbox.setup, &words(&["-o", &file, "--netns", "self"], &[]), &[])?;
    tracer.ready()?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 17)?;
    sandbox.settle()?;
    let setup = sandbox.setup.clone();
    until_true("17 events on disk", PATIENCE, || Ok(read(&setup, Path::new(&file))?.events.len() == 17))?;
    let ended = tracer.stop(Signal::SIGKILL)?;
    ensure!(!ended.status.success(), "SIGKILL did not end it");
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(read.lacks_its_end(), "nothing is said of the end: {}", read.stderr);
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told(&read, ExitStatus::default(), "killed"), &expected)
}

/// A disk that is full: said with the file's name, exit status 1, the command gets to its end, what is complete reads.
pub(super) fn full_disk(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    // Seen by this process and its children only, and gone with them.
    own_mounts().context("a mount namespace")?;
    mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k"))?;
    let file = path(&dir, "full.twt")?;
    let waits = waits()?;
    let options = ["-o", &file, "--netns", "self", "--"];
    let mut tracer = Tracer::record(&sandbox.setup, &words(&options, &waits), &[])?;
    tracer.ready()?;
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 17)?;
    let setup = sandbox.setup.clone();
    until_true("17 events on disk", PATIENCE, || Ok(read(&setup, Path::new(&file))?.events.len() == 17))?;
    fill(&dir.path().join("filler"))?;
    // What is left is a part of a page at most.
    let (server, client) = (sandbox.actor("server")?, sandbox.actor("client")?);
    let listener = server.listen((Ipv4Addr::UNSPECIFIED, 10009))?;
    server.absorb(&listener)?;
    client.churn(10009)?;
    until_true("the disk to be full", PATIENCE, || Ok(tracer.stderr()?.contains("the command goes on")))?;
    client.halt()?;
    server.halt()?;
    // The command is there, and ends as it would without us.
    let ended = tracer.stop(Signal::SIGTERM)?;
    ensure!(ended.status.code() == Some(1), "{}: {}", ended.status, ended.stderr);
    ensure!(ended.stderr.contains("full.twt") && ended.stderr.contains("No space left"), "{}", ended.stderr);
    let read = read(&sandbox.setup, Path::new(&file))?;
    ensure!(read.lacks_its_end(), "nothing is said of the end: {}", read.stderr);
    ensure!(read.events.len() >= 17, "of 17 events from before the disk was full {} read", read.events.len());
    sandbox.balanced();
    Ok(())
}

/// Writes until the disk has no space.
fn fill(file: &Path) -> Result<()> {
    let mut file = fs::File::create(file)?;
    loop {
        match file.write_all(&[0; 1024]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("filling the disk"),
        }
    }
}

/// Files follow each other and read alone; together they hold everything, and only so many are kept.
pub(super) fn rotated(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let file = path(&dir, "long.twt")?;
    let options = ["-o", &file, "--netns", "self", "--rotate-every", "1s"];
    let mut tracer = Tracer::record(&sandbox.setup, &words(&options, &[]), &[])?;
    tracer.ready()?;
    let part = |number: u32| dir.path().join(format!("long.{number}.twt"));
    let cast = sandbox.cast()?;
    make(sandbox, &cast, 7)?;
    until_true("the second file", PATIENCE, || Ok(part(1).exists()))?;
    let before = sandbox.expected().len();
    make(sandbox, &cast, 11)?;
    sandbox.settle()?;
    until_true("the fourth file", PATIENCE, || Ok(part(3).exists()))?;
    let ended = tracer.stop(Signal::SIGINT)?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let mut events = Vec::new();
    for number in 0.. {
        if !part(number).exists() {
            ensure!(number >= 4, "{number} files");
            break;
        }
        let read = read(&sandbox.setup, &part(number))?;
        ensure!(!read.lacks_its_end(), "file {number}: {}", read.stderr);
        ensure!(number != 0 || read.events.len() >= before, "file 0 has {} events", read.events.len());
        events.extend(read.events);
    }
    events.retain(|event| within(event, &[sandbox.netns()]));
    let expected = sandbox.expected().to_vec();
    let all = Read { events, stderr: String::new() };
    sandbox.judge(&told(&all, ended.status, &ended.stderr), &expected)
}
