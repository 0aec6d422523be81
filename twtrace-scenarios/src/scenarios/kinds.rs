//! Owns: scenarios about the kinds of TIME_WAIT sockets: of both address families, in several network namespaces, and orphans that wait for
//! their peer's FIN in a mini-socket.
//! Must not know: the harness.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use twtrace_kit::actor::{close_in_order, complete};
use twtrace_kit::books::{FIN_WAIT2, TIME_WAIT};
use twtrace_kit::netns::set_ipv4;

use super::{by_client, by_server, dead};
use crate::expect::{TIMEWAIT_MS, Want};
use crate::sandbox::Sandbox;

/// Both ends in turn, over ::1.
pub(super) fn ipv6(sandbox: &mut Sandbox) -> Result<()> {
    let client = sandbox.actor("client")?;
    let server = sandbox.actor("server")?;
    let listener = server.listen((Ipv6Addr::LOCALHOST, 10007))?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client).bytes(101, 211));
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.expect(by_server(&pair.server, &server, "close").opener(&server).bytes(211, 101));
    }
    Ok(())
}

/// IPv6 sockets that speak IPv4: what is on the wire is told.
pub(super) fn v4_mapped(sandbox: &mut Sandbox) -> Result<()> {
    let (client, v4) = sandbox.cast()?;
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 10007));
    let pair = complete(&client.socket(true, false)?, &v4, mapped)?;
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));

    let server = sandbox.actor("dual-stack")?;
    let both = server.listen((Ipv6Addr::UNSPECIFIED, 10009))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 10009));
    let pair = complete(&client.socket(false, false)?, &both, to)?;
    close_in_order(&pair.server, &pair.client)?;
    sandbox.expect(by_server(&pair.server, &server, "close").opener(&server));
    Ok(())
}

/// Addresses and ports are the same, the namespaces and the processes are not.
pub(super) fn same_tuple_in_two_namespaces(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let (other_client, other_server) = (sandbox.actor("other-client")?, sandbox.actor("other-server")?);
    other_server.unshare()?;
    other_client.join(&other_server)?;
    sandbox.keep_netns_of(&other_server)?;
    let other_listener = other_server.listen((Ipv4Addr::LOCALHOST, 10007))?;
    for port in 40009..40020 {
        let here = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &client, &listener)?;
        let there = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &other_client, &other_listener)?;
        here.exchange(101, 211)?;
        there.exchange(103, 223)?;
        close_in_order(&here.client, &here.server)?;
        close_in_order(&there.client, &there.server)?;
        sandbox.expect(by_client(&here.client, &client, "close").opener(&client).bytes(101, 211));
        sandbox
            .expect(by_client(&there.client, &other_client, "close").opener(&other_client).bytes(103, 223));
    }
    Ok(())
}

/// The peer never closes: the mini-socket lives for tcp_fin_timeout, or for 3.5 retransmission timeouts where those
/// are longer (tcp_fin_time(), include/net/tcp.h, 5.10 to 7.3).
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

/// The peer closes while the mini-socket waits: the same socket is in TIME_WAIT then, nothing is created again. The kernel's own way to
/// the mini-socket (an ACK after close()), and the one by shutdown().
pub(super) fn fin_wait2_gets_its_fin(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for via in ["close", "close", "close", "shutdown", "shutdown", "shutdown", "shutdown"] {
        let pair = sandbox.pair(&client, &listener)?;
        if via == "close" {
            pair.client.close()?;
            sandbox.wait_state(&pair.client, FIN_WAIT2, true)?;
        } else {
            sandbox.half_close(&pair.client)?;
        }
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, via).opener(&client).is("substate", "FIN_WAIT2"));
    }
    Ok(())
}
