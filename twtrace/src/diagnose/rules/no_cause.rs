//! Owns: what is said where no cause was found: `not_explained` where calls fail, `not_seen` where something could be wrong that this
//! machine, or this recording, cannot show, and `nothing_wrong` where no rule has anything to say.
//! Must not know: where facts come from, how findings are shown.

use std::collections::HashMap;

use super::taken::{On, Taken, of_kind};
use super::{Case, EVENTS, SOCK_DIAG, of_pool, towards};
use crate::diagnose::facts::{Aborted, Facts, Netns, Share, Source, Tuple};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::pool::{Cause, Pool};
use crate::diagnose::words::{count, failing, grouped, out_of, peer, process, times, tuple};
use crate::host::net::counters::Counters;
use crate::model::escape::printable;
use crate::model::limitation::Limitation;

/// The name of its finding.
pub(in crate::diagnose) const NOT_EXPLAINED: &str = "not_explained";

/// A connect() or bind() that fails, where nothing that was looked at accounts for the ports.
///
/// No remedy is offered: whatever helps against a cause that is not known?
pub(super) fn not_explained(case: &Case<'_>) -> Vec<Finding> {
    // Once for all pools of a namespace.
    let mut holders: HashMap<u32, Option<Share>> = HashMap::new();
    let mut of_pool = |pool: &Pool<'_>| {
        let holder = holders.entry(pool.netns.netns).or_insert_with(|| most_of_all(pool.netns));
        of_full_pool(case.facts.source, pool, holder.as_ref())
    };
    let mut all: Vec<Finding> = case.pools_with(Cause::NotExplained).map(&mut of_pool).collect();
    all.extend(of_kind(case.facts, On::Nothing).iter().map(|taken| of_bind(case.facts.source, taken)));
    for netns in &case.facts.namespaces {
        // Where the pool is exhausted as well, that is the thing to say.
        let asked = netns.tuples.iter().filter(|tuple| tuple.failed_bound != 0 && tuple.failed == 0);
        all.extend(
            asked.filter(|tuple| tuple.taken == 0).map(|tuple| of_bound(case.facts.source, netns, tuple)),
        );
    }
    all
}

fn of_full_pool(source: Source, pool: &Pool<'_>, holder: Option<&Share>) -> Finding {
    let (tuple, netns) = (pool.tuple, pool.netns);
    let most = holder.map_or_else(String::new, |share| {
        let name = process(&share.process);
        format!(" Most ports of the namespace are held by {name}: {}.", grouped(share.held()))
    });
    let looked = match (netns.pinned, source) {
        (Some(_), _) if netns.lists_bound == Some(false) => {
            "; this kernel does not show sockets that are only bound"
        }
        (Some(_), _) => ", and what bind() took does not make up for the rest",
        (None, Source::Recording) => UNLISTED,
        (None, Source::Replay) => "; which sockets were bound is not in a replay",
        (None, _) => "; sockets that are bound were not looked at",
    };
    let callers = tuple.callers();
    let by = match callers.len() {
        0 => String::new(),
        _ => format!(" by {}", failing(&callers)),
    };
    let what = format!(
        "connect() to {}{by} fails for want of a port ({}), which is not explained: {} of {} ports are in use to \
         there{looked}.{most}",
        peer(tuple),
        count(tuple.failed, "failure"),
        grouped(tuple.peak.all().into()),
        out_of(pool.ports()),
    );
    let finding = of_pool(NOT_EXPLAINED, pool, what);
    let finding = match source {
        Source::View | Source::Replay => finding,
        _ => finding
            .because("ports that bind() took for other destinations", pool.closed(), SOCK_DIAG)
            .because_known("ports of the range in use, all destinations", netns.range_in_use, "sock_diag"),
    };
    let holder = holder.filter(|holder| !callers.iter().any(|caller| caller.process.is(&holder.process)));
    finding.by(holder.cloned().into_iter().chain(callers)).in_short(&format!(
        "cannot connect to {}: {} of {} ports in use, not explained",
        peer(tuple),
        grouped(tuple.peak.all().into()),
        out_of(pool.ports())
    ))
}

/// Who holds most ports of the namespace. Sockets of one process are added up.
fn most_of_all(netns: &Netns) -> Option<Share> {
    let all = netns.tuples.iter().flat_map(|tuple| &tuple.shares).chain(&netns.pins);
    let held = all.map(|share| Share {
        process: share.process.clone(),
        time_wait: share.time_wait,
        open: share.open,
        ..Share::default()
    });
    Share::most_first(held, Share::held).into_iter().find(|share| share.held() != 0)
}

const UNLISTED: &str = "; sockets that were open or bound are not in this recording";

/// What was not looked at.
fn unseen(source: Source, netns: &Netns) -> &'static str {
    if source == Source::Recording && netns.range_in_use.is_none() { UNLISTED } else { "" }
}

/// bind() of a port on which nothing was seen.
fn of_bind(source: Source, taken: &Taken<'_>) -> Finding {
    let looked = match source {
        Source::View => "what is on it was not looked at; `twtrace doctor` looks".to_owned(),
        Source::Replay => {
            "what is on it is not in a replay; `twtrace doctor FILE` says what was seen".to_owned()
        }
        _ => format!("nothing was seen on it{}", unseen(source, taken.netns)),
    };
    let what = format!("{}, which is not explained: {looked}.", taken.cannot());
    let short = format!("cannot bind {}, failed {}", taken.ports(), times(taken.failed()));
    taken.finding(NOT_EXPLAINED, Severity::Critical, what).by(taken.callers()).in_short(&short)
}

/// connect() from a port that was bound, for a connection that nobody saw.
fn of_bound(source: Source, netns: &Netns, tuple: &Tuple) -> Finding {
    let callers = tuple.callers();
    let what = format!(
        "connect() to {} by {} from a port that it has fails {}, which is not explained: no such connection was seen to be there \
         already{}.",
        peer(tuple),
        failing(&callers),
        times(tuple.failed_bound),
        unseen(source, netns)
    );
    let finding = Finding::new(NOT_EXPLAINED, Severity::Critical, what).at(towards(netns, tuple));
    finding
        .because("connect() failures from a bound port", tuple.failed_bound, EVENTS)
        .by(callers)
        .in_short(&format!("cannot connect to {} from a port that it bound, not explained", peer(tuple)))
}

/// Something could be wrong that this machine, or this recording, cannot show.
pub(super) fn not_seen(case: &Case<'_>) -> Vec<Finding> {
    let blind: Vec<&Limitation> =
        case.facts.limitations.iter().filter(|limitation| limitation.what.hides_trouble()).collect();
    let mut words: Vec<&str> = blind.iter().map(|limitation| limitation.what.words()).collect();
    words.sort_unstable();
    words.dedup();
    let Some(first) = blind.first() else { return Vec::new() };
    let what = format!(
        "Not everything could be seen: {}. If that is where the trouble is, it is not in this diagnosis. Remedy: {}.",
        words.join("; "),
        crate::model::escape::printable(&first.remedy)
    );
    let finding = Finding::new("not_seen", Severity::Notice, what).because(
        "kinds of trouble that cannot be seen",
        words.len() as u64,
        "environment",
    );
    vec![finding.in_short_alone("not everything could be seen".to_owned())]
}

/// No rule has anything to say.
pub(in crate::diagnose) fn nothing_wrong(case: &Case<'_>) -> Finding {
    let facts = case.facts;
    let time_wait: u64 = facts.namespaces.iter().map(|netns| netns.time_wait).sum();
    let created: u64 = facts.namespaces.iter().map(|netns| netns.created).sum();
    let mut what =
        format!("Nothing wrong: {} TIME_WAIT sockets, and no port or table is short.", grouped(time_wait));
    if facts.about.asks_for_owner() {
        let flags = printable(&facts.about.words().join(" ")).into_owned();
        what = format!(
            "Nothing wrong with what {flags} asks about. Of all there are {} TIME_WAIT sockets.",
            grouped(time_wait)
        );
    }
    if facts.lost != 0 {
        what = format!("Nothing wrong in what was seen, but {} events were lost.", grouped(facts.lost));
    }
    let finding = Finding::new("nothing_wrong", Severity::Fine, what)
        .because("TIME_WAIT sockets", time_wait, "sock_diag and events")
        .because("TIME_WAIT sockets made a second", created as f64 / facts.observed_s(), "events");
    let is_view = matches!(facts.source, Source::View | Source::Replay);
    let finding = if is_view { finding } else { counted(facts, finding) };
    let share = |pool: &Pool<'_>| Some(f64::from(pool.in_use(pool.tuple.peak)) / f64::from(pool.ports()?));
    let known = case.pools.iter().filter_map(|(pool, _)| Some((share(pool)?, pool)));
    let fullest = known.max_by(|(a, _), (b, _)| a.total_cmp(b));
    match fullest {
        Some((share, pool)) => finding
            .because("fullest pool of ports", tuple(pool.tuple), SOCK_DIAG)
            .because("of its ports in use, %", share * 100.0, SOCK_DIAG),
        None => finding,
    }
}

/// Quiet is only what was looked at: a view looks at none of these.
fn counted(facts: &Facts, finding: Finding) -> Finding {
    let counted: Vec<_> = facts.namespaces.iter().filter_map(|netns| netns.counters).collect();
    let sum = |of: fn(&Counters) -> Option<u64>| {
        (!counted.is_empty()).then(|| counted.iter().filter_map(of).sum::<u64>())
    };
    // Events tell of those that a call ended; the kernel counts others as well.
    let told: u64 = facts.namespaces.iter().flat_map(|netns| &netns.aborted).map(Aborted::all).sum();
    let aborted = sum(|all| Some(all.abort_on_data? + all.abort_on_close?)).map(|counted| counted.max(told));
    let reset: u64 = facts.namespaces.iter().map(|netns| netns.reset).sum();
    finding
        .because_known("SYNs that were sent again", sum(|all| all.syn_retrans), "/proc/net/netstat")
        .because_known(
            "closes that ended in an RST",
            aborted.or((told != 0).then_some(told)),
            "/proc/net/netstat",
        )
        .because("TIME_WAIT sockets that an RST ended", reset, "events")
}
