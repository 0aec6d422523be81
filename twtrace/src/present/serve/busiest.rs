//! Owns: the metrics of what there may be many of: owners, destinations, pools of ports, network namespaces. A bounded number of each is
//! told apart, and all the rest is `other`.
//! Must not know: how the busiest are chosen among owners.
//!
//! The role, the source or the namespace of such a rest is called `other`: that no stranger can be called.

use std::collections::{BTreeMap, BTreeSet};

use super::metrics::{Family, Value};
use super::owners::{DealingKey, OwnerKey};
use super::ranking::Busiest;
use crate::engine::{Counts, NetnsRow, Pressure, Snapshot, TupleRow};
use crate::model::escape::printable;
use crate::model::event::Reason;
use crate::model::identity::Names;
use crate::model::ordering::Ordered as _;

const OTHER: &str = "other";
/// Pools with less than this share of their ports in use are told together: a machine that talks to thousands of others has no end of them, new
/// ones each minute, and none is near to being full.
const QUIET: f64 = 0.01;
/// Longest name of a namespace, in characters.
const LONGEST: usize = 64;
/// Longest name of a container, an image or a pod, in characters.
const LONGEST_NAME: usize = 128;

/// What containers are called.
type Containers = BTreeMap<String, Names>;

/// One row: its labels, what was counted, what lives.
type BusyRow = (Vec<(&'static str, String)>, Counts, u64);

fn owner_labels(owner: &OwnerKey, containers: &Containers) -> Vec<(&'static str, String)> {
    let name = &owner.name;
    let names = containers.get(&name.container);
    let named =
        |part: fn(&Names) -> &Option<String>| names.map_or_else(String::new, |names| text(part(names)));
    vec![
        ("program", name.program.clone()),
        ("unit", name.unit.clone()),
        ("container", name.container.clone()),
        ("pod", named(|names| &names.pod)),
        ("namespace", named(|names| &names.pod_namespace)),
        ("role", owner.role.word().to_owned()),
    ]
}

fn other_labels() -> Vec<(&'static str, String)> {
    ["program", "unit", "container", "pod", "namespace", "role"].map(|label| (label, OTHER.to_owned())).into()
}

fn rows<K: Ord>(
    told: &Busiest<K>,
    labels: impl Fn(&K) -> Vec<(&'static str, String)>,
    other: BusyRow,
) -> Vec<BusyRow> {
    let mut rows: Vec<&super::ranking::RankedRow<K>> = told.rows.iter().collect();
    rows.order_by(|a, b| a.key.cmp(&b.key));
    let named = rows.into_iter().map(|row| (labels(&row.key), row.counts, row.live));
    named.chain([other]).collect()
}

fn put(
    family: &mut Family,
    labels: &[(&'static str, String)],
    more: &[(&'static str, &str)],
    value: impl Into<Value>,
) {
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied());
    family.put(&labels.collect::<Vec<_>>(), value);
}

fn filled(mut family: Family, rows: &[BusyRow], value: fn(&Counts, u64) -> u64) -> Family {
    rows.iter().for_each(|(labels, counts, live)| put(&mut family, labels, &[], value(counts, *live)));
    family
}

/// A stranger's text, or nothing.
fn text(text: &Option<String>) -> String {
    printable(text.as_deref().unwrap_or_default()).chars().take(LONGEST_NAME).collect()
}

/// What the containers of owners that are told are called.
pub(super) fn containers(told: &Busiest<OwnerKey>, containers: &Containers) -> Family {
    let mut family = Family::gauge(
        "twtrace_container_info",
        "1, with what the runtime calls a container: its name and image, its Kubernetes pod and the namespace of that.",
    );
    let met: BTreeSet<&String> = told.rows.iter().map(|row| &row.key.name.container).collect();
    for (container, names) in met.into_iter().filter_map(|container| containers.get_key_value(container)) {
        let Names { name, image, pod, pod_namespace } = names;
        let labels =
            [("container", container.clone()), ("container_name", text(name)), ("image", text(image))];
        let of_pod = [("pod", text(pod)), ("namespace", text(pod_namespace))];
        put(&mut family, &[&labels[..], &of_pod].concat(), &[], 1_u64);
    }
    family
}

/// By program, systemd unit, container, pod and role.
pub(super) fn owners(told: &Busiest<OwnerKey>, containers: &Containers) -> Vec<Family> {
    let labels = |owner: &OwnerKey| owner_labels(owner, containers);
    let rows = rows(told, labels, (other_labels(), told.other, told.other_live));
    let mut ended = Family::counter(
        "twtrace_owner_sockets_ended",
        "TIME_WAIT sockets that went away, by owner and reason.",
    );
    for (labels, counts, _) in &rows {
        for reason in Reason::ALL {
            put(&mut ended, labels, &[("reason", reason.word())], counts.ended_for(*reason));
        }
    }
    let gauge = |name, help, value| filled(Family::gauge(name, help), &rows, value);
    let counter = |name, help, value| filled(Family::counter(name, help), &rows, value);
    vec![
        gauge(
            "twtrace_owner_sockets_live",
            "TIME_WAIT sockets that exist now, by who closed them.",
            |_, live| live,
        ),
        counter(
            "twtrace_owner_sockets_created",
            "TIME_WAIT sockets that the kernel made, by who closed them; no program: not known.",
            |counts, _| counts.created,
        ),
        ended,
        counter(
            "twtrace_owner_overflows",
            "Connections that ended without a TIME_WAIT socket, by owner.",
            |counts, _| counts.overflow,
        ),
        counter(
            "twtrace_owner_connections_aborted",
            "Connections that were ended with a reset, by owner.",
            |counts, _| counts.aborted,
        ),
        counter(
            "twtrace_owner_connect_failures",
            "Calls of connect() that failed, by who called.",
            |counts, _| counts.connect_failed,
        ),
        counter(
            "twtrace_owner_bind_failures",
            "Calls of bind() and listen() that failed, by who called.",
            |counts, _| counts.bind_failed,
        ),
    ]
}

/// By owner, role and destination.
pub(super) fn dealings(told: &Busiest<DealingKey>, containers: &Containers) -> Vec<Family> {
    let labels = |key: &DealingKey| {
        let mut labels = owner_labels(&key.owner, containers);
        labels.push(("destination", key.destination.to_string()));
        labels
    };
    let mut other = other_labels();
    other.push(("destination", OTHER.to_owned()));
    let rows = rows(told, labels, (other, told.other, told.other_live));
    let counter = |name, help, value| filled(Family::counter(name, help), &rows, value);
    vec![
        filled(
            Family::gauge(
                "twtrace_destination_sockets_live",
                "TIME_WAIT sockets that exist now, by owner and what they led to: address:port, or :port of a server.",
            ),
            &rows,
            |_, live| live,
        ),
        counter(
            "twtrace_destination_sockets_created",
            "TIME_WAIT sockets that the kernel made, by owner and destination.",
            |counts, _| counts.created,
        ),
        counter(
            "twtrace_destination_connect_failures",
            "Calls of connect() that failed, by caller and destination.",
            |counts, _| counts.connect_failed,
        ),
        counter(
            "twtrace_destination_bind_failures",
            "Calls of bind() and listen() that failed, by caller and port.",
            |counts, _| counts.bind_failed,
        ),
    ]
}

/// What a namespace is called: its inode, by which it is known, and its name.
fn netns_labels(inode: u32, snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let row = snapshot.netns.iter().find(|row| row.key == inode);
    let name = row.and_then(|row| row.capacity.as_ref()?.name.as_deref()).unwrap_or_default();
    let name = printable(name).chars().take(LONGEST).collect();
    vec![("netns", inode.to_string()), ("netns_name", name)]
}

/// Pools of ports that have some in use: those that are told apart, full or full soonest first, and the others.
fn told_apart(snapshot: &Snapshot, top: usize) -> [Vec<(&TupleRow, Pressure)>; 2] {
    let pools = snapshot.tuples.iter().filter_map(|row| Some((row, row.pressure?)));
    let used = pools.filter(|(_, pool)| pool.in_use != 0);
    let (mut told, mut others): (Vec<_>, Vec<_>) = used.partition(|(_, pool)| pool.fraction() >= QUIET);
    told.order_by(|(a, x), (b, y)| y.cmp_heat(x).then_with(|| a.key.cmp(&b.key)));
    others.extend(told.drain(told.len().min(top)..));
    [told, others]
}

/// Pools of ports.
pub(super) fn pools(snapshot: &Snapshot, top: usize) -> Vec<Family> {
    let [told, others] = told_apart(snapshot, top);
    let mut ports = Family::gauge(
        "twtrace_pool_ports",
        "Ports that connect() can choose from, by source and destination.",
    );
    let mut used =
        Family::gauge("twtrace_pool_ports_used", "Ports in use, by the state of the socket that has them.");
    let mut ratio =
        Family::gauge("twtrace_pool_used_ratio", "Ports in use ÷ ports that connect() can choose from.");
    let mut full = Family::gauge(
        "twtrace_pool_full_seconds",
        "Seconds until no port is left, at the present rates; +Inf: never.",
    );
    for (row, pool) in &told {
        let mut labels = netns_labels(row.key.netns, snapshot);
        let destination = std::net::SocketAddr::new(row.key.daddr, row.key.dport).to_string();
        labels.extend([("source", row.key.saddr.to_string()), ("destination", destination)]);
        put(&mut ports, &labels, &[], pool.ports);
        put(&mut used, &labels, &[("state", "time_wait")], pool.time_wait);
        put(&mut used, &labels, &[("state", OTHER)], pool.in_use.saturating_sub(pool.time_wait));
        put(&mut ratio, &labels, &[], pool.fraction());
        // Of a pool that nobody knows it of, nothing is said.
        if pool.full_in_s.is_some() || pool.has_rates {
            put(&mut full, &labels, &[], pool.full_in_s.unwrap_or(f64::INFINITY));
        }
    }
    let sum = |part: fn(&Pressure) -> u32| others.iter().map(|(_, pool)| u64::from(part(pool))).sum::<u64>();
    let labels = ["netns", "netns_name", "source", "destination"].map(|label| (label, OTHER.to_owned()));
    put(&mut ports, &labels, &[], sum(|pool| pool.ports));
    put(&mut used, &labels, &[("state", "time_wait")], sum(|pool| pool.time_wait));
    put(&mut used, &labels, &[("state", OTHER)], sum(|pool| pool.in_use.saturating_sub(pool.time_wait)));
    let count = Family::gauge("twtrace_pools", "Pools of ports that have a port in use.")
        .of((told.len() + others.len()) as u64);
    vec![count, ports, used, ratio, full]
}

/// Network namespaces with most sockets.
pub(super) fn namespaces(snapshot: &Snapshot, top: usize) -> Vec<Family> {
    let mut live = Family::gauge(
        "twtrace_netns_sockets_live",
        "TIME_WAIT sockets that exist now, by network namespace.",
    );
    let mut limit = Family::gauge(
        "twtrace_netns_sockets_limit",
        "The most that there may be (tcp_max_tw_buckets), by network namespace.",
    );
    let alive: Vec<&NetnsRow> = snapshot.netns.iter().filter(|row| row.figures.live != 0).collect();
    let (told, others) = alive.split_at(alive.len().min(top));
    for row in told {
        let labels = netns_labels(row.key, snapshot);
        put(&mut live, &labels, &[], row.figures.live);
        if let Some(most) = row.capacity.as_ref().and_then(|capacity| capacity.settings.max_tw_buckets) {
            put(&mut limit, &labels, &[], most);
        }
    }
    let labels = ["netns", "netns_name"].map(|label| (label, OTHER.to_owned()));
    put(&mut live, &labels, &[], others.iter().map(|row| row.figures.live).sum::<u64>());
    vec![live, limit]
}
