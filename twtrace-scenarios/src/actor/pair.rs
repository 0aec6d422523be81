//! Owns: both ends of a connection, how they come about and in which order they close.
//! Must not know: how an actor is spoken to.

use std::net::SocketAddr;

use anyhow::{Result, anyhow, bail};

use super::{Raw, Sock};

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The end that connected.
    pub client: Sock,
    /// The end that accepted.
    pub server: Sock,
}

/// The actor connects its socket `from` to the listener; its owner accepts.
pub fn complete(from: &Raw, listener: &Raw, to: SocketAddr) -> Result<Pair> {
    let client = from.connect(to)?.map_err(|errno| anyhow!("connect to {to}: errno {errno}"))?;
    let server = listener.accept()?;
    if (server.peer, server.local) != (client.local, client.peer) {
        bail!("{} -> {} was accepted as {} <- {}", client.local, client.peer, server.local, server.peer);
    }
    Ok(Pair { client, server })
}

impl Pair {
    /// Moves a request and a response, and waits until both have come.
    pub fn exchange(&self, request: usize, response: usize) -> Result<()> {
        self.client.send(request)?;
        self.server.receive(request)?;
        self.server.send(response)?;
        self.client.receive(response)
    }
}

/// `first` closes; once its FIN has come, so does `second`. Only so is it certain whose FIN was first.
pub fn close_in_order(first: &Sock, second: &Sock) -> Result<()> {
    first.close()?;
    second.eof()?;
    second.close()
}
