//! Owns: scenarios in which the kernel refuses something, for want of a port or for another reason: a TIME_WAIT socket, a connect(), a bind().
//! Must not know: the harness.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::netns::{ip, set_ipv4};

use super::by_client;
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

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

/// A port bound first, and its tuple is taken by a connection; of either family, as the kernel has a function for each, which do things in
/// another order.
pub(super) fn tuple_taken(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    taken(sandbox, &client, &listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 40009)), 5)?;
    let server = sandbox.actor("server6")?;
    let listener = server.listen((Ipv6Addr::LOCALHOST, 10007))?;
    taken(sandbox, &client, &listener, SocketAddr::from((Ipv6Addr::LOCALHOST, 40009)), 3)
}

fn taken(
    sandbox: &mut Sandbox,
    client: &Actor,
    listener: &Raw,
    from: SocketAddr,
    count: usize,
) -> Result<()> {
    let pair = sandbox.pair_from(from, client, listener)?;
    for _ in 0..count {
        let raw = client.socket(from.is_ipv6(), true)?;
        ensure!(raw.bind(from)?.is_ok(), "SO_REUSEADDR lets two connecting sockets bind one port");
        let errno = raw.connect(listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRNOTAVAIL), "connect from a tuple in use: errno {errno:?}");
        raw.close()?;
    }
    let failed = Pattern::failed("connect_failed", client, "EADDRNOTAVAIL").is("sport", 40009);
    sandbox.expect(failed.is("daddr", from.ip().to_string()).is("dport", 10007).times(count));
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, client, "close").opener(client));
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

/// Nobody listens there.
const CLOSED: u16 = 10_011;

/// Nobody listens, a routing rule forbids, there is no such address here: each is told with the errno that the call returned, and
/// only that. Without `--failures all`, `EADDRNOTAVAIL` of bind() is all that is left of them. A kprobe sees neither what connect()
/// returned nor what bind() did but for a port in use.
pub(super) fn every_failure(sandbox: &mut Sandbox) -> Result<()> {
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").context("turning IPv6 off")?;
    set_ipv4("tcp_tw_reuse", "0")?;
    ip(&["rule", "add", "to", "10.8.0.0/16", "prohibit"])?;
    let client = sandbox.actor("client")?;
    for all in [true, false] {
        let mut args = vec!["--json", "--verify", "--netns", "self"];
        args.extend(["--failures", "all"].iter().filter(|_| all));
        let tracer = Tracer::start(&sandbox.setup, &args)?;
        let refused = SocketAddr::from((Ipv4Addr::LOCALHOST, CLOSED));
        let forbidden = SocketAddr::from((Ipv4Addr::new(10, 8, 1, 1), CLOSED));
        let without_source = SocketAddr::from((Ipv6Addr::LOCALHOST, CLOSED));
        let mut told = Vec::new();
        for (to, errno, name, count) in [
            (refused, libc::ECONNREFUSED, "ECONNREFUSED", 7),
            (forbidden, libc::EACCES, "EACCES", 5),
            (without_source, libc::EADDRNOTAVAIL, "EADDRNOTAVAIL", 3),
        ] {
            connects_refused(&client, to, errno, count)?;
            if all && (name == "ECONNREFUSED" || sandbox.setup.backend != "kprobe") {
                let failed = Pattern::failed("connect_failed", &client, name).is("dport", CLOSED);
                told.push(failed.is("daddr", to.ip().to_string()).times(count));
            }
        }
        binds_refused(&client, 11)?;
        if sandbox.setup.backend != "kprobe" {
            let failed = Pattern::failed("bind_failed", &client, "EADDRNOTAVAIL");
            told.push(failed.is("saddr", "10.9.9.9").is("port_via", "bind_any").times(11));
        }
        let said = tracer.stop(Signal::SIGINT)?;
        sandbox.judge_as(&args.join(" "), &said, &told)?;
    }
    Ok(())
}

/// So many connects to there that the kernel refuses with that errno.
pub(super) fn connects_refused(client: &Actor, to: SocketAddr, errno: i32, count: usize) -> Result<()> {
    for _ in 0..count {
        let raw = client.socket(to.is_ipv6(), false)?;
        let got = raw.connect(to)?.err();
        ensure!(got == Some(errno), "connect to {to}: errno {got:?}");
        raw.close()?;
    }
    Ok(())
}

/// So many binds of 10.9.9.9, which is not an address of this machine.
pub(super) fn binds_refused(client: &Actor, count: usize) -> Result<()> {
    for _ in 0..count {
        let raw = client.socket(false, false)?;
        let got = raw.bind((Ipv4Addr::new(10, 9, 9, 9), 0))?.err();
        ensure!(got == Some(libc::EADDRNOTAVAIL), "bind to an address of others: errno {got:?}");
        raw.close()?;
    }
    Ok(())
}
