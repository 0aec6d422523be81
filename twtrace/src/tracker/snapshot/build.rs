//! Owns: how the tracker's tables become rows.
//! Must not know: who asked.

use super::survey::Survey;
use super::*;
use crate::event::Role;
use crate::tracker::Tracker;
use crate::tracker::arena::{Arena, Place};
use crate::tracker::history::Flow;
use crate::tracker::pattern::Evidence;
use crate::tracker::rows::TupleStats;

impl Figures {
    /// At the beginning of second `now`.
    fn of(stats: &Stats, now: u32) -> Self {
        let rates = stats.history.rates(now);
        let [created_rate, ended_rate, failed_rate] =
            [Flow::Created, Flow::Ended, Flow::Failed].map(|flow| rates[flow as usize]);
        Self {
            counts: stats.counts,
            live: stats.live,
            peak_live: stats.peak_live,
            client: stats.created_as(Role::Client),
            server: stats.created_as(Role::Server),
            fin_wait2: stats.fin_wait2,
            fin_wait2_expired: stats.fin_wait2_expired,
            created_rate,
            ended_rate,
            failed_rate,
            age_us: stats.age_us.percentiles(),
            sent: stats.sent.percentiles(),
            received: stats.received.percentiles(),
            first_ns: stats.first_ns,
            last_ns: stats.last_ns,
        }
    }
}

/// Where the rows of a table are, in their order: most live first, then most created, then by key. Rows are large: they are made
/// in that order and never moved. With `reasons`, those that something ended in.
fn ordered<'a, K, V, O: Ord>(
    rows: &'a Arena<K, V>,
    reasons: &[Reason],
    stats: impl Fn(&V) -> &Stats,
    key: impl Fn(&'a K) -> O,
) -> Vec<Place>
where
    K: Eq + std::hash::Hash,
{
    let rank = |stats: &Stats| {
        let Counts { created, overflow, connect_failed, bind_failed, .. } = stats.counts;
        std::cmp::Reverse((stats.live, created, overflow + connect_failed + bind_failed))
    };
    let shown = rows.places().filter(|(.., row)| reasons.is_empty() || stats(row).counts.ended() != 0);
    let mut ranked: Vec<_> = shown.map(|(place, name, row)| (rank(stats(row)), key(name), place)).collect();
    ranked.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    ranked.into_iter().map(|(.., place)| place).collect()
}

impl Tracker {
    /// The world now. Only the tables in `wanted` are filled; the head always is.
    pub fn snapshot(&self, wanted: &[By]) -> Snapshot {
        let survey = Survey::of(self, wanted);
        let now = survey.now;
        let mut snapshot = Snapshot {
            now_ns: self.now_ns,
            began_ns: self.began_ns.unwrap_or(self.now_ns),
            total: Figures::of(&self.total, now),
            created_history: self.total.history.series(Flow::Created, now),
            ended_history: self.total.history.series(Flow::Ended, now),
            fullest: self.fullest(),
            hottest: self.hottest(&survey),
            dropped: self.dropped(),
            only: self.reasons.clone(),
            ..Snapshot::default()
        };
        for by in wanted {
            match by {
                By::Process => snapshot.processes = self.process_rows(&survey),
                By::Tuple => snapshot.tuples = self.tuple_rows(&survey),
                By::Peer => snapshot.peers = self.peer_rows(now),
                By::Port => snapshot.ports = self.port_rows(&survey),
                By::Container => snapshot.containers = self.container_rows(now),
                By::Netns => snapshot.netns = self.netns_rows(&survey),
            }
        }
        snapshot
    }

    /// What the bounds made it drop.
    pub fn dropped(&self) -> Dropped {
        Dropped { rows: self.rows.evicted(), events: self.unlisted, sockets: self.dropped_sockets }
    }

    fn name(&self, key: Option<ProcessKey>) -> Comm {
        key.and_then(|key| self.rows.processes.find(&key)).map(|row| row.name).unwrap_or_default()
    }

    fn process_rows(&self, survey: &Survey<'_>) -> Vec<ProcessRow> {
        let rows = &self.rows.processes;
        let row = |place: Place| {
            let (key, row) = rows.get(place)?;
            let dealings = survey.dealings(place);
            Some(ProcessRow {
                key: *key,
                name: row.name,
                uid: row.uid,
                identity: row.identity.clone(),
                gone: row.gone,
                figures: Figures::of(&row.stats, survey.now),
                main: survey.main_of(&dealings),
                targets: dealings.targets,
                pressure: dealings.pressure,
                pattern: Pattern::of(&Evidence::of(&row.stats, dealings.starved, dealings.pressure)),
            })
        };
        ordered(rows, &self.reasons, |row| &row.stats, |key| *key).into_iter().filter_map(row).collect()
    }

    fn tuple_row(&self, place: Place, survey: &Survey<'_>) -> Option<TupleRow> {
        let (key, TupleStats { stats, .. }) = self.rows.tuples.get(place)?;
        let main = survey.holder_of_tuple(place);
        let (figures, pressure) = (Figures::of(stats, survey.now), survey.pressure(place));
        Some(TupleRow { key: *key, figures, pressure, main, main_name: self.name(main) })
    }

    fn tuple_rows(&self, survey: &Survey<'_>) -> Vec<TupleRow> {
        let places = ordered(&self.rows.tuples, &self.reasons, |row| &row.stats, |key| *key);
        places.into_iter().filter_map(|place| self.tuple_row(place, survey)).collect()
    }

    fn hottest(&self, survey: &Survey<'_>) -> Option<TupleRow> {
        self.tuple_row(survey.hottest?, survey)
    }

    fn peer_rows(&self, now: u32) -> Vec<PeerRow> {
        let rows = &self.rows.peers;
        let row = |place| {
            rows.get(place).map(|(key, stats)| PeerRow { key: *key, figures: Figures::of(stats, now) })
        };
        ordered(rows, &self.reasons, |stats| stats, |key| *key).into_iter().filter_map(row).collect()
    }

    fn port_rows(&self, survey: &Survey<'_>) -> Vec<PortRow> {
        let rows = &self.rows.ports;
        let row = |place| {
            let (key, stats) = rows.get(place)?;
            let (main, figures) = (survey.holder_of_port(place), Figures::of(stats, survey.now));
            Some(PortRow { key: *key, figures, main, main_name: self.name(main) })
        };
        ordered(rows, &self.reasons, |stats| stats, |key| *key).into_iter().filter_map(row).collect()
    }

    fn container_rows(&self, now: u32) -> Vec<ContainerRow> {
        let rows = &self.rows.containers;
        let row = |place| {
            let (key, stats) = rows.get(place)?;
            Some(ContainerRow { key: key.clone(), figures: Figures::of(stats, now) })
        };
        let name = |key: &Option<Container>| key.as_ref().map(ToString::to_string);
        ordered(rows, &self.reasons, |stats| stats, name).into_iter().filter_map(row).collect()
    }

    fn netns_rows(&self, survey: &Survey<'_>) -> Vec<NetnsRow> {
        let rows = &self.rows.netns;
        let row = |place| {
            let (key, row) = rows.get(place)?;
            let main = survey.holder_in_netns(place);
            Some(NetnsRow {
                key: *key,
                figures: Figures::of(&row.stats, survey.now),
                capacity: row.capacity.clone(),
                main,
                main_name: self.name(main),
            })
        };
        ordered(rows, &self.reasons, |row| &row.stats, |key| *key).into_iter().filter_map(row).collect()
    }

    fn fullest(&self) -> Option<Fullest> {
        let known = self.rows.netns.iter().filter_map(|(netns, row)| {
            let max_tw_buckets = row.capacity.as_ref()?.max_tw_buckets;
            Some(Fullest { netns: *netns, live: row.stats.live, max_tw_buckets })
        });
        // a/b > c/d without dividing by a limit that may be 0.
        known.max_by_key(|row| {
            (
                row.live * u64::from(u32::MAX) / u64::from(row.max_tw_buckets.max(1)),
                std::cmp::Reverse(row.netns),
            )
        })
    }
}
