//! Owns: what is said of that which was seen and not kept, as there was no room for it.
//! Must not know: what there is room for.

use crate::model::figures::count;
use crate::recording::lists::LeftOut;

/// In words for a user, of all namespaces together; `None` where all was kept.
pub fn said(all: impl Iterator<Item = LeftOut>) -> Option<String> {
    let sum = all.fold(LeftOut::default(), |sum, one| LeftOut {
        pools: sum.pools.saturating_add(one.pools),
        ports: sum.ports.saturating_add(one.ports),
        crowd: sum.crowd.saturating_add(one.crowd),
        connections: sum.connections.saturating_add(one.connections),
    });
    let LeftOut { pools, ports, crowd, connections } = sum;
    let told = [
        (pools, "pool", " of ports"),
        (ports, "local port", ""),
        (crowd, "socket", " on ports when a call had failed"),
        (connections, "connection", " when a call had failed"),
    ];
    let told = told.into_iter().filter(|(number, ..)| *number != 0);
    let words: Vec<String> =
        told.map(|(number, what, which)| format!("{}{which}", count(number, what))).collect();
    (!words.is_empty()).then(|| {
        format!("{}: there was no room for them, and the fullest destinations came first", words.join(", "))
    })
}
