//! Owns: listed sockets and their summary as text.
//! Must not know: where lines go.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::{End, NetnsCount, Socket, Summary};
use crate::model::escape::{printable, process_name};
use crate::model::event::Via;
use crate::model::figures::{bytes, grouped, percent};
use crate::model::pool::Pressure;
use crate::output::paint::{Meaning, Paint};
use crate::present::live::tuple;
use crate::present::table::{Cell, Column, Table};

/// Pools that a summary names.
const POOLS: usize = 20;
/// Namespaces that a summary names.
const NAMESPACES: usize = 20;
const POOL_COLUMNS: usize = 43;

// Writing to a String cannot fail, so its results are not looked at here.

/// Appends a table of `sockets`. Ends are written as `ss -n` does: `127.0.0.1:80`, `[::1]:80`, `127.0.0.1%lo:80`,
/// `[::ffff:127.0.0.1]:80`. Whose a socket was, only a trace or a recording knows. `names` are those of network namespaces, escaped; where
/// there are none, namespaces are not told apart.
pub fn table(sockets: &[Socket], names: &HashMap<u32, String>, paint: Paint, out: &mut String) {
    let columns = ["SUBSTATE", "LEFT", "LOCAL", "REMOTE", "OWNER"].map(|title| match title {
        "LEFT" => Column::numbers(title),
        _ => Column::words(title),
    });
    let netns = (!names.is_empty()).then(|| Column::words("NETNS"));
    let mut table = Table::new(netns.into_iter().chain(columns));
    for socket in sockets {
        let left = format!("{:.1}s", f64::from(socket.expires_ms) / 1000.0);
        let cells = [
            socket.substate.to_string(),
            left,
            local(socket),
            end(socket, &socket.remote, ""),
            owner(socket),
        ];
        let name = names.get(&socket.netns).cloned().unwrap_or_else(|| socket.netns.to_string());
        let netns = (!names.is_empty()).then_some(name);
        table.push(netns.into_iter().chain(cells).map(Cell::from));
    }
    table.put(paint, out);
}

fn local(socket: &Socket) -> String {
    match (&socket.ifname, socket.ifindex) {
        (Some(name), _) => end(socket, &socket.local, &format!("%{}", printable(name))),
        (None, 0) => end(socket, &socket.local, ""),
        (None, index) => end(socket, &socket.local, &format!("%if{index}")),
    }
}

fn end(socket: &Socket, end: &End, interface: &str) -> String {
    match end.address {
        IpAddr::V4(address) if socket.is_mapped => {
            format!("[{}]{interface}:{}", address.to_ipv6_mapped(), end.port)
        }
        IpAddr::V4(address) => format!("{address}{interface}:{}", end.port),
        IpAddr::V6(address) => format!("[{address}]{interface}:{}", end.port),
    }
}

/// `1234/nginx`.
fn owner(socket: &Socket) -> String {
    let owner = socket.known.as_ref().and_then(|live| Some((live, live.owner?)));
    let Some((live, owner)) = owner else { return "-".to_owned() };
    // The kernel closed it by itself: the opener stands in.
    let mark = if live.via == Via::Opener { " (opener)" } else { "" };
    format!("{}/{}{mark}", owner.pid, process_name(&owner.comm.text()))
}

/// Appends a summary.
pub fn summary_text(summary: &Summary, paint: Paint, out: &mut String) {
    let mut states = Table::new([Column::words("STATE").at_least(11), Column::numbers("SOCKETS")]);
    let met = summary.states.iter().copied().filter(|(_, count)| *count != 0);
    for (name, count) in met.chain([("all", summary.sockets())]) {
        states.push([name.into(), grouped(count).into()]);
    }
    states.put(paint, out);
    out.push('\n');
    put_memory(summary, out);
    if summary.namespaces.len() > 1 {
        out.push('\n');
        put_namespaces(summary, paint, out);
    }
    out.push('\n');
    put_pools(summary, paint, out);
}

fn put_memory(summary: &Summary, out: &mut String) {
    let all = summary.in_time_wait + summary.in_fin_wait2;
    let _ = write!(out, "TIME_WAIT sockets: {}", grouped(all));
    if summary.in_fin_wait2 != 0 {
        let _ = write!(out, ", {} of them in FIN_WAIT2", grouped(summary.in_fin_wait2));
    }
    if let [NetnsCount { max_tw_buckets: Some(most), .. }] = summary.namespaces[..] {
        let share = percent(all as f64 / f64::from(most.max(1)));
        let _ = write!(out, "; tcp_max_tw_buckets {} ({share})", grouped(most.into()));
    }
    let _ = match &summary.slab {
        Some(slab) => {
            writeln!(
                out,
                "\nmemory: {} of slab on this machine, {} each",
                bytes(slab.bytes),
                bytes(slab.object_bytes)
            )
        }
        None => writeln!(out, "\nmemory: not known (/proc/slabinfo can be read by root only)"),
    };
}

fn put_namespaces(summary: &Summary, paint: Paint, out: &mut String) {
    let titles = ["TIME_WAIT", "MAX_BUCKETS", "USED"].map(Column::numbers);
    let mut table = Table::new([Column::words("NETNS")].into_iter().chain(titles));
    for row in summary.namespaces.iter().take(NAMESPACES) {
        let most = row.max_tw_buckets.map_or_else(|| "-".to_owned(), |most| grouped(most.into()));
        let share = row.max_tw_buckets.map(|most| row.time_wait as f64 / f64::from(most.max(1)));
        let used = share.map_or_else(|| "-".into(), used);
        table.push([row.name.as_str().into(), grouped(row.time_wait).into(), most.into(), used]);
    }
    table.put(paint, out);
    put_rest(summary.namespaces.len(), NAMESPACES, out);
}

/// How full something is; what is nearly full stands out.
fn used(share: f64) -> Cell {
    let meaning = match share {
        1.0.. => Meaning::Critical,
        0.8.. => Meaning::Warning,
        _ => Meaning::Plain,
    };
    Cell::new(percent(share), meaning)
}

fn put_pools(summary: &Summary, paint: Paint, out: &mut String) {
    if summary.pools.is_empty() {
        out.push_str("no tuple uses ephemeral ports\n");
        return;
    }
    let with_netns = summary.namespaces.len() > 1;
    let name = |netns: u32| {
        let row = summary.namespaces.iter().find(|row| row.netns == netns);
        row.map_or_else(|| netns.to_string(), |row| row.name.clone())
    };
    let titles = ["IN USE", "TIME_WAIT", "OTHERS", "LEFT", "USED"].map(Column::numbers);
    let netns = with_netns.then(|| Column::words("NETNS"));
    let tuples = Column::words("TUPLE");
    let mut table = Table::new(netns.into_iter().chain(titles).chain([tuples]));
    for pool in summary.pools.iter().take(POOLS) {
        let netns = with_netns.then(|| Cell::from(name(pool.key.netns)));
        let Pressure { in_use, time_wait, .. } = pool.pressure;
        let counts = [in_use, time_wait, in_use - time_wait, pool.pressure.left()];
        let counts = counts.map(|count| Cell::from(grouped(count.into())));
        let rest = [used(pool.pressure.fraction()), tuple(&pool.key, POOL_COLUMNS).into()];
        table.push(netns.into_iter().chain(counts).chain(rest));
    }
    table.put(paint, out);
    put_rest(summary.pools.len(), POOLS, out);
}

fn put_rest(all: usize, shown: usize, out: &mut String) {
    if all > shown {
        let _ = writeln!(out, "and {} more (--json has them all)", grouped((all - shown) as u64));
    }
}
