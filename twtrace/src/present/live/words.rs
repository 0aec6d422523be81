//! Owns: figures as short words.
//! Must not know: in which table they stand.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Frame;
use crate::engine::{Pressure, ProcessKey, Snapshot, Target, TupleKey, TupleRow};
use crate::model::address;
use crate::model::escape::{self, process_name};
use crate::model::event::Loss;
use crate::model::figures::{bytes, percent, span};
use crate::model::limitation::Limitation;

/// `10.0.0.9:5432` or `[2001:db8::1]:443`, the middle of the address left out where it is wider than `width`.
fn end(address: IpAddr, port: u16, width: usize) -> String {
    let address = match address {
        IpAddr::V4(address) => {
            let mut text = String::with_capacity("255.255.255.255:65535".len());
            address::push(address, &mut text);
            // Writing to a String cannot fail.
            let _ = write!(text, ":{port}");
            return text;
        }
        IpAddr::V6(address) => address,
    };
    let (address, port) = (address.to_string(), port.to_string());
    // Brackets and colon.
    let room = width.saturating_sub(port.len() + 3).max(5);
    if address.len() <= room {
        return format!("[{address}]:{port}");
    }
    let half = (room - 1) / 2;
    format!("[{}…{}]:{port}", &address[..half], &address[address.len() - half..])
}

/// Who draws from a pool: `97/python3`, `97/python3? (inferred)` where that is only most likely, `unknown`. Escaped.
pub fn drawer(row: &TupleRow, snapshot: &Snapshot) -> String {
    let name = |key: &ProcessKey| format!("{}/{}", key.pid, process_name(&key.comm.text()));
    match (row.main.filter(|main| !main.is_unknown()), snapshot.inferred.get(&Target::Tuple(row.key))) {
        (Some(main), _) => name(&main),
        (None, Some(inferred)) => format!("{}? (inferred)", name(inferred)),
        (None, None) => "unknown".to_owned(),
    }
}

/// What cannot be seen, each kind once.
pub fn not_seen(limitations: &[Limitation]) -> String {
    let mut words: Vec<&str> = limitations.iter().map(|limitation| limitation.what.words()).collect();
    words.sort_unstable();
    words.dedup();
    words.join("; ")
}

/// How many events were lost, and what else was: `lost 2 (+ 1 owners, 3 runs)`.
pub fn lost(loss: &Loss) -> String {
    let more = [(loss.owners, "owners"), (loss.missed_runs, "runs")];
    let more = more.iter().filter(|(count, _)| *count != 0).map(|(count, what)| format!("{count} {what}"));
    let more: Vec<String> = more.collect();
    let more = if more.is_empty() { String::new() } else { format!(" (+ {})", more.join(", ")) };
    format!("lost {}{more}", loss.events())
}

/// How many live, out of how many that may, and what memory they take. In `width` columns, if that can be.
pub fn living(frame: &Frame, width: usize) -> String {
    let (snapshot, total) = (&frame.snapshot, &frame.snapshot.total);
    let slab = frame.slab_bytes.map(|slab_bytes| format!(", slab {}", bytes(slab_bytes))).unwrap_or_default();
    let rest = format!(", peak {}{slab}", total.peak_live);
    let Some(fullest) = &snapshot.fullest else { return format!("{}{rest}", total.live) };
    let share = percent(fullest.live as f64 / f64::from(fullest.max_tw_buckets.max(1)));
    let full = format!("{} of {}", fullest.live, fullest.max_tw_buckets);
    if fullest.live == total.live {
        return format!("{full} tcp_max_tw_buckets ({share}){rest}");
    }
    let named = format!("{}{rest}, netns {}: {full} ({share})", total.live, name(snapshot, fullest.netns));
    if named.len() <= width { named } else { format!("{}{rest}, a netns: {full} ({share})", total.live) }
}

/// What a network namespace is called, escaped; its inode where it has no name, or is not among the snapshot's.
fn name(snapshot: &Snapshot, netns: u32) -> String {
    let row = snapshot.netns.iter().find(|row| row.key == netns);
    escape::netns(row.and_then(|row| row.capacity.as_ref()?.name.as_deref()), netns)
}

/// When a pool of ports is used up, from what [`crate::engine::Pressure`] says.
pub fn until(pressure: &Pressure) -> String {
    match pressure.full_in_s {
        Some(0.0) => "none left".to_owned(),
        Some(seconds) => format!("full in {}", span(seconds)),
        None if !pressure.has_rates => "how fast it fills is not known".to_owned(),
        None => "not filling".to_owned(),
    }
}

/// Why TIME_WAIT sockets ended, and how often; and which reasons are asked for, if not all are.
pub fn reasons(snapshot: &Snapshot) -> String {
    let counts = &snapshot.total.counts;
    let met: Vec<String> = counts.reasons().map(|(reason, count)| format!("{reason} {count}")).collect();
    let text = if met.is_empty() { "none has ended yet".to_owned() } else { met.join(", ") };
    if snapshot.only.is_empty() {
        return text;
    }
    let only: Vec<&str> = snapshot.only.iter().map(|reason| reason.word()).collect();
    format!("{text} (asked for: {})", only.join(", "))
}

/// What a process deals with: `10.0.0.9:5432`, `serves :80`.
pub fn target(target: &Target, width: usize) -> String {
    match target {
        Target::Tuple(tuple) => end(tuple.daddr, tuple.dport, width),
        Target::Port(port) => format!("serves :{}", port.sport),
    }
}

/// `10.0.0.1 > 10.0.0.9:5432`
pub fn tuple(key: &TupleKey, width: usize) -> String {
    let remote = end(key.daddr, key.dport, usize::MAX);
    let mut text = String::with_capacity("255.255.255.255 > ".len() + remote.len());
    match key.saddr {
        IpAddr::V4(address) => address::push(address, &mut text),
        // Writing to a String cannot fail.
        IpAddr::V6(address) => drop(write!(text, "[{address}]")),
    }
    text.push_str(" > ");
    text.push_str(&remote);
    if text.len() <= width {
        return text;
    }
    // The remote end says more than the local one.
    end(key.daddr, key.dport, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_lost_is_not_spoken_of() {
        let loss = |created, owners, missed_runs| Loss { created, owners, missed_runs, ..Loss::default() };
        for (loss, want) in [
            (loss(0, 0, 0), "lost 0"),
            (loss(2, 0, 1), "lost 2 (+ 1 runs)"),
            (loss(0, 3, 0), "lost 0 (+ 3 owners)"),
            (loss(0, 3, 1), "lost 0 (+ 3 owners, 1 runs)"),
        ] {
            assert_eq!(lost(&loss), want);
        }
    }

    #[test]
    fn ends_fit() {
        let tuple_of = |saddr: &str, daddr: &str| TupleKey {
            netns: 1,
            saddr: saddr.parse().unwrap(),
            daddr: daddr.parse().unwrap(),
            dport: 65_535,
        };
        let four = tuple_of("10.0.0.1", "255.255.255.255");
        assert_eq!(target(&Target::Tuple(four), 21), "255.255.255.255:65535");
        assert_eq!(tuple(&four, 40), "10.0.0.1 > 255.255.255.255:65535");
        let six = tuple_of("2001:db8::1", "2001:db8:1111:2222:3333:4444:5555:6666");
        let cut = target(&Target::Tuple(six), 21);
        assert_eq!((cut.as_str(), cut.chars().count()), ("[2001:d…5:6666]:65535", 21));
        assert_eq!(tuple(&six, 30), "[2001:db8:1…:5555:6666]:65535");
    }
}
