//! Owns: scenarios about `twtrace list`: it shows what `ss` shows, and whose a socket is where a trace or a recording knows.
//! Must not know: the harness.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::child::Guarded;
use twtrace_kit::netns::{inode, set_ipv4};
use twtrace_kit::wait::{PATIENCE, until, until_true};

use crate::sandbox::Sandbox;
use crate::sockets::Crowd;
use crate::ss;
use crate::tracer::Tracer;

/// Ephemeral ports, all of them for connections of these scenarios.
const PORTS: &str = "40000 40999";

fn list(sandbox: &Sandbox, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(&sandbox.setup.twtrace);
    command.arg("list").args(args).stdin(Stdio::null()).output().context("running twtrace list")
}

/// As [`list`], where it must end with 0.
fn listed(sandbox: &Sandbox, args: &[&str]) -> Result<String> {
    let output = list(sandbox, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "list {args:?}: {}: {stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn objects(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// The same lines as `ss`, whatever is filtered: IPv4, IPv6, IPv4 in IPv6 sockets of either end, bound to an interface, and
/// mini-sockets in FIN_WAIT2.
pub(super) fn equals_ss(sandbox: &mut Sandbox) -> Result<()> {
    let crowd = crowd(sandbox)?;
    let is_v4 = |address: &str| !address.starts_with('[') || address.starts_with("[::ffff:");
    type Keeps<'a> = &'a dyn Fn(&str, &str) -> bool;
    let filters: [(&[&str], Keeps<'_>); 10] = [
        (&[], &|_, _| true),
        (&["--netns", "self"], &|_, _| true),
        (&["-4"], &|local, _| is_v4(local)),
        (&["-6"], &|local, _| !is_v4(local)),
        (&["--sport", "10009"], &|local, _| local.ends_with(":10009")),
        (&["--dport", "10007,10011"], &|_, peer| peer.ends_with(":10007") || peer.ends_with(":10011")),
        (&["--port", "10009"], &|local, peer| local.ends_with(":10009") || peer.ends_with(":10009")),
        (&["--peer", "127.0.0.2"], &|_, peer| peer.contains("127.0.0.2")),
        (&["--peer", "::1/128"], &|_, peer| peer.starts_with("[::1]")),
        (&["--role", "server"], &|local, _| local.ends_with(":10009")),
    ];
    for (args, keeps) in filters {
        let (mut want, text) = beside_ss(sandbox, args)?;
        want.retain(|(_, local, peer)| keeps(local, peer));
        let got = table(&text, args.first() == Some(&"--netns"))?;
        ensure!(!want.is_empty(), "{args:?}: nothing is left to compare");
        let (more, less): (Vec<_>, Vec<_>) =
            (got.difference(&want).collect(), want.difference(&got).collect());
        if !more.is_empty() || !less.is_empty() || rows(&text).count() != want.len() + 1 {
            sandbox.fail(format!("{args:?}: list has also {more:?}, ss has also {less:?}:\n{text}"));
        }
    }
    same_numbers(sandbox)?;
    told_elsewhere(sandbox, crowd.time_waits)?;
    sandbox.created_untold(crowd.disperse()?);
    Ok(())
}

fn crowd(sandbox: &mut Sandbox) -> Result<Crowd> {
    set_ipv4("ip_local_port_range", PORTS)?;
    // No port is taken a second time.
    set_ipv4("tcp_tw_reuse", "0")?;
    let crowd = Crowd::gather()?;
    sandbox.created_untold(crowd.time_waits);
    sandbox.wait_live(crowd.time_waits as u64)?;
    Ok(crowd)
}

/// What `ss` shows, and what `list` shows while `ss` shows the same before and after.
fn beside_ss(sandbox: &Sandbox, args: &[&str]) -> Result<(BTreeSet<ss::Line>, String)> {
    until("the same sockets before and after", PATIENCE, || {
        let before = ss::time_wait_lines()?;
        let text = listed(sandbox, args)?;
        Ok((ss::time_wait_lines()? == before).then_some((before, text)))
    })
}

/// Substate, local end, remote end of each line.
fn table(text: &str, with_netns: bool) -> Result<BTreeSet<ss::Line>> {
    let line = |line: &str| {
        let mut columns = line.split_whitespace().skip(usize::from(with_netns));
        let mut next =
            || columns.next().map(str::to_owned).with_context(|| format!("a short line: {line:?}"));
        let (substate, _left) = (next()?, next()?);
        Ok((substate, next()?, next()?))
    };
    rows(text).skip(1).map(line).collect()
}

/// What is a row, or stands above them: what else is said begins with `#`.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// From a namespace with no sockets, `list` says how many this one holds.
fn told_elsewhere(sandbox: &Sandbox, time_waits: usize) -> Result<()> {
    let own = inode()?;
    let mut command = Command::new(&sandbox.setup.twtrace);
    // SAFETY: one system call between fork and exec; nothing is allocated, no lock is taken.
    unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)) };
    let output = command.arg("list").stdin(Stdio::null()).output().context("running twtrace list")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let is_told = last.starts_with("# other namespaces: ") && last.contains(&format!("{own} {time_waits}"));
    ensure!(is_told && rows(&text).count() == 1, "{own} holds {time_waits}: {text}");
    Ok(())
}

/// Cookies and times left are those of `ss`.
fn same_numbers(sandbox: &mut Sandbox) -> Result<()> {
    let key = |local: SocketAddr, peer: SocketAddr| format!("{local} > {peer}");
    let of_ss = |shown: &[ss::Shown]| -> BTreeMap<String, ss::Shown> {
        shown.iter().map(|shown| (key(shown.local, shown.peer), *shown)).collect()
    };
    let before = of_ss(&ss::time_waits()?.context("no ss")?);
    let sockets = objects(&listed(sandbox, &["--json"])?)?;
    let after = of_ss(&ss::time_waits()?.context("no ss")?);
    ensure!(sockets.len() == before.len(), "{} objects, ss shows {}", sockets.len(), before.len());
    for socket in &sockets {
        let end = |address: &str, port: &str| -> Result<SocketAddr> {
            let address: IpAddr = socket[address].as_str().context("no address")?.parse()?;
            Ok(SocketAddr::new(address, socket[port].as_u64().context("no port")?.try_into()?))
        };
        let key = key(end("saddr", "sport")?, end("daddr", "dport")?);
        let (Some(before), Some(after)) = (before.get(&key), after.get(&key)) else {
            sandbox.fail(format!("ss does not show {socket}"));
            continue;
        };
        if ss::has_tcp_diag() && socket["cookie"].as_u64() != after.cookie {
            sandbox.fail(format!("ss has the cookie {:?} of {socket}", after.cookie));
        }
        // ss cuts off what is less than a second.
        let left_ms = socket["expires_ms"].as_u64().context("no expires_ms")?;
        if left_ms > before.left_ms + 1000 || left_ms < after.left_ms {
            sandbox.fail(format!("ss says {} to {} ms left of {socket}", after.left_ms, before.left_ms));
        }
    }
    Ok(())
}

/// Sockets counted per state, as `ss -tan | awk '{ n[$1]++ }'` and `ss -s` count them, and ports left of the one pool.
pub(super) fn summary_equals_ss(sandbox: &mut Sandbox) -> Result<()> {
    let crowd = crowd(sandbox)?;
    let (states, summary, text) = until("the same counts before and after", PATIENCE, || {
        let before = ss::states()?;
        let summary: Value = serde_json::from_str(&listed(sandbox, &["--summary", "--json"])?)?;
        let text = listed(sandbox, &["--summary"])?;
        Ok((ss::states()? == before).then_some((before, summary, text)))
    })?;
    let told: BTreeMap<String, u64> = summary["states"]
        .as_object()
        .context("no states")?
        .iter()
        .filter_map(|(name, count)| Some((name.clone(), count.as_u64().filter(|count| *count != 0)?)))
        .collect();
    ensure!(told == states, "list counts {told:?}, ss {states:?}");
    for (name, count) in &states {
        let is_said =
            text.lines().any(|line| line.split_whitespace().eq([name.as_str(), &count.to_string()]));
        ensure!(is_said, "{name} {count} is not in\n{text}");
    }
    let waiting = ss::time_waits_in_summary()?;
    ensure!(summary["time_wait"] == waiting, "ss -s counts {waiting} timewait: {summary}");
    let pools = summary["tuples"].as_array().context("no tuples")?;
    let of = |dport: u16| move |pool: &&Value| pool["daddr"] == "127.0.0.1" && pool["dport"] == dport;
    let pool = pools.iter().find(of(10007)).with_context(|| format!("no pool in {summary}"))?;
    let numbers = ["ports_in_use", "ports_in_time_wait", "ports", "ports_left"].map(|key| &pool[key]);
    let (in_use, waiting) = (crowd.pool_in_use, crowd.pool_in_time_wait);
    let want = [in_use, waiting, 1000, 1000 - in_use].map(Value::from);
    ensure!(numbers == want.each_ref(), "wanted {want:?} of {pool}");
    ensure!(summary["slab_bytes"].as_u64() > Some(0), "TIME_WAIT takes no memory: {summary}");
    sandbox.created_untold(crowd.disperse()?);
    Ok(())
}

/// Owners are known from a running trace, and after it from its recording; and from nobody else.
pub(super) fn knows_owners(sandbox: &mut Sandbox) -> Result<()> {
    // Guests have none.
    fs::create_dir_all("/run")?;
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    make(sandbox, (&client, &listener), 3, 0)?;
    let tracer = Tracer::start(&sandbox.setup, &["--json"])?;
    make(sandbox, (&client, &listener), 7, 5)?;
    let (pid_of_client, pid_of_server) = (client.pid().to_string(), server.pid().to_string());
    until_true("the trace to know all owners", PATIENCE, || {
        Ok(owners(&listed(sandbox, &["--json"])?)?
            == [(None, 3), (Some(client.pid()), 7), (Some(server.pid()), 5)].into())
    })?;
    for (args, count) in [
        (["--comm", "client"], 7),
        (["--pid", &pid_of_server], 5),
        (["--comm", "nobody"], 0),
        (["--role", "client"], 7),
    ] {
        let text = listed(sandbox, &args)?;
        ensure!(rows(&text).count() == 1 + count, "{args:?}: not {count} sockets in\n{text}");
    }
    let text = listed(sandbox, &["--pid", &pid_of_client])?;
    let named = text.lines().filter(|line| line.ends_with(&format!(" {pid_of_client}/client"))).count();
    ensure!(named == 7, "not 7 sockets of {pid_of_client}/client in\n{text}");
    tracer.stop(Signal::SIGINT)?.events()?;
    let refused = list(sandbox, &["--pid", &pid_of_client])?;
    ensure!(refused.status.code() == Some(2), "without a trace nobody knows: {}", refused.status);
    from_a_recording(sandbox, &client, &listener)
}

fn from_a_recording(sandbox: &mut Sandbox, client: &Actor, listener: &Raw) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    let (file, ready) = (dir.path().join("load.twt"), dir.path().join("ready"));
    let mut command = Command::new(&sandbox.setup.twtrace);
    command.arg("record").arg("-o").arg(&file).args(["--backend", &sandbox.setup.backend]);
    command.arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut recorder = Guarded::spawn(&mut command)?;
    until_true("the recorder to be ready", PATIENCE, || Ok(ready.exists()))?;
    make(sandbox, (client, listener), 11, 0)?;
    let status = recorder.stop(Signal::SIGINT, PATIENCE)?;
    ensure!(status.success(), "record: {status}");
    make(sandbox, (client, listener), 2, 0)?;
    // On a slow machine the oldest, whose owner is not in the recording, may have expired by now.
    let (all, got) = until("as many before and after", PATIENCE, || {
        let before = ss::time_wait_lines()?.len();
        let got = owners(&listed(sandbox, &["--json", "--recording", path(&file)?])?)?;
        Ok((ss::time_wait_lines()?.len() == before).then_some((before, got)))
    })?;
    ensure!(
        got == [(None, all - 11), (Some(client.pid()), 11)].into() && all >= 11 + 2,
        "owners from a recording: {got:?}, of {all} sockets"
    );
    let text = listed(sandbox, &["--recording", path(&file)?, "--comm", "client"])?;
    ensure!(rows(&text).count() == 12, "not 11 sockets in\n{text}");
    let foreign = list(sandbox, &["--recording", "/proc/self/exe"])?;
    let stderr = String::from_utf8_lossy(&foreign.stderr).into_owned();
    ensure!(foreign.status.code() == Some(1) && stderr.contains("is no recording"), "{stderr}");
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// So many connections that the client closes first, and so many that the server does.
fn make(
    sandbox: &mut Sandbox,
    (client, listener): (&Actor, &Raw),
    clients: usize,
    servers: usize,
) -> Result<()> {
    for at in 0..clients + servers {
        let pair = sandbox.pair(client, listener)?;
        if at < clients {
            close_in_order(&pair.client, &pair.server)?;
        } else {
            close_in_order(&pair.server, &pair.client)?;
        }
    }
    sandbox.created_untold(clients + servers);
    Ok(())
}

/// How many sockets each pid owns.
fn owners(text: &str) -> Result<BTreeMap<Option<u32>, usize>> {
    let mut owners = BTreeMap::new();
    for socket in objects(text)? {
        let pid = socket["pid"].as_u64().map(u32::try_from).transpose()?;
        ensure!(pid.is_none() || socket["owner_via"] == "close", "{socket}");
        *owners.entry(pid).or_default() += 1;
    }
    Ok(owners)
}
