//! Owns: listed sockets and their summary as text.
//! Must not know: where lines go.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{End, NetnsCount, Socket, Summary};
use crate::model::escape::printable;
use crate::model::event::Via;
use crate::model::figures::{bytes, percent};
use crate::present::live::tuple;

/// Pools that a summary names.
const POOLS: usize = 20;
/// Namespaces that a summary names.
const NAMESPACES: usize = 20;
const POOL_COLUMNS: usize = 43;

// Writing to a String cannot fail, so its results are not looked at here.

/// Appends a table of `sockets`. Ends are written as `ss -n` does: `127.0.0.1:80`, `[::1]:80`, `127.0.0.1%lo:80`,
/// `[::ffff:127.0.0.1]:80`. Whose a socket was, only a trace or a recording knows.
pub fn table(sockets: &[Socket], with_netns: bool, out: &mut String) {
    let ends = |socket: &Socket| (local(socket), end(socket, &socket.remote, ""));
    let rows: Vec<(String, String)> = sockets.iter().map(ends).collect();
    let width = |pick: fn(&(String, String)) -> usize, name: &str| {
        rows.iter().map(pick).max().unwrap_or(0).max(name.len())
    };
    let (left, right) = (width(|row| columns(&row.0), "LOCAL"), width(|row| columns(&row.1), "REMOTE"));
    let netns = |text: &str| if with_netns { format!("{text:>10} ") } else { String::new() };
    let name = netns("NETNS");
    let _ = writeln!(out, "{name}{:9} {:>6} {:left$} {:right$} OWNER", "SUBSTATE", "LEFT", "LOCAL", "REMOTE");
    for (socket, (from, to)) in sockets.iter().zip(&rows) {
        out.push_str(&netns(&socket.netns.to_string()));
        let _ = write!(out, "{:9} {:>5.1}s ", socket.substate, f64::from(socket.expires_ms) / 1000.0);
        put_padded(from, left, out);
        put_padded(to, right, out);
        out.push_str(&owner(socket));
        out.push('\n');
    }
}

fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

fn put_padded(text: &str, width: usize, out: &mut String) {
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(text)) + 1));
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
    format!("{}/{}{mark}", owner.pid, printable(&owner.comm.text()))
}

/// Appends a summary.
pub fn summary_text(summary: &Summary, out: &mut String) {
    for (name, count) in summary.states.iter().filter(|(_, count)| *count != 0) {
        let _ = writeln!(out, "{name:<12} {count:>8}");
    }
    let _ = writeln!(out, "{:<12} {:>8}\n", "all", summary.sockets());
    put_memory(summary, out);
    if summary.namespaces.len() > 1 {
        out.push('\n');
        put_namespaces(summary, out);
    }
    out.push('\n');
    put_pools(summary, out);
}

fn put_memory(summary: &Summary, out: &mut String) {
    let all = summary.in_time_wait + summary.in_fin_wait2;
    let _ = write!(out, "TIME_WAIT sockets: {all}");
    if summary.in_fin_wait2 != 0 {
        let _ = write!(out, ", {} of them in FIN_WAIT2", summary.in_fin_wait2);
    }
    if let [NetnsCount { max_tw_buckets: Some(most), .. }] = summary.namespaces[..] {
        let share = percent(all as f64 / f64::from(most.max(1)));
        let _ = write!(out, "; tcp_max_tw_buckets {most} ({share})");
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

fn put_namespaces(summary: &Summary, out: &mut String) {
    let _ = writeln!(out, "{:>10} {:>9} {:>11} {:>5}", "NETNS", "TIME_WAIT", "MAX_BUCKETS", "USED");
    for row in summary.namespaces.iter().take(NAMESPACES) {
        let most = row.max_tw_buckets.map_or_else(|| "-".to_owned(), |most| most.to_string());
        let share = row.max_tw_buckets.map(|most| row.time_wait as f64 / f64::from(most.max(1)));
        let share = share.map_or_else(|| "-".to_owned(), percent);
        let _ = writeln!(out, "{:>10} {:>9} {most:>11} {share:>5}", row.netns, row.time_wait);
    }
    put_rest(summary.namespaces.len(), NAMESPACES, out);
}

fn put_pools(summary: &Summary, out: &mut String) {
    if summary.pools.is_empty() {
        out.push_str("no tuple uses ephemeral ports\n");
        return;
    }
    let with_netns = summary.namespaces.len() > 1;
    let netns = |text: &str| if with_netns { format!("{text:>10} ") } else { String::new() };
    let _ = writeln!(
        out,
        "{}{:>6} {:>9} {:>6} {:>6} {:>4} TUPLE",
        netns("NETNS"),
        "IN USE",
        "TIME_WAIT",
        "OTHERS",
        "LEFT",
        "USED"
    );
    for pool in summary.pools.iter().take(POOLS) {
        let _ = writeln!(
            out,
            "{}{:>6} {:>9} {:>6} {:>6} {:>4} {}",
            netns(&pool.key.netns.to_string()),
            pool.in_use(),
            pool.time_wait,
            pool.others,
            pool.left(),
            percent(pool.pressure()),
            tuple(&pool.key, POOL_COLUMNS)
        );
    }
    put_rest(summary.pools.len(), POOLS, out);
}

fn put_rest(all: usize, shown: usize, out: &mut String) {
    if all > shown {
        let _ = writeln!(out, "and {} more (--json has them all)", all - shown);
    }
}
