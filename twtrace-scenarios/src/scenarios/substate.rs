//! Owns: scenarios about orphans that wait for their peer's FIN in a mini-socket.
//! Must not know: the harness.

use anyhow::Result;
use twtrace_kit::books::{FIN_WAIT2, TIME_WAIT};
use twtrace_kit::netns::set_ipv4;

use super::{by_client, dead};
use crate::expect::{TIMEWAIT_MS, Want};
use crate::sandbox::Sandbox;

/// The peer never closes: the mini-socket lives for tcp_fin_timeout, or for 3.5 retransmission timeouts where those
/// are longer (net/ipv4/tcp.h, tcp_fin_time).
pub(super) fn fin_wait2_expires(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_fin_timeout", "1")?;
    let (client, listener) = sandbox.cast()?;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        pair.client.close()?;
        let created = by_client(&pair.client, &client, "close").opener(&client).bytes(101, 211);
        let created = created.is("substate", "FIN_WAIT2");
        sandbox.expect(created.want("timeout_ms", Want::Between(1000, TIMEWAIT_MS - 1)));
        sandbox.expect(dead(&pair.client, "expired", "FIN_WAIT2"));
        pairs.push(pair);
    }
    for pair in pairs {
        sandbox.wait_gone(&pair.client)?;
        pair.server.close()?;
    }
    Ok(())
}

/// The peer closes while the mini-socket waits: the same socket is in TIME_WAIT then, nothing is created again.
pub(super) fn fin_wait2_gets_its_fin(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.client.close()?;
        sandbox.wait_state(&pair.client, FIN_WAIT2, true)?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client).is("substate", "FIN_WAIT2"));
    }
    Ok(())
}
