//! Owns: how many ephemeral ports sockets hold that no event tells of.
//! Must not know: where sockets come from.

use std::collections::{HashMap, HashSet};

use crate::engine::TupleKey;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::ports::{Ports, State};
use crate::model::settings::Settings;

/// Ephemeral ports in use on each tuple by these sockets. A port counts once, however many inbound connections it serves.
pub(super) fn in_use<'a>(
    netns: u32,
    sockets: impl Iterator<Item = &'a DiagSocket>,
    settings: &Settings,
) -> HashMap<TupleKey, Ports> {
    let mut seen: HashSet<(TupleKey, u16)> = HashSet::new();
    let mut held: HashMap<TupleKey, Ports> = HashMap::new();
    for socket in sockets.filter(|socket| settings.has(socket.sport)) {
        let tuple = TupleKey::from(&socket.conn(netns));
        if seen.insert((tuple, socket.sport)) {
            held.entry(tuple).or_default().add_state(&State::of(socket));
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn socket(timer: u8, sport: u16, dport: u16) -> DiagSocket {
        let here = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        DiagSocket {
            family: 4,
            is_mapped: false,
            state: 1,
            timer,
            saddr: here,
            daddr: here,
            sport,
            dport,
            ifindex: 0,
            expires_ms: 0,
            uid: 0,
            inode: 0,
            cookie: 0,
        }
    }

    #[test]
    fn ports_of_the_range_count_once_a_tuple() {
        let sockets = [
            socket(0, 40_000, 80),
            socket(2, 40_001, 80),
            socket(0, 40_001, 80),
            socket(3, 40_002, 80),
            socket(0, 39_999, 80),
            socket(0, 80, 40_003),
        ];
        let settings = Settings::of_range(40_000, 40_999);
        let held = in_use(7, sockets.iter(), &settings);
        let here = Ipv4Addr::LOCALHOST.into();
        let two = Ports { established: 2, time_wait: 1, ..Ports::default() };
        assert_eq!(held, HashMap::from([(TupleKey { netns: 7, saddr: here, daddr: here, dport: 80 }, two)]));
    }
}
