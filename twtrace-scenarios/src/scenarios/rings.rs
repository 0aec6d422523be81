//! Owns: scenarios in which io_uring makes the calls that otherwise system calls make.
//! Must not know: the harness.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::{Pair, close_in_order};
use twtrace_kit::books::TIME_WAIT;

use super::by_server;
use crate::expect::{Pattern, Want};
use crate::sandbox::Sandbox;
use crate::tracer::{Tracer, kind};

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
