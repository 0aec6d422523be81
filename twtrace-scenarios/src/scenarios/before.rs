//! Owns: scenarios with a twtrace that comes late: connections and TIME_WAIT sockets are there before it.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use twtrace_kit::actor::{Actor, Pair, Raw, close_in_order};
use twtrace_kit::books::{self, TIME_WAIT};
use twtrace_kit::netns::set_ipv4;

use super::{by_client, by_server, dead};
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// 11 TIME_WAITs are there. Later connections take 5 of them over and leave 5 new ones: 11 are alive at the end.
pub(super) fn time_wait_before_start(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let (client, listener) = sandbox.cast()?;
    let connect = |sandbox: &Sandbox, port: u16| -> Result<Pair> {
        let pair = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        Ok(pair)
    };
    for port in 40009..40020 {
        connect(sandbox, port)?;
    }
    sandbox.created_untold(11);
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify", "--netns", "self"])?;
    for port in 40009..40014 {
        let pair = connect(sandbox, port)?;
        let old = dead(&pair.client, "reused_outgoing", "TIME_WAIT").no_owner();
        sandbox.expect(old.want("lifetime_ms", Want::Absent));
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let live = told.live()?;
    if live != books::live("self")? {
        sandbox.fail(format!("live: {live}, the kernel has {}", books::live("self")?));
    }
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// Mini-sockets are there, and run out of time while twtrace looks on.
pub(super) fn fin_wait2_before_start(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    // How long twtrace takes to start differs by a factor of a hundred between machines.
    for seconds in [2, 4, 8, 16, 32] {
        set_ipv4("tcp_fin_timeout", &seconds.to_string())?;
        let pairs = orphans(sandbox, &client, &listener)?;
        let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify", "--netns", "self"])?;
        let in_time = books::live("self")? == pairs.len() as u64;
        for pair in &pairs {
            sandbox.wait_gone(&pair.client)?;
            pair.server.close()?;
        }
        if !in_time {
            sandbox.ended_untold(pairs.len());
            continue;
        }
        for pair in &pairs {
            let ended = dead(&pair.client, "expired", "FIN_WAIT2").no_owner();
            sandbox.expect(ended.want("lifetime_ms", Want::Absent));
        }
        sandbox.settle()?;
        let told = tracer.stop(Signal::SIGINT)?;
        ensure!(told.live()? == 0, "live: {}, the kernel has none", told.live()?);
        let expected = sandbox.expected().to_vec();
        return sandbox.judge(&told, &expected);
    }
    bail!("twtrace takes more than half a minute to start");
}

/// 5 connections whose client waits for a FIN that will not come.
fn orphans(sandbox: &mut Sandbox, client: &Actor, listener: &Raw) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let pair = sandbox.pair(client, listener)?;
        sandbox.half_close(&pair.client)?;
        pairs.push(pair);
    }
    sandbox.created_untold(pairs.len());
    sandbox.wait_live(pairs.len() as u64)?;
    Ok(pairs)
}

/// Connections are there, and are closed while twtrace looks on: the owner can be known, the opener cannot. The payload
/// is that of the whole life.
pub(super) fn established_before_start(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    let mut pairs = Vec::new();
    for _ in 0..12 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        pairs.push(pair);
    }
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--verify"])?;
    let late = |created: Pattern, role: &str| {
        let created = created.want("role", Want::OneOf(vec![json!(role), json!("unknown")]));
        created.want("opener_pid", Want::Absent).want("age_ms", Want::Absent)
    };
    for (at, pair) in pairs.iter().enumerate() {
        pair.exchange(103, 223)?;
        if at < 7 {
            close_in_order(&pair.client, &pair.server)?;
            sandbox.expect(late(by_client(&pair.client, &client, "close").bytes(204, 434), "client"));
        } else {
            close_in_order(&pair.server, &pair.client)?;
            sandbox.expect(late(by_server(&pair.server, &server, "close").bytes(434, 204), "server"));
        }
    }
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}
