//! Owns: scenarios in which a new connection takes the place of a TIME_WAIT socket, or whose SYNs that socket turns away.
//! Must not know: the harness.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail};
use twtrace_kit::actor::{Actor, Pair, Raw, close_in_order};
use twtrace_kit::books::TIME_WAIT;
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until_every};

use super::packets::{SYN, Segment, Wire};
use super::{by_client, by_server, dead};
use crate::expect::Pattern;
use crate::sandbox::Sandbox;

/// Ports in the range 40010 to 40015. Even, because older kernels leave one out of an odd number.
const PORTS: usize = 6;

/// How often a connect() that fails is tried again: each try is an event.
const AGAIN: Duration = Duration::from_millis(100);

/// With tcp_tw_reuse, connect() takes a port of its own choice over from a TIME_WAIT that is older than a second.
pub(super) fn by_connect(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    set_ipv4("ip_local_port_range", "40010 40015")?;
    let (client, listener) = sandbox.cast()?;
    for _ in 0..PORTS {
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    set_ipv4("tcp_tw_reuse", "1")?;
    // All are open before the first is closed, so each takes another port over.
    let mut failures = 0;
    let mut pairs = Vec::new();
    for _ in 0..PORTS {
        pairs.push(persist(sandbox, &client, &listener, &mut failures)?);
    }
    for pair in pairs {
        sandbox.expect(dead(&pair.client, "reused_outgoing", "TIME_WAIT"));
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    let failed = Pattern::failed("connect_failed", &client, "EADDRNOTAVAIL");
    sandbox.expect(failed.is("daddr", "127.0.0.1").is("dport", 10007).times(failures));
    Ok(())
}

/// Connects until it succeeds, and counts how often it did not.
fn persist(sandbox: &Sandbox, client: &Actor, listener: &Raw, failures: &mut usize) -> Result<Pair> {
    until_every(AGAIN, "a TIME_WAIT that may be reused", PATIENCE, || {
        let raw = client.socket(false, false)?;
        match raw.connect(listener.local()?)? {
            Ok(connected) => Ok(Some(Pair { client: connected, server: listener.accept()? })),
            Err(libc::EADDRNOTAVAIL) => {
                *failures += 1;
                raw.close()?;
                Ok(None)
            }
            Err(errno) => bail!("connect in {}: errno {errno}", sandbox.netns()),
        }
    })
}

/// A port that is bound first is taken over at once, tcp_tw_reuse or not. These were FIN_WAIT2 when they were created
/// and end as TIME_WAIT.
pub(super) fn by_bound_connect(sandbox: &mut Sandbox) -> Result<()> {
    set_ipv4("tcp_tw_reuse", "0")?;
    let (client, listener) = sandbox.cast()?;
    for port in 40009..40016 {
        let from = (Ipv4Addr::LOCALHOST, port);
        let pair = sandbox.pair_from(from, &client, &listener)?;
        pair.exchange(101, 211)?;
        sandbox.half_close(&pair.client)?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        let created = by_client(&pair.client, &client, "shutdown").opener(&client);
        sandbox.expect(created.is("substate", "FIN_WAIT2").bytes(101, 211));
        let pair = sandbox.pair_from(from, &client, &listener)?;
        sandbox.expect(dead(&pair.client, "reused_outgoing", "TIME_WAIT"));
        pair.exchange(103, 223)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client).bytes(103, 223));
    }
    Ok(())
}

/// The server closed first; the client's next connection comes from the same port.
pub(super) fn by_syn(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    for port in 40009..40016 {
        let from = (Ipv4Addr::LOCALHOST, port);
        for (request, response) in [(101, 211), (103, 223)] {
            let pair = sandbox.pair_from(from, &client, &listener)?;
            pair.exchange(request, response)?;
            close_in_order(&pair.server, &pair.client)?;
            sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
            let created = by_server(&pair.server, &server, "close").opener(&server);
            sandbox.expect(created.bytes(response as u64, request as u64));
            if request == 101 {
                sandbox.expect(dead(&pair.server, "reused_incoming", "TIME_WAIT"));
            }
        }
    }
    Ok(())
}

/// SYNs with sequence numbers that the TIME_WAIT socket has seen: the first is answered with an ACK, those that follow at once with
/// nothing (tcp_timewait_state_process(), net/ipv4/tcp_minisocks.c, 5.10 to 7.3). None is taken, each is told.
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
