//! Owns: waiting until TIME_WAIT sockets are gone: what counts, and what `--tuple` means there, how long that will take, when to look again,
//! when to give up.
//! Must not know: how sockets are listed, what time it is, where its words go: all three are handed in.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::model::escape::printable;
use crate::present::list::{NetnsSockets, Socket};

/// Which connections draw from one pool of ports: those from one local address to one remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolFilter {
    /// Local address; `None` is any.
    pub saddr: Option<IpAddr>,
    /// Remote address.
    pub daddr: IpAddr,
    /// Remote port.
    pub dport: u16,
}

impl PoolFilter {
    /// Whether a socket holds one of its ports.
    pub fn has(&self, socket: &Socket) -> bool {
        self.saddr.is_none_or(|saddr| saddr == socket.local.address)
            && self.daddr == socket.remote.address
            && self.dport == socket.remote.port
    }
}

impl FromStr for PoolFilter {
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

/// Sockets that are due still need the kernel's timer wheel to turn: looking more often than this only costs.
const SHORTEST: Duration = Duration::from_millis(100);

/// What is waited for, and for how long.
#[derive(Clone, Debug)]
pub struct Goal {
    /// So many sockets may be left.
    pub below: usize,
    /// Only sockets on one of these pools count; none: all count.
    pub pools: Vec<PoolFilter>,
    /// When to give up.
    pub timeout: Duration,
    /// The longest time between two looks.
    pub interval: Duration,
}

/// What a look showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Sockets that count.
    pub sockets: usize,
    /// Until few enough are left if no more are made, `None` where that is so already.
    pub enough_in: Option<Duration>,
    /// Until the last one's timer fires; zero where there is none.
    pub last_in: Duration,
}

/// How the waiting came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Few enough are left.
    Reached(Left),
    /// Too many were left when time was up.
    TimedOut(Left),
}

impl Goal {
    /// Counts what was seen.
    pub fn left(&self, seen: &[NetnsSockets]) -> Left {
        let counts =
            |socket: &Socket| self.pools.is_empty() || self.pools.iter().any(|pool| pool.has(socket));
        let sockets = seen.iter().flat_map(NetnsSockets::time_wait).filter(counts);
        let mut expiries: Vec<u32> = sockets.map(|socket| socket.expires_ms).collect();
        expiries.sort_unstable();
        let after = |ms: Option<&u32>| Duration::from_millis(ms.copied().unwrap_or(0).into());
        let too_many = expiries.len().checked_sub(self.below + 1);
        Left {
            sockets: expiries.len(),
            enough_in: too_many.map(|last| after(expiries.get(last))),
            last_in: after(expiries.last()),
        }
    }

    /// Looks, and looks again, until few enough are left or time is up. `elapsed` is the time since the waiting began;
    /// `pause` returns after about so long; `told` hears of every count that showed too many.
    ///
    /// # Errors
    /// What `count` fails with.
    pub fn wait<E>(
        &self,
        mut count: impl FnMut() -> Result<Left, E>,
        elapsed: impl Fn() -> Duration,
        mut pause: impl FnMut(Duration),
        mut told: impl FnMut(&Left),
    ) -> Result<Outcome, E> {
        loop {
            let left = count()?;
            let Some(enough_in) = left.enough_in else { return Ok(Outcome::Reached(left)) };
            let remaining = self.timeout.saturating_sub(elapsed());
            if remaining.is_zero() {
                return Ok(Outcome::TimedOut(left));
            }
            told(&left);
            pause(enough_in.clamp(SHORTEST, self.interval.max(SHORTEST)).min(remaining));
        }
    }
}

#[cfg(test)]
mod tests;
