//! Owns: scenarios about how a local port was had, and about SYNs that an old TIME_WAIT socket turns away.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::Result;
use twtrace_kit::actor::{Pair, close_in_order, complete};
use twtrace_kit::books::TIME_WAIT;

use super::packets::{SYN, Segment, Wire};
use super::{by_client, by_server};
use crate::sandbox::Sandbox;

/// connect() chooses; bind() with port 0 chooses; bind() asks for a number; accept() has the listener's.
pub(super) fn how_ports_are_had(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    for (via, count) in [("connect", 3), ("bind_any", 5), ("bind", 7)] {
        for at in 0..count {
            let raw = client.socket(false, false)?;
            let port = if via == "bind" { 40_021 + at } else { 0 };
            if via != "connect" {
                anyhow::ensure!(raw.bind((Ipv4Addr::LOCALHOST, port))?.is_ok(), "port {port} is free");
            }
            let pair: Pair = complete(&raw, &listener, listener.local()?)?;
            close_in_order(&pair.client, &pair.server)?;
            sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
            sandbox.expect(by_client(&pair.client, &client, "close").is("port_via", via));
        }
    }
    for _ in 0..2 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
        sandbox.expect(by_server(&pair.server, &server, "close").is("port_via", "accept"));
    }
    Ok(())
}

/// SYNs with sequence numbers that the TIME_WAIT socket has seen: the first is answered with an ACK, those that follow at once with
/// nothing (tcp_timewait_state_process, net/ipv4/tcp_minisocks.c). None is taken, each is told.
pub(super) fn syn_refused(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    let wire = Wire::open()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
        sandbox.expect(by_server(&pair.server, &server, "close").opener(&server));
        let next = wire.last_fin(&pair.server)?.acknowledged();
        for back in 0..5 {
            let seq = next.wrapping_sub(1000 + back);
            let syn = Segment::bare(pair.client.local, pair.client.peer, SYN, seq)?;
            wire.send(&syn)?;
            wire.wait_for(&syn)?;
        }
        let refused = crate::expect::Pattern::about("syn_refused", &pair.server);
        sandbox.expect(refused.is("substate", "TIME_WAIT").times(5));
    }
    Ok(())
}
