//! Owns: scenarios about who the owner is, and what is known of that process.
//! Must not know: the harness.

use anyhow::Result;
use serde_json::json;
use twtrace_kit::actor::Half;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::books::{ESTABLISHED, TIME_WAIT};
use twtrace_kit::kernel;

use super::{by_client, by_server};
use crate::expect::{Pattern, Want, either_substate};
use crate::sandbox::Sandbox;

/// SIGKILL: the kernel closes what the process had open.
pub(super) fn killed_process(sandbox: &mut Sandbox) -> Result<()> {
    let (_, listener) = sandbox.cast()?;
    for _ in 0..3 {
        let victim = sandbox.actor("victim")?;
        let pair = sandbox.pair(&victim, &listener)?;
        pair.exchange(101, 211)?;
        victim.kill()?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.expect(by_client(&pair.client, &victim, "exit").opener(&victim).bytes(101, 211));
    }
    Ok(())
}

/// A process that just ends, with its connections open.
pub(super) fn exiting_process(sandbox: &mut Sandbox) -> Result<()> {
    let (leaver, listener) = sandbox.cast()?;
    let pairs = [(); 5].map(|()| sandbox.pair(&leaver, &listener));
    leaver.dismiss();
    for pair in pairs {
        let pair = pair?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.expect(by_client(&pair.client, &leaver, "exit").opener(&leaver).bytes(0, 0));
    }
    Ok(())
}

/// The parent connects and closes its copy; the child's copy is the last.
pub(super) fn forked_child_closes_last(sandbox: &mut Sandbox) -> Result<()> {
    let (parent, listener) = sandbox.cast()?;
    let pair = sandbox.pair(&parent, &listener)?;
    let child = sandbox.fork(&parent)?;
    pair.client.close()?;
    sandbox.wait_state(&pair.server, ESTABLISHED, false)?;
    close_in_order(&pair.client.inherited_by(&child), &pair.server)?;
    sandbox.expect(by_client(&pair.client, &child, "close").opener(&parent));
    Ok(())
}

/// One process listens, its children accept; each closes first.
pub(super) fn prefork_server(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..3 {
        let worker = sandbox.fork(&listener.actor)?;
        for _ in 0..2 {
            let pair = sandbox.pair(&client, &listener.inherited_by(&worker))?;
            close_in_order(&pair.server, &pair.client)?;
            sandbox.expect(by_server(&pair.server, &worker, "close").opener(&worker));
        }
    }
    Ok(())
}

/// Connected here, passed over a UNIX socket, closed there.
pub(super) fn passed_descriptor(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let heir = sandbox.actor("heir")?;
    for _ in 0..7 {
        let pair = sandbox.pair(&client, &listener)?;
        let passed = pair.client.passed_to(&heir)?;
        pair.client.close()?;
        close_in_order(&passed, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &heir, "close").opener(&client));
    }
    Ok(())
}

/// A child shuts its half down; data still comes; parent and child close when all is over.
pub(super) fn shutdown_by_one_close_by_other(sandbox: &mut Sandbox) -> Result<()> {
    let (parent, listener) = sandbox.cast()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&parent, &listener)?;
        let child = sandbox.fork(&parent)?;
        let copy = pair.client.inherited_by(&child);
        copy.send(101)?;
        copy.shutdown(Half::Write)?;
        pair.server.receive(101)?;
        pair.server.eof()?;
        pair.server.send(211)?;
        pair.client.receive(211)?;
        pair.server.close()?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        pair.client.close()?;
        copy.close()?;
        let created = by_client(&pair.client, &child, "shutdown").opener(&parent).bytes(101, 211);
        sandbox.expect(created.is("substate", "TIME_WAIT"));
    }
    Ok(())
}

/// SHUT_RDWR sends the FIN as well.
pub(super) fn shutdown_of_both_halves(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..5 {
        let pair = sandbox.pair(&client, &listener)?;
        pair.client.shutdown(Half::Both)?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        pair.client.close()?;
        let created = by_client(&pair.client, &client, "shutdown").opener(&client);
        sandbox.expect(created.is("substate", "TIME_WAIT"));
    }
    Ok(())
}

/// A second thread closes: its tid, the process's pid and the process's name.
pub(super) fn closed_by_a_thread(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..5 {
        let pair = sandbox.pair(&client, &listener)?;
        let tid = pair.client.close_on_thread("closing-thread")?;
        pair.server.eof()?;
        pair.server.close()?;
        sandbox.expect(by_client(&pair.client, &client, "close").is("tid", tid).opener(&client));
    }
    Ok(())
}

/// The last descriptor goes with a cycle of UNIX sockets, which the kernel's collector closes. Since 6.9 (commit
/// 8b90a9f819dc, carried back to some older series; unix_gc(), net/unix/garbage.c, 6.12) a kernel thread is at it: the
/// opener stands in. Before, it ran in whichever process closed the last UNIX socket: here the one that made the cycle.
pub(super) fn closed_by_the_kernel(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let knot = sandbox.actor("knot")?;
    let pair = sandbox.pair(&client, &listener)?;
    let passed = pair.client.passed_to(&knot)?;
    pair.client.close()?;
    passed.strand()?;
    pair.server.eof()?;
    pair.server.close()?;
    let created = Pattern::about("created", &pair.client).opener(&client).is("role", "client");
    let created = created.want("substate", either_substate());
    sandbox.expect(if kernel::version()? >= (6, 12) {
        created.is("pid", client.pid()).is("comm", client.comm()).is("owner_via", "opener")
    } else {
        let either = Want::OneOf(vec![json!(client.pid()), json!(knot.pid())]);
        created.want("pid", either).want("owner_via", Want::OneOf(vec![json!("opener"), json!("close")]))
    });
    Ok(())
}

/// A process of another user.
pub(super) fn another_user(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    client.set_user(65534)?;
    let pair = sandbox.pair(&client, &listener)?;
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, &client, "close").opener(&client));
    Ok(())
}

/// A process whose name is a terminal escape, a line break and a bell; and one whose name is cut within a letter.
pub(super) fn hostile_name(sandbox: &mut Sandbox) -> Result<()> {
    let (_, listener) = sandbox.cast()?;
    for (name, exact) in [("\u{1b}[31mred\n\u{7}", true), ("ééééééééé", false)] {
        let client = sandbox.actor(name)?;
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        let created = by_client(&pair.client, &client, "close").is("opener_pid", client.pid());
        sandbox.expect(if exact { created } else { created.want("comm", Want::Present) });
    }
    Ok(())
}

/// The process has asked for the socket's cookie itself: that one is told.
pub(super) fn cookie_from_before(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    for _ in 0..3 {
        let pair = sandbox.pair(&client, &listener)?;
        let cookie = pair.client.cookie()?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close").opener(&client).is("cookie", cookie));
    }
    Ok(())
}
