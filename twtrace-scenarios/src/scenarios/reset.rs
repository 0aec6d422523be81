//! Owns: scenarios in which a TIME_WAIT socket ends before its time by an RST, by `ss -K`, or with its namespace.
//! Must not know: the harness.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use twtrace_kit::actor::{Actor, Pair, Raw, Sock, close_in_order};
use twtrace_kit::books::TIME_WAIT;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::packets::{RST, SYN, Segment, Wire};
use super::{aborted, by_client, by_server, dead};
use crate::sandbox::Sandbox;
use crate::ss;

/// A connection whose client has closed and waits for the server's FIN in a mini-socket.
fn half_closed(sandbox: &mut Sandbox, client: &Actor, listener: &Raw) -> Result<Pair> {
    let pair = sandbox.pair(client, listener)?;
    sandbox.half_close(&pair.client)?;
    sandbox.expect(by_client(&pair.client, client, "shutdown").opener(client).is("substate", "FIN_WAIT2"));
    Ok(pair)
}

fn expect_reset(sandbox: &mut Sandbox, sock: &Sock, substate: &str) -> Result<()> {
    sandbox.wait_gone(sock)?;
    sandbox.expect(dead(sock, "reset", substate));
    Ok(())
}

/// The peer sends on: the mini-socket answers with an RST and ends.
pub(super) fn data_in_fin_wait2(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..7 {
        let pair = half_closed(sandbox, &client, &listener)?;
        pair.server.send(101)?;
        expect_reset(sandbox, &pair.client, "FIN_WAIT2")?;
        pair.server.close()?;
    }
    Ok(())
}

/// The peer sends an RST.
pub(super) fn rst_in_fin_wait2(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..5 {
        let pair = half_closed(sandbox, &client, &listener)?;
        pair.server.linger_zero()?;
        pair.server.close()?;
        sandbox.expect(aborted(&pair.server, &listener.actor, "server", "linger"));
        expect_reset(sandbox, &pair.client, "FIN_WAIT2")?;
    }
    Ok(())
}

/// A new SYN for the tuple, with the old connection half open: answered with an RST.
pub(super) fn syn_in_fin_wait2(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    let wire = Wire::open()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&client, &listener)?;
        sandbox.half_close(&pair.server)?;
        sandbox
            .expect(by_server(&pair.server, &server, "shutdown").opener(&server).is("substate", "FIN_WAIT2"));
        // Any number that is not before the expected one; the listener's FIN tells what has been acknowledged.
        let next = wire.last_fin(&pair.server)?.acknowledged();
        wire.send(&Segment::bare(pair.client.local, pair.client.peer, SYN, next.wrapping_add(1000))?)?;
        expect_reset(sandbox, &pair.server, "FIN_WAIT2")?;
        pair.client.close()?;
    }
    Ok(())
}

/// A server has gone, and a client comes again with a SYN that would be taken: it is answered with an ACK, and the client's RST ends the
/// TIME_WAIT socket (tcp_v4_rcv(), net/ipv4/tcp_ipv4.c, 5.10 to 7.3: TCP_TW_SYN without a listener goes on as
/// TCP_TW_ACK).
pub(super) fn syn_without_listener(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_rfc1337", "0")?;
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    let pairs: Vec<Pair> = (40009..40012)
        .map(|port| {
            let pair = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &client, &listener)?;
            close_in_order(&pair.server, &pair.client)?;
            sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
            sandbox.expect(by_server(&pair.server, &server, "close").opener(&server));
            Ok(pair)
        })
        .collect::<Result<_>>()?;
    listener.close()?;
    for pair in &pairs {
        let again = client.socket(false, true)?;
        ensure!(again.bind(pair.client.local)?.is_ok(), "SO_REUSEADDR lets a port be bound again");
        let errno = again.connect(pair.client.peer)?.err();
        ensure!(errno == Some(libc::ECONNREFUSED), "connect() to where nobody listens: errno {errno:?}");
        again.close()?;
        expect_reset(sandbox, &pair.server, "TIME_WAIT")?;
    }
    Ok(())
}

/// An RST with the one sequence number that counts ends a TIME_WAIT, unless tcp_rfc1337 forbids; then its timer starts
/// anew, and nothing is to be told.
pub(super) fn rst_in_time_wait(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let wire = Wire::open()?;
    for _ in 0..5 {
        set_ipv4("tcp_rfc1337", "1")?;
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
        let next = wire.last_fin(&pair.server)?.next_seq();
        let rst = Segment::bare(pair.server.local, pair.server.peer, RST, next)?;
        wire.send(&rst)?;
        wire.wait_for(&rst)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        set_ipv4("tcp_rfc1337", "0")?;
        wire.send(&rst)?;
        expect_reset(sandbox, &pair.client, "TIME_WAIT")?;
    }
    Ok(())
}

/// SO_LINGER with 0 seconds: an RST, no TIME_WAIT at all, and it is told who did it.
pub(super) fn linger_zero(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..11 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        pair.client.linger_zero()?;
        pair.client.close()?;
        sandbox.expect(aborted(&pair.client, &client, "client", "linger").bytes(101, 211));
        sandbox.wait_gone(&pair.server)?;
        pair.server.close()?;
    }
    Ok(())
}

/// close() with data that nobody has read: an RST, no TIME_WAIT, and what was sent may be lost.
pub(super) fn unread_data(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.client.send(101)?;
        // All of it came in one segment.
        pair.server.receive(53)?;
        pair.server.close()?;
        sandbox.expect(
            aborted(&pair.server, &listener.actor, "server", "unread_data").is("bytes_received", 101),
        );
        sandbox.wait_gone(&pair.client)?;
        pair.client.close()?;
    }
    Ok(())
}

/// `ss -K` on sockets of both substates.
pub(super) fn killed_by_ss(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
        ss::kill(pair.client.local)?;
        sandbox.wait_gone(&pair.client)?;
        sandbox.expect(dead(&pair.client, "killed", "TIME_WAIT"));
    }
    for _ in 0..2 {
        let pair = half_closed(sandbox, &client, &listener)?;
        ss::kill(pair.client.local)?;
        sandbox.wait_gone(&pair.client)?;
        sandbox.expect(dead(&pair.client, "killed", "FIN_WAIT2"));
        pair.server.close()?;
    }
    Ok(())
}

/// The last process leaves a network namespace in which TIME_WAITs are.
pub(super) fn namespace_deleted(sandbox: &mut Sandbox) -> Result<()> {
    let (client, server) = (sandbox.actor("client")?, sandbox.actor("server")?);
    server.unshare()?;
    client.join(&server)?;
    sandbox.watch_netns_of(&server);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 10007))?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
        sandbox.expect(dead(&pair.client, "purged", "TIME_WAIT"));
    }
    client.dismiss();
    server.dismiss();
    let gone = |actor: &Actor| !std::path::Path::new(&format!("/proc/{}/ns/net", actor.pid())).exists();
    until_true("the namespace's processes to end", PATIENCE, || Ok(gone(&client) && gone(&server)))?;
    sandbox.await_told();
    Ok(())
}
