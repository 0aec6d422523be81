//! Owns: scenarios about strangers that could hold twtrace up: a process whose memory never comes, clients of a trace, a trace that is
//! stopped.
//! Must not know: the harness.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::child::Guarded;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::by_client;
use super::screen::Seat;
use crate::around::TRACES;
use crate::hung::{self, Hung};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// Connections that are made.
const MADE: usize = 13;

/// 0.1 took as long as the file system did.
const SOON: Duration = Duration::from_secs(3);

/// A process whose arguments lie in memory that never comes, and whose memory is locked for just as long, makes connections: all are told with
/// their owner, and a signal ends the trace at once.
pub(super) fn hung_arguments(sandbox: &mut Sandbox) -> Result<()> {
    let (hung, pairs) = hang(sandbox)?;
    let tracer = Tracer::start(&sandbox.setup, &["--json"])?;
    pairs.close(sandbox)?;
    let told = until_true("all to be told", PATIENCE, || {
        Ok(tracer.so_far()?.lines().filter(|line| line.contains("\"created\"")).count() >= MADE)
    });
    ensure!(told.is_ok(), "a process whose memory does not come holds the trace up");
    sandbox.settle()?;
    let began = Instant::now();
    let told = tracer.stop(Signal::SIGTERM)?;
    ensure!(began.elapsed() < SOON, "it took {:?} to end", began.elapsed());
    drop(hung);
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// The same on the screen, which alone shows command lines, and so alone has them read.
pub(super) fn screen_beside_hung_arguments(sandbox: &mut Sandbox) -> Result<()> {
    let (hung, pairs) = hang(sandbox)?;
    let seat = Seat::take(sandbox, (120, 30), &[], &format!("--netns {}", sandbox.netns()))?;
    pairs.close(sandbox)?;
    seat.sees(&["client", &format!("live     {MADE} of")]).context("it holds the screen up")?;
    let began = Instant::now();
    seat.keys(&["q"])?;
    seat.is_restored("q")?;
    ensure!(began.elapsed() < SOON, "the screen took {:?} to end", began.elapsed());
    drop(hung);
    Ok(())
}

/// Connections of such a process.
struct Pairs(Actor, Raw);

fn hang(sandbox: &mut Sandbox) -> Result<(Hung, Pairs)> {
    let hung = Hung::mount()?;
    let (client, listener) = sandbox.cast()?;
    client.hang_arguments(&hung::text(&hung.file())?)?;
    readers_wait(client.pid())?;
    Ok((hung, Pairs(client, listener)))
}

impl Pairs {
    fn close(&self, sandbox: &mut Sandbox) -> Result<()> {
        let Self(client, listener) = self;
        for _ in 0..MADE {
            let pair = sandbox.pair(client, listener)?;
            close_in_order(&pair.client, &pair.server)?;
            sandbox.expect(by_client(&pair.client, client, "close").opener(client));
        }
        Ok(())
    }
}

/// Who reads its arguments waits, so that nothing is proved where the memory cannot be held.
fn readers_wait(pid: u32) -> Result<()> {
    let mut reader = Command::new("cat");
    reader.arg(format!("/proc/{pid}/cmdline")).stdout(Stdio::null());
    let reader = Guarded::spawn(&mut reader)?;
    let stat = format!("/proc/{}/stat", reader.id());
    // Uninterruptible: it waits for the lock of the memory.
    until_true("a reader of its arguments to wait", PATIENCE, || {
        let text = fs::read_to_string(&stat)?;
        ensure!(!text.contains(") Z "), "its arguments can be read");
        Ok(text.contains("(cat) D "))
    })
}

fn list(sandbox: &Sandbox) -> Command {
    let mut command = Command::new(&sandbox.setup.twtrace);
    command.args(["list", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lines with an owner, and what was said besides.
fn named(output: &Output, pid: u32) -> (usize, String) {
    let owner = format!("\"pid\":{pid},");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        stdout.lines().filter(|line| line.contains(&owner)).count(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Many come at the same time, others never read: everybody who asks is told all owners. Of a trace that is stopped it is said, soon.
pub(super) fn many_clients(sandbox: &mut Sandbox) -> Result<()> {
    // Guests have none.
    fs::create_dir_all("/run")?;
    let before: BTreeSet<_> = sockets();
    let tracer = Tracer::start(&sandbox.setup, &["--json"])?;
    let (client, listener) = sandbox.cast()?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    until_true("the trace to know all owners", PATIENCE, || {
        Ok(named(&list(sandbox).output()?, client.pid()).0 == 7)
    })?;
    let ours = sockets().difference(&before).next().cloned().context("the trace has no socket")?;
    let silent: Vec<UnixStream> = (0..101).map(|_| UnixStream::connect(&ours)).collect::<Result<_, _>>()?;
    let clients: Vec<_> = (0..17).map(|_| list(sandbox).spawn()).collect::<Result<_, _>>()?;
    for asker in clients {
        let (count, notes) = named(&asker.wait_with_output()?, client.pid());
        ensure!(count == 7, "one of many was told {count} owners, and: {notes}");
    }
    drop(silent);
    tracer.signal(Signal::SIGSTOP)?;
    let began = Instant::now();
    let (count, notes) = named(&list(sandbox).output()?, client.pid());
    let took = began.elapsed();
    tracer.signal(Signal::SIGCONT)?;
    ensure!(count == 0 && notes.contains("is stopped") && notes.contains("kill -CONT"), "{count}: {notes}");
    ensure!(took < SOON, "beside a stopped trace list took {took:?}");
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// Where traces listen now.
fn sockets() -> BTreeSet<std::path::PathBuf> {
    fs::read_dir(TRACES).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
