//! Owns: clients and servers that put a pool of ports under load, one connection after the other.
//! Must not know: the doctor.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use twtrace_kit::actor::{Actor, Attempt, Pair, Raw, close_in_order};
use twtrace_kit::netns::{ip, set_ipv4};
use twtrace_kit::wait::{PATIENCE, until, until_every};

use crate::sandbox::Sandbox;

/// Connections that fail, once none succeeds any more.
pub(super) const FAILURES: usize = 13;
/// How soon a connect() that failed is tried again where a rate is measured: each time adds up to so much to a wave.
const RETRY: Duration = Duration::from_millis(1);
/// Bytes of a request and of its answer.
const SIZES: (usize, usize) = (101, 211);
pub(super) const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Nobody's addresses, delivered to this machine by a route and so not among its own.
pub(super) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
/// An address of this machine that is no loopback address.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

/// A client, a server, and the destinations that it serves.
pub(super) struct Cast {
    pub(super) client: Actor,
    pub(super) server: Actor,
}

/// A sandbox with so many ephemeral ports from 40000 on: an even number, as of an odd one connect() looks at one less, another one each time.
pub(super) fn cast(sandbox: &mut Sandbox, ports: u16) -> Result<Cast> {
    ensure!(ports.is_multiple_of(2), "{ports} ports: connect() finds the last of an odd number by chance");
    set_ipv4("ip_local_port_range", &format!("40000 {}", 40000 + ports - 1))?;
    Ok(Cast { server: sandbox.actor("server")?, client: sandbox.actor("client")? })
}

/// Gives the calling process's namespace the address [`OWN`], and a route that brings [`ELSEWHERE`] to it.
pub(super) fn add_addresses() -> Result<()> {
    ip(&["addr", "add", "10.8.0.1/32", "dev", "lo"])?;
    ip(&["route", "add", "local", "10.9.0.0/24", "dev", "lo", "src", "10.8.0.1"])
}

impl Cast {
    /// The server listens on this, too.
    pub(super) fn serve(&self, address: impl Into<IpAddr>, port: u16) -> Result<Raw> {
        self.server.listen(SocketAddr::new(address.into(), port))
    }

    /// connect(), accept().
    pub(super) fn open(&self, listener: &Raw) -> Result<Attempt<Pair>> {
        self.open_from(self.client.socket(false, false)?, listener, listener.local()?)
    }

    fn open_from(&self, raw: Raw, listener: &Raw, to: SocketAddr) -> Result<Attempt<Pair>> {
        match raw.connect(to)? {
            Ok(client) => Ok(Ok(Pair { client, server: listener.accept()? })),
            Err(errno) => {
                raw.close()?;
                Ok(Err(errno))
            }
        }
    }

    /// One connection with `requests` requests, closed by the client first, or by the server. `Err`: no port.
    pub(super) fn visit(&self, listener: &Raw, requests: usize, first: First) -> Result<Attempt<()>> {
        match self.open(listener)? {
            Ok(pair) => end(&pair, requests, first).map(Ok),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// One connection from each of these ports, one request each, the server closing first. Ports that the kernel chooses may come
    /// again (the place where it begins moves every 10 s: secure_ipv4_port_ephemeral(), net/core/secure_seq.c, 5.10 to
    /// 7.3), and then a SYN takes the server's TIME_WAIT socket away.
    pub(super) fn visit_from_each(&self, sandbox: &Sandbox, ports: Range<u16>, listener: &Raw) -> Result<()> {
        for port in ports {
            end(&sandbox.pair_from((HERE, port), &self.client, listener)?, 1, First::Server)?;
        }
        Ok(())
    }

    /// So many connections, one request each.
    pub(super) fn visit_often(&self, listener: &Raw, count: usize, first: First) -> Result<()> {
        for turn in 0..count {
            if let Err(errno) = self.visit(listener, 1, first)? {
                bail!("connection {turn}: errno {errno}");
            }
        }
        Ok(())
    }

    /// Connections until one is refused: all ports are in use at that moment.
    pub(super) fn visit_until_one_fails(&self, listener: &Raw, first: First) -> Result<()> {
        until("a connect() that fails", PATIENCE, || {
            for _ in 0..1009 {
                if self.visit(listener, 1, first)?.is_err() {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
    }

    /// Connections to one listener after the other until all refuse [`FAILURES`] times; gives how many there were.
    pub(super) fn visit_until_full(&self, listeners: &[Raw], requests: usize) -> Result<usize> {
        let mut made = 0;
        let mut failed = 0;
        for listener in listeners.iter().cycle() {
            match self.visit(listener, requests, First::Client)? {
                Ok(()) => (made, failed) = (made + 1, 0),
                Err(libc::EADDRNOTAVAIL) => failed += 1,
                Err(errno) => bail!("connection {made}: errno {errno}"),
            }
            if failed == FAILURES * listeners.len() {
                break;
            }
        }
        Ok(made)
    }

    /// Connections that stay open, to one listener after the other until all refuse.
    pub(super) fn open_until_full(&self, listeners: &[Raw]) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        let mut failed = 0;
        for listener in listeners.iter().cycle() {
            match self.open(listener)? {
                Ok(pair) => {
                    failed = 0;
                    pairs.push(pair);
                }
                Err(libc::EADDRNOTAVAIL) => failed += 1,
                Err(errno) => bail!("connection {}: errno {errno}", pairs.len()),
            }
            if failed == FAILURES * listeners.len() {
                break;
            }
        }
        Ok(pairs)
    }

    /// Connections from a source address that is bound first, to one listener after the other, until all refuse.
    pub(super) fn open_bound(&self, from: Ipv4Addr, listeners: &[Raw], no_port: bool) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        let mut failed = 0;
        for listener in listeners.iter().cycle() {
            let raw = self.client.socket(false, false)?;
            if no_port {
                raw.bind_no_port()?;
            }
            let made = match raw.bind((from, 0))? {
                Ok(()) => self.open_from(raw, listener, listener.local()?)?,
                Err(errno) => {
                    raw.close()?;
                    Err(errno)
                }
            };
            match made {
                Ok(pair) => {
                    failed = 0;
                    pairs.push(pair);
                }
                Err(libc::EADDRINUSE | libc::EADDRNOTAVAIL) => failed += 1,
                Err(errno) => bail!("connection {}: errno {errno}", pairs.len()),
            }
            if failed == FAILURES * listeners.len() {
                break;
            }
        }
        Ok(pairs)
    }

    /// Connections a second that a pool of `ports` ports serves when it is never left idle: over `waves` times all of its ports,
    /// after the first time.
    pub(super) fn rate(&self, listener: &Raw, ports: usize, waves: usize) -> Result<f64> {
        let began = |made: usize| -> Result<Instant> {
            for _ in 0..made {
                until_every(RETRY, "a port that is free again", PATIENCE, || {
                    Ok(self.visit(listener, 1, First::Client)?.ok())
                })?;
            }
            Ok(Instant::now())
        };
        let (first, last) = (began(ports)?, began(ports * waves)?);
        Ok((ports * waves) as f64 / (last - first).as_secs_f64().max(Duration::from_millis(1).as_secs_f64()))
    }
}

/// So many requests, and the end.
fn end(pair: &Pair, requests: usize, first: First) -> Result<()> {
    (0..requests).try_for_each(|_| pair.exchange(SIZES.0, SIZES.1))?;
    match first {
        First::Client => close_in_order(&pair.client, &pair.server),
        First::Server => close_in_order(&pair.server, &pair.client),
    }
}

/// Who closes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Client,
    Server,
}

/// Ends these connections by RSTs: without TIME_WAIT.
pub(super) fn abort_all(pairs: &[Pair]) -> Result<()> {
    pairs.iter().try_for_each(|pair| {
        pair.client.linger_zero()?;
        pair.client.close()?;
        pair.server.close()
    })
}
