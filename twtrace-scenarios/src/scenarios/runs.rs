//! Owns: scenarios about load tests run one after the other: waiting for the ports of the last run, and comparing two of them.
//! Must not know: the harness, the format of a recording.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::books::{self, TIME_WAIT};
use twtrace_kit::command::read;
use twtrace_kit::netns::set_ipv4;

use super::heavy::as_in_real_life;
use crate::nginx::{self, Nginx};
use crate::sandbox::Sandbox;

/// Requests of a run.
const REQUESTS: u64 = 20_011;

/// Where connections come from that end as orphans.
const ORPHANS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn twtrace(sandbox: &Sandbox, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(&sandbox.setup.twtrace);
    command.args(args).stdin(Stdio::null()).output().with_context(|| format!("running twtrace {args:?}"))
}

/// `drain` counts what it is asked to count, gives up when time is up, and returns once few enough are left.
pub(super) fn drained(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for port in 40009..40014 {
        let pair = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
    }
    for (args, status, said) in [
        (&["--timeout", "0s"][..], 1, "5 TIME_WAIT sockets left, at most 0 wanted; the last one expires in "),
        (&["--timeout", "0s", "--below", "4"], 1, "5 TIME_WAIT sockets left, at most 4 wanted"),
        (&["--below", "5"], 0, "5 TIME_WAIT sockets left"),
        (&["--timeout", "0s", "--tuple", "127.0.0.1,127.0.0.1,10007"], 1, "5 TIME_WAIT sockets left"),
        (&["--tuple", "127.0.0.2,127.0.0.1,10007"], 0, "0 TIME_WAIT sockets left"),
        (&["--dport", "10009"], 0, "0 TIME_WAIT sockets left"),
        (&["--sport", "40011", "--timeout", "0s"], 1, "1 TIME_WAIT socket left"),
        (&["--pid", "7"], 2, "--pid"),
        (&["--tuple", "nonsense"], 2, "nonsense"),
    ] {
        let output = twtrace(sandbox, &[&["drain"], args].concat())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(status) || !stderr.contains(said) || !output.stdout.is_empty() {
            sandbox.fail(format!("drain {args:?}: {}, stderr {stderr:?}", output.status));
        }
    }
    // Mini-sockets of another tuple do not live for a minute.
    set_ipv4("tcp_fin_timeout", "2")?;
    let mut pairs = Vec::new();
    for port in 40009..40012 {
        let pair = sandbox.pair_from((ORPHANS, port), &client, &listener)?;
        sandbox.half_close(&pair.client)?;
        pairs.push(pair);
    }
    let output = twtrace(sandbox, &["drain", "--tuple", "127.0.0.3,127.0.0.1,10007"])?;
    ensure!(output.status.success(), "drain: {}", String::from_utf8_lossy(&output.stderr));
    let left = books::rows("self")?.iter().filter(|row| row.time_wait && row.local.ip() == ORPHANS).count();
    ensure!(left == 0, "drain was done with {left} sockets left");
    pairs.iter().try_for_each(|pair| pair.server.close())?;
    sandbox.created_untold(8);
    sandbox.ended_untold(3);
    Ok(())
}

/// A recorded run of `ab`, and what the kernel counted meanwhile.
struct Run {
    file: PathBuf,
    created: u64,
}

fn run(sandbox: &Sandbox, dir: &Path, name: &str, keep_alive: bool) -> Result<Run> {
    let file = dir.join(name);
    let before = books::read("self")?;
    let mut command = Command::new(&sandbox.setup.twtrace);
    command.args(["record", "--netns", "self", "--backend", &sandbox.setup.backend, "-o"]).arg(&file);
    command.args(["--", "ab", "-q", "-r", "-c", "20", "-n", &REQUESTS.to_string()]);
    command.args(keep_alive.then_some("-k")).arg(nginx::URL);
    read(&mut command)?;
    let after = books::read("self")?;
    let created = (after.tw_counter + after.tw_killed) - (before.tw_counter + before.tw_killed);
    Ok(Run { file, created })
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Result<Value> {
    let output = twtrace(sandbox, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{args:?}: {}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}"))
}

/// nginx under `ab`, once without keep-alive and once with it: `diff` tells the difference that the kernel's counters tell, and
/// conditions on it hold or not.
pub(super) fn keep_alive(sandbox: &mut Sandbox) -> Result<()> {
    as_in_real_life()?;
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let nginx = Nginx::start(65)?;
    let old = run(sandbox, dir.path(), "old.twt", false)?;
    let new = run(sandbox, dir.path(), "new.twt", true)?;
    nginx.end()?;
    sandbox.balanced();
    ensure!(old.created >= REQUESTS && new.created < REQUESTS / 10, "{} and {}", old.created, new.created);
    let (before, after) = (old.file.to_str().context("a path")?, new.file.to_str().context("a path")?);
    for (file, want) in [(before, old.created), (after, new.created)] {
        let report = json(sandbox, &["report", "--json", file])?;
        let (created, complete) = (report["created"].as_u64(), report["complete"].as_bool());
        if (created, complete) != (Some(want), Some(true)) || report["lost"]["count"].as_u64() != Some(0) {
            let lost = &report["lost"];
            sandbox.fail(format!(
                "{file}: created {created:?}, the kernel {want}; complete {complete:?}, lost {lost}"
            ));
        }
    }
    let diff = json(sandbox, &["diff", "--json", before, after])?;
    let total = &diff["totals"]["created"];
    let told = (total["old"].as_f64(), total["new"].as_f64());
    let want = (Some(old.created as f64), Some(new.created as f64));
    if told != want {
        sandbox.fail(format!("diff says {told:?}, the kernel {want:?}"));
    }
    gates(sandbox, before, after)?;
    let page = dir.path().join("page.html");
    let output = twtrace(sandbox, &["report", before, "--html", page.to_str().context("a path")?])?;
    let text = fs::read_to_string(&page)?;
    ensure!(
        output.status.success() && text.contains(&old.created.to_string()),
        "the page lacks what was created"
    );
    Ok(())
}

fn gates(sandbox: &mut Sandbox, before: &str, after: &str) -> Result<()> {
    for (condition, status) in
        [("created < -50%", 1), ("created/s > +10%", 0), ("lost > 0", 0), ("created/s sideways", 2)]
    {
        let output = twtrace(sandbox, &["diff", before, after, "--fail-if", condition])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(status) || (status != 0 && !stderr.contains(condition)) {
            sandbox.fail(format!("--fail-if {condition:?}: {}, stderr {stderr:?}", output.status));
        }
    }
    Ok(())
}
