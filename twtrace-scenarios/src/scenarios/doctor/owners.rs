//! Owns: scenarios in which one program is asked about, and others have their part in it.
//! Must not know: the harness.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::exam::examine_with;
use super::load::{Cast, First, HERE, cast};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// What a filter hides was seen all the same.
const UNSEEN: &str = "a process that twtrace did not see";
/// Ports of the pool: 37 of another program's, and the rest of the client's.
const PORTS: u16 = 60;
const OTHERS: usize = 37;

/// Two programs share a pool of ports. Whoever asks about one is told of both, live and of a recording; who has no part in it, nothing. And a
/// live view that shows one alone knows how full the pool is.
pub(in crate::scenarios) fn one_of_two(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let cast = cast(sandbox, PORTS)?;
    let other = Cast { client: sandbox.actor("other")?, server: cast.server.clone() };
    let listener = cast.serve(HERE, 10007)?;
    let pictures = ["--json", "--interval", "1s", "--netns", "self", "--comm", "client"];
    let view = Tracer::start_command(&sandbox.setup, "", &pictures)?;
    let (diagnosis, made) = examine_with(sandbox, &["--comm", "client"], |_| {
        other.visit_often(&listener, OTHERS, First::Client)?;
        cast.visit_until_full(std::slice::from_ref(&listener), 1)
    })?;
    ensure!(made + OTHERS == usize::from(PORTS), "{made} and {OTHERS} of {PORTS} ports could be used");
    let finding = diagnosis.only("ports_exhausted")?;
    finding.names_once("client")?.names_once("other")?.says("other (pid")?.does_not_say(UNSEEN)?;
    finding.shows("of those, in TIME_WAIT", PORTS.into())?;
    let full = || Ok(pool(&view.so_far()?).is_some_and(|pool| pool["ports_in_use"] == PORTS));
    until_true("a picture of a pool that others fill", PATIENCE, full)?;
    let told = view.so_far()?;
    let pool = pool(&told).context("there is no picture")?;
    ensure!(pool["live"] == made && pool["ports"] == PORTS, "{pool}");
    let what = picture(&told).map(|picture| picture["findings"].to_string()).unwrap_or_default();
    ensure!(what.contains(&format!("{UNSEEN}, or that --comm client leaves out")), "{what}");
    view.stop(Signal::SIGINT)?;
    sandbox.balanced();
    let listener = cast.serve(HERE, 10009)?;
    let (diagnosis, made) = examine_with(sandbox, &["--comm", "server", "--dport", "10009"], |_| {
        cast.visit_until_full(std::slice::from_ref(&listener), 1)
    })?;
    ensure!(made == usize::from(PORTS), "{made} of {PORTS} ports could be used");
    ensure!(diagnosis.of_others() == 1, "others have 1 finding: {}", diagnosis.said());
    diagnosis.only("nothing_wrong").map(drop)
}

/// The last whole picture.
fn picture(told: &str) -> Option<Value> {
    let whole = &told[..=told.rfind('\n')?];
    serde_json::from_str(whole.lines().last()?).ok()
}

/// The pool in it.
fn pool(told: &str) -> Option<Value> {
    Some(picture(told)?["tuples"].get(0)?.clone())
}
