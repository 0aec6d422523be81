//! Owns: scenarios about who closes first.
//! Must not know: the harness.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use twtrace_kit::actor::Half;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::books::{CLOSING, FIN_WAIT1, TIME_WAIT};

use super::packets::Wire;
use super::{by_client, by_server};
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// The client sends 101 bytes, gets 211, and closes first.
pub(super) fn client_closes_first(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..13 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        let created = by_client(&pair.client, &client, "close").opener(&client);
        sandbox.expect(created.bytes(101, 211).want("age_ms", Want::Present));
    }
    Ok(())
}

/// The same, but the server closes first.
pub(super) fn server_closes_first(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    for _ in 0..17 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        close_in_order(&pair.server, &pair.client)?;
        let created = by_server(&pair.server, &server, "close").opener(&server);
        sandbox.expect(created.bytes(211, 101).want("age_ms", Want::Present));
    }
    Ok(())
}

/// A server closes more connections in a second than are remembered from their beginning: each still has its owner and its role,
/// and the first of them have their opener as well. Nobody is named wrongly.
pub(super) fn openers_by_sample(sandbox: &mut Sandbox) -> Result<()> {
    /// `COMPLETE` in twtrace-ebpf/src/owner.rs.
    const COMPLETE: usize = 1_024;
    /// Fewer than the table has room for in a machine of 1 GiB.
    const ALL: u16 = 3_001;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 10007))?;
    for n in 0..ALL {
        // An address for each, so that none takes over the TIME_WAIT socket of another.
        let [high, low] = n.to_be_bytes();
        let mut client = TcpStream::connect((Ipv4Addr::new(127, 1, high, low), 10007))?;
        drop(listener.accept()?);
        ensure!(client.read(&mut [0])? == 0, "the server sends nothing");
    }
    let created = Pattern::new("created", sandbox.netns()).is("role", "server").is("sport", 10007);
    let created = created.is("pid", std::process::id()).is("owner_via", "close").is("port_via", "accept");
    sandbox.expect(created.times(ALL.into()));
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let events = told.events()?;
    let openers: Vec<_> = events.iter().filter_map(|event| event.get("opener_pid")).collect();
    ensure!(openers.iter().all(|pid| **pid == std::process::id()), "another opener: {openers:?}");
    // Where few are made in a second, all are remembered.
    ensure!(openers.len() >= COMPLETE, "{} of {ALL} have their opener", openers.len());
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// Who opened the connections that stay is remembered, however many calls of connect() are given up meanwhile: no hook of fentry sees the end of
/// those. Of 40,009 that are spread over 16,384 sets of four, four and more come into a quarter of the sets.
pub(super) fn connects_given_up(sandbox: &mut Sandbox) -> Result<()> {
    const GIVEN_UP: usize = 40_009;
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let (client, listener) = sandbox.cast()?;
    let pairs: Vec<_> = (0..101).map(|_| sandbox.pair(&client, &listener)).collect::<Result<_>>()?;
    let deaf = client.listen((Ipv4Addr::LOCALHOST, 10009))?;
    deaf.drop_incoming()?;
    let to = deaf.local()?.into();
    for _ in 0..GIVEN_UP {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let refused = socket.connect(&to).err().and_then(|error| error.raw_os_error());
        ensure!(refused == Some(libc::EINPROGRESS), "connect() came to {refused:?}");
    }
    for pair in pairs {
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    }
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// Both FINs cross: both ends get a TIME_WAIT socket, by way of CLOSING. Each end drops what comes in until both have
/// sent their FIN; then the very FINs that were dropped are played to them again.
pub(super) fn simultaneous_close(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let server = listener.actor.clone();
    let wire = Wire::open()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.exchange(101, 211)?;
        for end in [&pair.client, &pair.server] {
            end.drop_incoming(true)?;
        }
        for end in [&pair.client, &pair.server] {
            end.shutdown(Half::Write)?;
            sandbox.wait_state(end, FIN_WAIT1, false)?;
        }
        let from_server = wire.last_fin(&pair.server)?;
        let from_client = wire.last_fin(&pair.client)?;
        pair.client.drop_incoming(false)?;
        wire.send(&from_server)?;
        sandbox.wait_state(&pair.client, CLOSING, false)?;
        pair.server.drop_incoming(false)?;
        wire.send(&from_client)?;
        for end in [&pair.client, &pair.server] {
            sandbox.wait_state(end, TIME_WAIT, true)?;
            end.close()?;
        }
        let at_client = by_client(&pair.client, &client, "shutdown").opener(&client);
        sandbox.expect(at_client.bytes(101, 211).is("substate", "TIME_WAIT"));
        let at_server = by_server(&pair.server, &server, "shutdown").opener(&server);
        sandbox.expect(at_server.bytes(211, 101).is("substate", "TIME_WAIT"));
    }
    Ok(())
}
