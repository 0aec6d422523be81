//! Owns: what `--tuple` means: a pool of ports without its network namespace.
//! Must not know: the command line, how sockets are listed.

use std::net::IpAddr;
use std::str::FromStr;

use crate::model::escape::printable;
use crate::present::list::Socket;

/// Which connections draw from one pool of ports: those from one local address to one remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Local address; `None` is any.
    pub saddr: Option<IpAddr>,
    /// Remote address.
    pub daddr: IpAddr,
    /// Remote port.
    pub dport: u16,
}

impl Pool {
    /// Whether a socket holds one of its ports.
    pub fn has(&self, socket: &Socket) -> bool {
        self.saddr.is_none_or(|saddr| saddr == socket.local.address)
            && self.daddr == socket.remote.address
            && self.dport == socket.remote.port
    }
}

impl FromStr for Pool {
    type Err = String;

    /// `SADDR,DADDR,DPORT`, or `DADDR,DPORT` for any local address.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let form = "SADDR,DADDR,DPORT such as 10.0.0.1,10.0.0.9,5432, nor DADDR,DPORT";
            format!("'{}' is not a tuple {form}", printable(text))
        };
        let address = |word: &str| bare(word.trim()).parse::<IpAddr>().map(|ip| ip.to_canonical());
        let address = |word: &str| address(word).map_err(|_| wrong());
        let words: Vec<&str> = text.split(',').collect();
        let (saddr, daddr, dport) = match words[..] {
            [saddr, daddr, dport] => (Some(address(saddr)?), address(daddr)?, dport),
            [daddr, dport] => (None, address(daddr)?, dport),
            _ => return Err(wrong()),
        };
        Ok(Self { saddr, daddr, dport: dport.trim().parse().map_err(|_| wrong())? })
    }
}

/// An address of IPv6 is printed in brackets.
fn bare(word: &str) -> &str {
    let inside = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inside.filter(|inside| inside.contains(':')).unwrap_or(word)
}
