//! Owns: scenarios in which the doctor runs where it cannot see everything: it must still be right, and say what it does not see.
//! Must not know: the harness.

use anyhow::{Result, ensure};
use twtrace_kit::actor::Raw;
use twtrace_kit::netns::set_ipv4;

use super::diagnosis::Diagnosis;
use super::exam::{diagnose_with, examine_with};
use super::load::{Cast, FAILURES, First, HERE, cast};
use super::server::{gone, refused};
use crate::around;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

const ARGS: [&str; 5] = ["--json", "--netns", "self", "--duration", "180s"];

/// In a PID namespace of its own, with a /proc that knows other pids: a process that has TIME_WAIT sockets and open ones is one process, by
/// the machine's pid, and that it cannot be looked up is said.
pub(in crate::scenarios) fn pid_namespace(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, 60)?;
    let listener = cast.serve(HERE, 10007)?;
    let inside = diagnose_with(
        sandbox,
        |setup| around::in_pid_namespace(|| Tracer::start_around(setup, "doctor", &ARGS, around::fresh_proc)),
        |_| fill(&cast, &listener),
    )?;
    let finding = inside.only_beside("ports_exhausted", "not_seen")?;
    finding.is("critical")?.blames("client", cast.client.pid())?.names_once("client")?;
    finding
        .shows("of those, in TIME_WAIT", 55)?
        .shows("of those, ESTABLISHED", 5)?
        .shows("connect() failures", FAILURES as u64)?;
    inside.limits("processes")?;
    // Where pids are the machine's, nothing is hidden, and the process is the same one.
    let other = cast.serve(HERE, 10009)?;
    let (outside, ()) = examine_with(sandbox, &["--dport", "10009"], |_| fill(&cast, &other))?;
    outside.does_not_limit("processes")?;
    let finding = outside.has("ports_exhausted")?;
    finding.is("critical")?.blames("client", cast.client.pid())?.names_once("client").map(drop)
}

/// All 60 ports, five of them on connections that stay open; then failures. (A recording does not have those: so few are within what may be unaccounted for.)
fn fill(cast: &Cast, listener: &Raw) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(cast.open(listener)?.map_err(anyhow::Error::msg)?);
    }
    let made = cast.visit_until_full(std::slice::from_ref(listener), 1)?;
    ensure!(made == 55, "{made} of 55 ports could be used");
    Ok(())
}

/// tracefs is mounted nowhere: a server that cannot bind is found all the same. Where the hooks that would tell are not attached, it is not
/// found, that is said, and nothing is said to be well.
pub(in crate::scenarios) fn tracefs_missing(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let at = gone(sandbox, &client, listener)?;
    let server = sandbox.actor("new-server")?;
    let refused = |_: &mut Sandbox| refused(&server, at);
    for around in [around::without_tracefs, around::fresh_sysfs] {
        let start = |setup: &_| Tracer::start_around(setup, "doctor", &ARGS, around);
        let diagnosis = diagnose_with(sandbox, start, refused)?;
        let finding = diagnosis.only("server_cannot_bind")?;
        finding
            .is("critical")?
            .blames("new-server", server.pid())?
            .shows("bind() failures on this port", 7)?;
        diagnosis.does_not_limit("bind_failed")?;
    }
    let blind = [&ARGS[..], &["--no-syscalls"]].concat();
    let start = |setup: &_| Tracer::start_command(setup, "doctor", &blind);
    let diagnosis = diagnose_with(sandbox, start, refused)?;
    // Where functions can be hooked, no system call needs to be.
    if diagnosis.does_not_limit("bind_failed").is_ok() {
        return diagnosis.only("server_cannot_bind").map(drop);
    }
    is_blind(&diagnosis)?;
    // With every hook in its place and nothing that fails, all is well, and nothing is unseen.
    let cast = cast(sandbox, 6000)?;
    let calm = cast.serve(HERE, 10009)?;
    let (quiet, ()) =
        examine_with(sandbox, &["--dport", "10009"], |_| cast.visit_often(&calm, 7, First::Client))?;
    quiet.has("nothing_wrong")?.is("fine")?;
    quiet.has_no("not_seen")?.does_not_limit("bind_failed").map(drop)
}

fn is_blind(diagnosis: &Diagnosis) -> Result<()> {
    diagnosis.has("not_seen")?.is("notice")?;
    diagnosis.has_no("nothing_wrong")?.has_no("server_cannot_bind")?.limits("bind_failed").map(drop)
}
