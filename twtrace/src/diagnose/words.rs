//! Owns: numbers and names of the doctor's as short words.
//! Must not know: where they stand.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::facts::{AbortReasons, Process, Share, Tuple};
use crate::model::escape::{printable, process_name};
pub(super) use crate::model::figures::{count, grouped, short_time, span};

/// `0`, `0.02`, `1.5`, `47.3`, `1,075`: whole from 100 on.
pub(super) fn number(value: f64) -> String {
    let rounded = value.max(0.0).round();
    if value >= 99.95 || (value - rounded).abs() < 1e-9 {
        return grouped(rounded as u64);
    }
    if value >= 0.95 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// `28,232`, or that nobody knows: goes before `ports`.
pub(super) fn out_of(ports: Option<u32>) -> String {
    ports.map_or_else(|| "an unknown number of".to_owned(), |ports| grouped(ports.into()))
}

/// `once`, `7 times`.
pub(super) fn times(times: u64) -> String {
    if times == 1 { "once".to_owned() } else { format!("{} times", grouped(times)) }
}

/// `20000, 20002, 1000 to 1023`: of ports in order. The rest of many is counted.
pub(super) fn ranges(ports: &[u16]) -> String {
    /// Ranges that are told.
    const TOLD: usize = 5;
    let mut all: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match all.last_mut() {
            Some((_, high)) if *port - *high <= 1 => *high = *port,
            _ => all.push((*port, *port)),
        }
    }
    let word = |(low, high): &(u16, u16)| match high - low {
        0 => low.to_string(),
        1 => format!("{low}, {high}"),
        _ => format!("{low} to {high}"),
    };
    let mut words: Vec<String> = all.iter().take(TOLD).map(word).collect();
    if all.len() > TOLD {
        words.push("…".to_owned());
    }
    words.join(", ")
}

/// `10.0.0.9:5432`, `[2001:db8::1]:443`.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// `10.0.0.9:5432`: where a pool's connections go.
pub(super) fn peer(tuple: &Tuple) -> String {
    end(tuple.daddr, tuple.dport)
}

/// `10.0.0.1 > 10.0.0.9:5432`.
pub(super) fn tuple(tuple: &Tuple) -> String {
    format!("{} > {}", tuple.saddr, peer(tuple))
}

/// `checkout-api (pid 42)`, escaped.
pub(super) fn process(process: &Process) -> String {
    match process.pid {
        Some(pid) => format!("{} (pid {pid})", process_name(&process.comm)),
        None => UNSEEN.to_owned(),
    }
}

/// `13 with SO_LINGER 0, 17 with data that nobody had read`.
pub(super) fn aborts(reasons: &AbortReasons) -> String {
    let AbortReasons { linger, unread, later } = *reasons;
    let known =
        format!("{} with SO_LINGER 0, {} with data that nobody had read", grouped(linger), grouped(unread));
    match later {
        0 => known,
        _ => format!(
            "{known}, {} as data came after close(), or with SO_LINGER 0 that no event told of",
            grouped(later)
        ),
    }
}

/// Whoever closed before the trace began, or whose owner was lost.
pub(super) const UNSEEN: &str = "a process that twtrace did not see";

/// `php-fpm[42]`, `php-fpm[42] +7`: who fails most, and else who of those that are known holds most; how many other processes do. Whoever was
/// not seen is nobody who can be counted. Escaped.
pub(super) fn culprit(shares: &[Share]) -> String {
    let fails = shares.iter().any(|share| share.failed != 0);
    let part: fn(&Share) -> u64 =
        if fails { |share| share.failed } else { |share| share.held() + share.created + share.lost };
    let known = || shares.iter().filter(|share| share.process.pid.is_some() && part(share) != 0);
    let unseen = shares.iter().filter(|share| fails && share.process.pid.is_none()).map(part).max();
    let first = known().reduce(|a, b| if part(b) > part(a) { b } else { a });
    let first = first.filter(|first| part(first) >= unseen.unwrap_or(0));
    let Some(Process { pid: Some(pid), comm, .. }) = first.map(|share| &share.process) else {
        return "unknown process".to_owned();
    };
    let name = format!("{}[{pid}]", process_name(comm));
    match known().count() - 1 {
        0 => name,
        more => format!("{name} +{}", grouped(more as u64)),
    }
}

/// Who has a part in what a sentence counts: the program with most of it, how many more, and what nobody knows the owner of, with how
/// much that is. `part` says how much of it a share has; one without any is not named, whatever else it did. `unseen` comes to what the
/// shares without a name have.
pub(super) fn holders(shares: &[Share], part: fn(&Share) -> u64, unseen: u64) -> String {
    let has_part = |share: &&Share| share.process.pid.is_some() && part(share) != 0;
    let unnamed = shares.iter().filter(|share| share.process.pid.is_none()).map(part);
    let unseen = unseen.saturating_add(unnamed.sum());
    // Workers of one program are one line. There may be tens of thousands.
    let mut programs: Vec<(Vec<&Process>, u64)> = Vec::new();
    let mut indices = HashMap::new();
    let mut met = HashSet::new();
    for share in shares.iter().filter(has_part) {
        let Process { comm, container, pid, .. } = &share.process;
        let index = *indices.entry((comm, container)).or_insert(programs.len());
        if index == programs.len() {
            programs.push((Vec::new(), 0));
        }
        let (all, sum) = &mut programs[index];
        // exec() makes another program of the same process, which is one of either then.
        all.extend(met.insert((index, pid, share.process.started())).then_some(&share.process));
        *sum += part(share);
    }
    let first = programs.iter().reduce(|a, b| if b.1 > a.1 { b } else { a });
    let Some((first, _)) = first else { return UNSEEN.to_owned() };
    let name = match first[..] {
        [one] => process(one),
        _ => format!(
            "{} ({} processes{})",
            process_name(&first[0].comm),
            grouped(first.len() as u64),
            service(first)
        ),
    };
    let named: u64 = programs.iter().map(|(_, sum)| sum).sum();
    let names = match programs.len() - 1 {
        0 => name,
        more => format!("{name} and {more} more"),
    };
    match unseen {
        0 => names,
        _ if unseen > named => format!("{UNSEEN} ({}), and {names} ({})", grouped(unseen), grouped(named)),
        _ => format!("{names} ({}), and {UNSEEN} ({})", grouped(named), grouped(unseen)),
    }
}

/// Whose calls failed.
pub(super) fn failing(shares: &[Share]) -> String {
    holders(shares, |share| share.failed, 0)
}

/// ` of php8.2-fpm.service`, escaped; nothing where they are of none, or of several.
fn service(processes: &[&Process]) -> String {
    let unit = processes.first().and_then(|process| process.unit.as_ref());
    let unit = unit.filter(|unit| processes.iter().all(|process| process.unit.as_ref() == Some(*unit)));
    unit.map_or_else(String::new, |unit| format!(" of {}", printable(unit)))
}

/// Who made the TIME_WAIT sockets of a pool, or holds them where nobody counted that.
pub(super) fn made_time_wait(tuple: &Tuple) -> String {
    let made = tuple.shares.iter().any(|share| share.created != 0);
    holders(&tuple.shares, if made { |share| share.created } else { |share| share.time_wait }, 0)
}

/// Who holds ports of a pool by TIME_WAIT sockets, or made them where they are gone by now.
pub(super) fn held_time_wait(tuple: &Tuple) -> String {
    held(tuple, |share| share.time_wait)
}

/// Who holds ports of a pool by sockets that are open, or made connections where nobody knows of those.
pub(super) fn held_open(tuple: &Tuple) -> String {
    held(tuple, |share| share.open)
}

/// Who holds ports of a pool by whatever.
pub(super) fn held_ports(tuple: &Tuple) -> String {
    held(tuple, Share::held)
}

fn held(tuple: &Tuple, part: fn(&Share) -> u64) -> String {
    let holds = tuple.shares.iter().any(|share| part(share) != 0);
    holders(&tuple.shares, if holds { part } else { |share| share.created }, 0)
}

/// Whose TIME_WAIT sockets were refused, of which there were so many in all.
pub(super) fn refused_of(concerned: &[Share], all: u64) -> String {
    let told = concerned.iter().map(|share| share.lost - share.reset).sum();
    holders(concerned, |share| share.lost - share.reset, all.saturating_sub(told))
}

/// Whose TIME_WAIT sockets RSTs ended, of which there were so many in all.
pub(super) fn reset_of(concerned: &[Share], all: u64) -> String {
    let told = concerned.iter().map(|share| share.reset).sum();
    holders(concerned, |share| share.reset, all.saturating_sub(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, want) in [
            (0.0, "0"),
            (0.0166, "0.02"),
            (0.3, "0.30"),
            (1.0, "1"),
            (7.25, "7.2"),
            (47.3, "47.3"),
            (470.53, "471"),
            (1075.2, "1,075"),
            (28_232.0, "28,232"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
    }

    #[test]
    fn times_and_names() {
        assert_eq!(
            (short_time(57), short_time(4_230), short_time(3_000_000)),
            ("57us".into(), "4.2ms".into(), "3s".into())
        );
        let share = |pid, comm: &str| Share {
            process: Process { pid, comm: comm.into(), ..Process::default() },
            ..Share::default()
        };
        let hostile = share(Some(7), "a\x1b[2J");
        let with = |share: &Share, time_wait| Share { time_wait, ..share.clone() };
        let held = |shares: &[Share], unseen| holders(shares, |share| share.time_wait, unseen);
        let (unknown, other) = (share(None, ""), share(Some(9), "b"));
        assert_eq!(held(&[with(&hostile, 3)], 0), r"a\x1b[2J (pid 7)");
        let three = [with(&hostile, 3), with(&other, 5), with(&hostile, 1), with(&share(Some(11), "c"), 0)];
        assert_eq!(held(&three, 0), "b (pid 9) and 1 more");
        // One process under two names, as exec() and PR_SET_NAME leave it: most of it by the second, which is named.
        let (before, after) = (share(Some(7), "worker-init"), share(Some(7), "worker"));
        assert_eq!(held(&[with(&before, 1), with(&after, 50)], 0), "worker (pid 7) and 1 more");
        let renamed =
            [with(&share(Some(1), "a"), 5), with(&share(Some(1), "b"), 4), with(&share(Some(2), "b"), 3)];
        assert_eq!(held(&renamed, 0), "b (2 processes) and 1 more");
        let workers = (1..=300).map(|pid| with(&share(Some(pid), "php-fpm"), 1)).collect::<Vec<_>>();
        assert_eq!(held(&workers, 0), "php-fpm (300 processes)");
        let of = |share: &Share, unit: &str| {
            let process = Process { unit: Some(unit.into()), ..share.process.clone() };
            Share { process, ..share.clone() }
        };
        let mut served: Vec<_> = workers.iter().map(|share| of(share, "php8.2-fpm.service")).collect();
        assert_eq!(held(&served, 0), "php-fpm (300 processes of php8.2-fpm.service)");
        served[7] = of(&served[7], "other.service");
        assert_eq!(held(&served, 0), "php-fpm (300 processes)");
        assert_eq!(
            held(&[with(&other, 5), with(&unknown, 55)], 0),
            "a process that twtrace did not see (55), and b (pid 9) (5)"
        );
        assert_eq!(held(&[with(&other, 5)], 2), "b (pid 9) (5), and a process that twtrace did not see (2)");
        assert_eq!(held(&[with(&other, 0), with(&unknown, 5)], 0), "a process that twtrace did not see");
        assert_eq!(held(&[unknown], 0), "a process that twtrace did not see");
        assert_eq!(
            ranges(&[1000, 1001, 1002, 20_000, 20_002, 65_534, 65_535]),
            "1000 to 1002, 20000, 20002, 65534, 65535"
        );
        assert!(ranges(&[1, 3, 5, 7, 9, 11]).ends_with("9, …"));
        assert_eq!(count(1, "port"), "1 port");
        assert_eq!(times(1), "once");
    }
}
