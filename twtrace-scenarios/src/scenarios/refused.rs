//! Owns: scenarios in which the kernel refuses something: a TIME_WAIT socket, a connect(), a bind().
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use twtrace_kit::actor::close_in_order;
use twtrace_kit::netns::set_ipv4;

use super::by_client;
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;

/// Room for 7 TIME_WAIT sockets, and 11 more connections.
pub(super) fn overflow(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_max_tw_buckets", "7")?;
    let (client, listener) = sandbox.cast()?;
    for turn in 0..18 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(if turn < 7 {
            sandbox.wait_live(turn + 1)?;
            by_client(&pair.client, &client, "close").opener(&client).bytes(101, 211)
        } else {
            sandbox.wait_gone(&pair.client)?;
            let overflow = Pattern::about("overflow", &pair.client).owner(&client, "close").opener(&client);
            overflow.is("role", "client").bytes(101, 211).want("age_ms", Want::Present)
        });
    }
    Ok(())
}

/// 64 ports, all in TIME_WAIT: 13 connects fail.
pub(super) fn ports_exhausted(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    set_ipv4("ip_local_port_range", "40000 40063")?;
    let (client, listener) = sandbox.cast()?;
    for _ in 0..64 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    sandbox.wait_live(64)?;
    // Kernels that have the option, that is: some earlier ones do as well.
    let with_range = if twtrace_kit::kernel::version()? >= (6, 3) { 5 } else { 0 };
    for turn in 0..13 {
        let raw = client.socket(false, false)?;
        if turn < with_range {
            raw.port_range(40_011, 40_023)?;
        }
        let errno = raw.connect(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRNOTAVAIL), "connect with all ports in use: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("connect_failed", &client, "EADDRNOTAVAIL").is("family", "ipv4");
    let failed = failed.is("sport", 0).is("daddr", "127.0.0.1").is("dport", 10007);
    let ranged = failed.clone().is("range_low", 40_011).is("range_high", 40_023);
    sandbox.expect(ranged.times(with_range));
    sandbox.expect(failed.is("range_low", 0).is("range_high", 0).times(13 - with_range));
    Ok(())
}

/// A port bound first, and its tuple is taken by a connection.
pub(super) fn tuple_taken(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let from = (Ipv4Addr::LOCALHOST, 40009);
    let pair = sandbox.pair_from(from, &client, &listener)?;
    for _ in 0..5 {
        let raw = client.socket(false, true)?;
        ensure!(raw.bind(from)?.is_ok(), "SO_REUSEADDR lets two connecting sockets bind one port");
        let errno = raw.connect(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRNOTAVAIL), "connect from a tuple in use: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("connect_failed", &client, "EADDRNOTAVAIL").is("sport", 40009);
    sandbox.expect(failed.is("daddr", "127.0.0.1").is("dport", 10007).times(5));
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    Ok(())
}

/// The port has a listener.
pub(super) fn bind_in_use(sandbox: &mut Sandbox) -> Result<()> {
    let (late, listener) = sandbox.cast()?;
    for _ in 0..7 {
        let raw = late.socket(false, false)?;
        let errno = raw.bind(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRINUSE), "bind to a port in use: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("bind_failed", &late, "EADDRINUSE").is("family", "ipv4");
    sandbox.expect(failed.is("saddr", "127.0.0.1").is("sport", 10007).times(7));
    Ok(())
}

/// Two sockets share a port by SO_REUSEADDR; only one may listen.
pub(super) fn listen_in_use(sandbox: &mut Sandbox) -> Result<()> {
    let server = sandbox.actor("server")?;
    let at = (Ipv4Addr::LOCALHOST, 10009);
    let (first, second) = (server.socket(false, true)?, server.socket(false, true)?);
    for raw in [&first, &second] {
        ensure!(raw.bind(at)?.is_ok(), "SO_REUSEADDR lets two sockets bind one port while none listens");
    }
    ensure!(first.listen()?.is_ok(), "the first may listen");
    for _ in 0..5 {
        let errno = second.listen()?.err();
        ensure!(errno == Some(libc::EADDRINUSE), "listen on a port in use: errno {errno:?}");
    }
    let failed = Pattern::failed("bind_failed", &server, "EADDRINUSE");
    sandbox.expect(failed.is("saddr", "127.0.0.1").is("sport", 10009).times(5));
    Ok(())
}

/// Sockets that bind a source address first draw from one pool for all destinations: 16 ports, and 7 binds fail.
pub(super) fn bound_ports_exhausted(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("ip_local_port_range", "40000 40015")?;
    let (client, listener) = sandbox.cast()?;
    let any_port = (Ipv4Addr::LOCALHOST, 0);
    let mut pairs = Vec::new();
    for _ in 0..16 {
        let raw = client.socket(false, false)?;
        ensure!(raw.bind(any_port)?.is_ok(), "there is a port left");
        pairs.push(twtrace_kit::actor::complete(&raw, &listener, listener.local()?)?);
    }
    for _ in 0..7 {
        let raw = client.socket(false, false)?;
        let errno = raw.bind(any_port)?.err();
        ensure!(errno == Some(libc::EADDRINUSE), "bind with no port left: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("bind_failed", &client, "EADDRINUSE");
    let failed = failed.is("saddr", "127.0.0.1").is("sport", 0);
    sandbox.expect(failed.is("range_low", 0).is("range_high", 0).times(7));
    for pair in pairs {
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    Ok(())
}
