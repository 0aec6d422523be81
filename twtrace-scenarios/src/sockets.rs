//! Owns: sockets of every kind in the calling process's network namespace, for scenarios that do not ask whose they are.
//! Must not know: scenarios, actors, twtrace.

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Socket, Type};

/// Sockets of every kind. [`Crowd::disperse`] closes those that are open in good order.
pub(crate) struct Crowd {
    /// TIME_WAIT sockets, in either substate.
    pub time_waits: usize,
    /// Ports in use towards 127.0.0.1:10007.
    pub pool_in_use: u64,
    /// Of those, in TIME_WAIT sockets.
    pub pool_in_time_wait: u64,
    /// Connections that are open.
    established: Vec<(Socket, Socket)>,
    /// Listeners, and peers of orphans in FIN_WAIT2.
    _open: Vec<Socket>,
}

impl Crowd {
    /// Makes them: connections to 10007 and 10011, which listen on one family each, and to 10009, which takes both.
    pub(crate) fn gather() -> Result<Self> {
        let v4 = listen((Ipv4Addr::UNSPECIFIED, 10007).into())?;
        let v6 = listen((Ipv6Addr::LOCALHOST, 10011).into())?;
        let both = listen((Ipv6Addr::UNSPECIFIED, 10009).into())?;
        let (here, there) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
        let (mut open, mut established) = (Vec::new(), Vec::new());
        for _ in 0..13 {
            close(connect(&v4, Domain::IPV4, (here, 10007).into(), None)?)?;
        }
        for _ in 0..5 {
            close(connect(&v4, Domain::IPV4, (there, 10007).into(), None)?)?;
        }
        for _ in 0..11 {
            close(connect(&v6, Domain::IPV6, (Ipv6Addr::LOCALHOST, 10011).into(), None)?)?;
        }
        for _ in 0..7 {
            close(connect(&v4, Domain::IPV6, (here.to_ipv6_mapped(), 10007).into(), None)?)?;
        }
        for _ in 0..3 {
            close(connect(&v4, Domain::IPV4, (here, 10007).into(), Some(b"lo"))?)?;
        }
        for _ in 0..5 {
            // The server's end is an IPv6 socket; it closes first.
            let (client, server) = connect(&both, Domain::IPV4, (here, 10009).into(), None)?;
            close((server, client))?;
        }
        for _ in 0..17 {
            // The peer keeps its end open: an orphan in FIN_WAIT2.
            let (client, server) = connect(&v4, Domain::IPV4, (here, 10007).into(), None)?;
            drop(client);
            ensure!((&server).read(&mut [0])? == 0, "data came where the FIN was due");
            open.push(server);
        }
        for _ in 0..2 {
            established.push(connect(&v4, Domain::IPV4, (here, 10007).into(), None)?);
        }
        open.extend([v4, v6, both]);
        let pool_in_time_wait = 13 + 7 + 3 + 17;
        let time_waits = 13 + 5 + 11 + 7 + 3 + 5 + 17;
        let pool_in_use = pool_in_time_wait + established.len() as u64;
        Ok(Self { time_waits, pool_in_use, pool_in_time_wait, established, _open: open })
    }

    /// Closes what is open; gives how many TIME_WAIT sockets that makes.
    pub(crate) fn disperse(self) -> Result<usize> {
        let made = self.established.len();
        self.established.into_iter().try_for_each(close)?;
        Ok(made)
    }
}

fn listen(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&to.into()).with_context(|| format!("bind to {to}"))?;
    socket.listen(64)?;
    Ok(socket)
}

/// Both ends of a connection, the one that connects first.
fn connect(
    listener: &Socket,
    domain: Domain,
    to: SocketAddr,
    device: Option<&[u8]>,
) -> Result<(Socket, Socket)> {
    let client = Socket::new(domain, Type::STREAM, None)?;
    if device.is_some() {
        client.bind_device(device).context("binding to an interface")?;
    }
    client.connect(&to.into()).with_context(|| format!("connect to {to}"))?;
    Ok((client, listener.accept()?.0))
}

/// The first end closes first.
fn close((first, second): (Socket, Socket)) -> Result<()> {
    drop(first);
    ensure!((&second).read(&mut [0])? == 0, "data came where the FIN was due");
    Ok(())
}
