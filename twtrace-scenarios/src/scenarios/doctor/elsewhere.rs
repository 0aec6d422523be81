//! Owns: scenarios in which calls fail for reasons that are no port's: the doctor must not speak of ports.
//! Must not know: the harness.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use twtrace_kit::netns::ip;

use super::exam::examine_with;
use super::load::{First, HERE, cast};
use crate::sandbox::Sandbox;
use crate::scenarios::refused::{binds_refused, connects_refused};

/// Nobody listens there.
const CLOSED: u16 = 10_011;

/// IPv6 is off, and a service is told to connect to ::1; another address is not of this machine. As many calls to 127.0.0.1 succeed.
pub(in crate::scenarios) fn no_local_address(sandbox: &mut Sandbox) -> Result<()> {
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").context("turning IPv6 off")?;
    let cast = cast(sandbox, 6000)?;
    let listener = cast.serve(HERE, 10_007)?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| {
        cast.visit_often(&listener, 17, First::Client)?;
        connects_refused(
            &cast.client,
            SocketAddr::from((Ipv6Addr::LOCALHOST, CLOSED)),
            libc::EADDRNOTAVAIL,
            23,
        )
    })?;
    let finding = diagnosis.only("no_local_address")?;
    finding.is("critical")?.says("fails 23 times before a port is looked for")?.says("Ports are free")?;
    finding.blames("client", cast.client.pid())?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| binds_refused(&cast.client, 29))?;
    let finding = diagnosis.only("no_local_address")?;
    finding.says("bind() of 10.9.9.9")?.says("fails 29 times")?.blames("client", cast.client.pid())?;
    let quiet = examine_with(sandbox, &[], |_| cast.visit_often(&listener, 17, First::Client))?;
    quiet.0.has_no("no_local_address").map(drop)
}

/// A routing rule forbids what is asked for: EACCES, which has nothing to do with ports.
pub(in crate::scenarios) fn not_for_ports(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox, 6000)?;
    ip(&["rule", "add", "to", "10.8.0.0/16", "prohibit"])?;
    let listener = cast.serve(HERE, 10_007)?;
    let (diagnosis, ()) = examine_with(sandbox, &[], |_| {
        cast.visit_often(&listener, 17, First::Client)?;
        connects_refused(
            &cast.client,
            SocketAddr::from((Ipv4Addr::new(10, 8, 1, 1), CLOSED)),
            libc::EACCES,
            31,
        )
    })?;
    let finding = diagnosis.only("refused_not_for_ports")?;
    finding.says("EACCES")?.says("31")?.blames("client", cast.client.pid())?;
    let quiet = examine_with(sandbox, &[], |_| cast.visit_often(&listener, 17, First::Client))?;
    quiet.0.has_no("refused_not_for_ports").map(drop)
}
