//! Owns: scenarios with tens of thousands of connections, or that take a minute, which are run only when named.
//! Must not know: the harness.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::books;
use twtrace_kit::command::read;
use twtrace_kit::kernel;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{by_client, dead};
use crate::expect::Want;
use crate::nginx::{self, Nginx};
use crate::sandbox::Sandbox;
use crate::schema::{Event, parse};
use crate::tracer::{Told, Tracer, kind, within};

/// Room for every connection of a scenario.
const BUCKETS: &str = "1000000";

/// How long twtrace is kept from reading its ring. Not a wait: it is what the scenario is about.
const STARVED: Duration = Duration::from_secs(5);

/// More than a TIME_WAIT lives.
const MINUTE: Duration = Duration::from_secs(90);

/// Requests that `ab` makes.
const REQUESTS: u64 = 60_000;

/// nginx without keep-alive under `ab`: nothing is lost, every TIME_WAIT is counted and has nginx or ab for its owner.
pub(super) fn load(sandbox: &mut Sandbox) -> Result<()> {
    as_in_real_life()?;
    let nginx = Nginx::start(0)?;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify"])?;
    let mut ab = Command::new("ab");
    read(ab.args(["-q", "-r", "-c", "50", "-n", &REQUESTS.to_string(), nginx::URL]))?;
    nginx.end()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let netns = [sandbox.netns()];
    let mut events = told.events()?;
    events.retain(|event| within(event, &netns));
    fail_all(sandbox, imbalance(&events, &Losses::default())?);
    let mut owners: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| kind(event) == "created") {
        *owners.entry(event.get("comm").and_then(Value::as_str).unwrap_or("nobody")).or_default() += 1;
    }
    if owners.keys().any(|owner| !["nginx", "ab"].contains(owner)) || owners.values().sum::<u64>() < REQUESTS
    {
        sandbox.fail(format!("owners of {REQUESTS} connections: {owners:?}"));
    }
    sandbox.balanced();
    Ok(())
}

/// Nothing disturbs a TIME_WAIT socket: it lives for TCP_TIMEWAIT_LEN, 60 s (include/net/tcp.h, 5.10 to 7.3), and the
/// timer wheel may let it wait for up to an eighth more (kernel/time/timer.c, 5.10 to 7.3).
pub(super) fn expires(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify", "--netns", "self"])?;
    for _ in 0..11 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, books::TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").is("timeout_ms", 60_000));
        let ended = dead(&pair.client, "expired", "TIME_WAIT").owner(&client, "close");
        sandbox.expect(ended.want("lifetime_ms", Want::Between(60_000, 68_000)));
    }
    until_true("the last one to expire", MINUTE, || Ok(books::live("self")? == 0))?;
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge_as("--netns self", &told, &expected)
}

/// RSTs may end a TIME_WAIT, as they do by default, and none is refused.
pub(super) fn as_in_real_life() -> Result<()> {
    set_ipv4("tcp_rfc1337", "0")?;
    set_ipv4("tcp_max_tw_buckets", BUCKETS)
}

/// twtrace is stopped under load until its small ring has long been full. What could not be told is counted exactly, and
/// afterwards twtrace knows again how many are alive.
pub(super) fn starvation(sandbox: &mut Sandbox) -> Result<()> {
    as_in_real_life()?;
    set_ipv4("tcp_tw_reuse", "0")?;
    let (server, client) = (sandbox.actor("server")?, sandbox.actor("client")?);
    let listener = server.listen((Ipv4Addr::UNSPECIFIED, 10007))?;
    let tracer =
        Tracer::start(&sandbox.setup, &["--json", "--verify", "--netns", "self", "--ring-size", "64K"])?;
    server.absorb(&listener)?;
    tracer.signal(Signal::SIGSTOP)?;
    client.churn(10007)?;
    std::thread::sleep(STARVED);
    tracer.signal(Signal::SIGCONT)?;
    let made = client.halt()?;
    server.halt()?;
    // Not "until so many are alive": closed sockets answer late ACKs with an RST, which ends some.
    until_true("all but the listener to be closed", PATIENCE, || Ok(books::in_use()? == 1))?;
    // In vain or not, the balance is drawn below.
    let _ = until_true("the whole story", PATIENCE, || {
        let events: Vec<Event> = tracer.so_far()?.lines().filter_map(|line| parse(line).ok()).collect();
        Ok(imbalance(&events, &Losses::of(&events))?.is_empty())
    });
    let told = tracer.stop(Signal::SIGINT)?;
    let events = told.events_with_losses()?;
    let losses = Losses::of(&events);
    ensure!(losses.created > 0, "64 KiB held {made} connections: nothing was starved");
    if losses.parts != losses.total {
        sandbox.fail(format!("`lost` events: count {}, their parts {}", losses.total, losses.parts));
    }
    fail_all(sandbox, imbalance(&events, &losses)?);
    check_live(sandbox, &told)?;
    sandbox.balanced();
    Ok(())
}

/// What `lost` events add up to.
#[derive(Debug, Default)]
struct Losses {
    total: u64,
    parts: u64,
    created: u64,
    ended: u64,
}

impl Losses {
    fn of(events: &[Event]) -> Self {
        let mut losses = Self::default();
        for event in events.iter().filter(|event| kind(event) == "lost") {
            let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
            losses.total += number("count");
            losses.parts += event.iter().filter_map(|(key, value)| part(key, value)).sum::<u64>();
            losses.created += number("created");
            losses.ended += number("ended");
        }
        losses
    }
}

fn part(key: &str, value: &Value) -> Option<u64> {
    let parts = ["created", "ended", "overflow", "connect_failed", "bind_failed", "missed", "unwritten"];
    parts.contains(&key).then(|| value.as_u64()).flatten()
}

fn count(events: &[Event], wanted: &str) -> u64 {
    events.iter().filter(|event| kind(event) == wanted).count() as u64
}

/// Told and lost events against the kernel's books: reasons where they do not agree.
fn imbalance(events: &[Event], losses: &Losses) -> Result<Vec<String>> {
    let books = books::read("self")?;
    let created = count(events, "created") + losses.created;
    let mut reasons = Vec::new();
    if kernel::counts_creations()? && created != books.tw_counter + books.tw_killed {
        reasons.push(format!("{created} created, the kernel made {}", books.tw_counter + books.tw_killed));
    }
    let (told, listed, ended) = (count(events, "created"), count(events, "listed"), count(events, "ended"));
    if (told + listed).checked_sub(ended) != Some(books.tw) {
        reasons.push(format!(
            "{told} created and {listed} listed less {ended} ended, the kernel has {}",
            books.tw
        ));
    }
    Ok(reasons)
}

fn fail_all(sandbox: &mut Sandbox, reasons: Vec<String>) {
    reasons.into_iter().for_each(|reason| sandbox.fail(reason));
}

fn check_live(sandbox: &mut Sandbox, told: &Told) -> Result<()> {
    let (says, has) = (told.live()?, books::live("self")?);
    if says != has {
        sandbox.fail(format!("live: {says}, the kernel has {has}"));
    }
    Ok(())
}
