//! Owns: scenarios about the calls by which ports and connections are had: bind(), connect() and accept(), by system calls and by io_uring.
//! Must not know: the harness.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::{Pair, close_in_order, complete};
use twtrace_kit::books::TIME_WAIT;

use super::{by_client, by_server};
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::{Tracer, kind};

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

/// A server whose worker accepts by io_uring, and a client whose bind() by io_uring fails. Where functions of the kernel are hooked both are
/// told as if system calls had made them. Where they are not, the worker is the owner all the same, nobody is taken for the opener in its
/// place, and it is said that this and such failures are not seen.
pub(super) fn io_uring(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let worker = listener.actor.fork()?;
    let theirs = listener.inherited_by(&worker);
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let mut pairs = Vec::new();
    for _ in 0..7 {
        let connected = client.socket(false, false)?.connect(listener.local()?)?;
        let client = connected.map_err(|errno| anyhow::anyhow!("connect: errno {errno}"))?;
        let pair = Pair { client, server: theirs.accept_by_ring()? };
        close_in_order(&pair.server, &pair.client)?;
        sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
        pairs.push(pair);
    }
    let taken = SocketAddr::from((Ipv4Addr::UNSPECIFIED, listener.local()?.port()));
    // A kernel before 6.11 cannot.
    let has_bind = client.socket(false, false)?.bind_by_ring(taken)?.err() == Some(libc::EADDRINUSE);
    let told = tracer.stop(Signal::SIGINT)?;
    let sees = !told.stderr.contains("with the tracepoint backend");
    for pair in &pairs {
        let created = by_server(&pair.server, &worker, "close");
        sandbox.expect(if sees { created.opener(&worker) } else { created.want("opener_pid", Want::Absent) });
    }
    if has_bind && sees {
        sandbox.expect(Pattern::failed("bind_failed", &client, "EADDRINUSE"));
    }
    sandbox.settle()?;
    let limited = told.events_with_losses()?;
    let says = limited.iter().any(|event| kind(event) == "limitation" && event["what"] == "other_calls");
    ensure!(says != sees, "it says that calls by io_uring are not seen: {says}");
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}
