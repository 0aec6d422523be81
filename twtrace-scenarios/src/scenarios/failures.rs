//! Owns: the scenario of calls that fail for another reason than a port.
//! Must not know: the harness.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::Actor;
use twtrace_kit::netns::{ip, set_ipv4};

use crate::expect::Pattern;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

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
