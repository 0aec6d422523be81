//! Owns: what is live as one JSON object on a line. Keys are those of events where they mean the same.
//! Must not know: where lines go.

pub(crate) mod keys;

use keys::*;

use super::Frame;
use crate::diagnose;
use crate::engine::{Figures, LinkRow, PortRow, Pressure, ProcessKey, ProcessRow, Snapshot, TupleRow};
use crate::output::object_line;

/// Appends `frame` and a newline to `out`.
pub fn json_line(frame: &Frame, out: &mut Vec<u8>) {
    object_line(&Document::of(frame), out);
}

impl<'a> Document<'a> {
    fn of(frame: &'a Frame) -> Self {
        let Snapshot { now_ns, began_ns, total, fullest, hottest, dropped, .. } = &frame.snapshot;
        let snapshot = &frame.snapshot;
        Self {
            time: keys::time(frame.clock, *now_ns),
            mono_ns: *now_ns,
            traced_ms: now_ns.saturating_sub(*began_ns) / 1_000_000,
            backend: frame.backend,
            total: total.into(),
            slab_bytes: frame.slab_bytes,
            fullest: *fullest,
            hottest: hottest.as_ref().map(Into::into),
            lost: total.counts.loss.into(),
            dropped: *dropped,
            findings: diagnose::glance(
                snapshot,
                &frame.limitations,
                frame.replayed(&jiff::tz::TimeZone::UTC),
            ),
            limitations: &frame.limitations,
            processes: snapshot.processes.iter().map(Into::into).collect(),
            tuples: snapshot.tuples.iter().map(Into::into).collect(),
            peers: snapshot
                .peers
                .iter()
                .map(|row| Peer { daddr: row.key, tally: (&row.figures).into() })
                .collect(),
            ports: snapshot.ports.iter().map(Into::into).collect(),
            containers: snapshot
                .containers
                .iter()
                .map(|row| Container { container: row.key.clone(), tally: (&row.figures).into() })
                .collect(),
            netns: snapshot
                .netns
                .iter()
                .map(|row| Netns {
                    netns: row.key,
                    tally: (&row.figures).into(),
                    tcp_max_tw_buckets: row
                        .capacity
                        .as_ref()
                        .and_then(|capacity| capacity.settings.max_tw_buckets),
                    ports: row.capacity.as_ref().map(|capacity| capacity.ports()),
                    main: who(row.main),
                })
                .collect(),
            others: snapshot.others.iter().map(|(by, figures)| (by.word(), figures.into())).collect(),
        }
    }
}

impl From<&Figures> for Tally {
    fn from(figures: &Figures) -> Self {
        let counts = &figures.counts;
        Self {
            live: figures.live,
            peak_live: figures.peak_live,
            created: counts.created,
            listed: counts.listed,
            ended: counts.ended(),
            ended_by: counts.reasons().map(|(reason, count)| (reason.word(), count)).collect(),
            overflow: counts.overflow,
            connect_failed: counts.connect_failed,
            bind_failed: counts.bind_failed,
            aborted: counts.aborted,
            syn_refused: counts.syn_refused,
            created_as_client: figures.client,
            created_as_server: figures.server,
            created_in_fin_wait2: figures.fin_wait2,
            created_per_s: figures.created_rate,
            ended_per_s: figures.ended_rate,
            failed_per_s: figures.failed_rate,
            age_ms: figures.age_us.map(Into::into),
            bytes_sent: figures.sent,
            bytes_received: figures.received,
            first_mono_ns: (figures.first_ns != 0).then_some(figures.first_ns),
            last_mono_ns: (figures.last_ns != 0).then_some(figures.last_ns),
        }
    }
}

impl From<Pressure> for Ports {
    fn from(pressure: Pressure) -> Self {
        let (ports_in_use, ports, full_in_s) = (pressure.in_use, pressure.ports, pressure.full_in_s);
        Self { ports_in_use, ports, pressure: pressure.fraction(), full_in_s }
    }
}

impl From<&LinkRow> for Dealing {
    fn from(link: &LinkRow) -> Self {
        let LinkRow { live, created, failed, .. } = *link;
        Self { target: link.target, live, created, failed, ports: link.pressure.map(Into::into) }
    }
}

fn who(key: Option<ProcessKey>) -> PidAndComm {
    let known = key.filter(|key| !key.is_unknown());
    PidAndComm { pid: known.map(|key| key.pid), comm: known.map(|key| key.comm.text().into_owned()) }
}

impl From<&ProcessRow> for Process {
    fn from(row: &ProcessRow) -> Self {
        let identity = row.identity.as_deref();
        Self {
            who: who(Some(row.key)),
            uid: (!row.key.is_unknown()).then_some(row.uid),
            exe: identity.and_then(|identity| identity.exe.clone()),
            cgroup: identity.and_then(|identity| identity.cgroup.clone()),
            container: identity.and_then(|identity| identity.container.as_ref()).map(ToString::to_string),
            gone: row.gone,
            tally: (&row.figures).into(),
            ports: row.pressure.map(Into::into),
            main: row.main.as_ref().map(Into::into),
            hottest: row.hottest.as_ref().map(Into::into),
            targets: row.targets,
            meaning: row.pattern.to_string(),
        }
    }
}

impl From<&TupleRow> for Tuple {
    fn from(row: &TupleRow) -> Self {
        Self {
            key: row.key,
            tally: (&row.figures).into(),
            ports: row.pressure.map(Into::into),
            main: who(row.main),
        }
    }
}

impl From<&PortRow> for Port {
    fn from(row: &PortRow) -> Self {
        Self { key: row.key, tally: (&row.figures).into(), main: who(row.main) }
    }
}
