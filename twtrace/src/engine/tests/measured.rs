//! What connections of single rows were like is what a whole snapshot says of them.

use super::script::{Script, client, server};
use crate::engine::{By, Extent, Figures, Measured, Pattern, ProcessRow, Rates, RowKey, Tracker};
use crate::model::event::Kind;

impl From<&Figures> for Measured {
    fn from(figures: &Figures) -> Self {
        let Figures { created_rate, ended_rate, age_us, sent, received, .. } = *figures;
        Self { created_rate, ended_rate, age_us, sent, received, ..Self::default() }
    }
}

#[test]
fn rows_are_measured_as_a_whole_snapshot_has_them() {
    let mut script = Script::new(Tracker::new());
    let pool = client(11, "10.0.0.9", 5432).in_cgroup("/system.slice/pool.service");
    script.born(&pool, 40_000..40_017).born(&client(13, "10.0.0.9", 81), [40_101; 1]);
    script.born(&server(13, "10.0.0.7"), [80; 3]).at(1.0);
    let snapshot = script.tracker.snapshot(By::ALL);
    let mut keys: Vec<(RowKey, Measured)> = Vec::new();
    let of_process = |row: &ProcessRow| {
        let (identity, main, hottest) = (row.identity.clone(), row.main, row.hottest);
        Measured { identity, main, hottest, ..(&row.figures).into() }
    };
    keys.extend(snapshot.processes.iter().map(|row| (RowKey::Process(row.key), of_process(row))));
    assert_eq!(keys.iter().filter(|(_, measured)| measured.identity.is_some()).count(), 1, "{keys:?}");
    keys.extend(snapshot.tuples.iter().map(|row| (RowKey::Tuple(row.key), (&row.figures).into())));
    keys.extend(snapshot.peers.iter().map(|row| (RowKey::Peer(row.key), (&row.figures).into())));
    keys.extend(snapshot.ports.iter().map(|row| (RowKey::Port(row.key), (&row.figures).into())));
    keys.extend(
        snapshot.containers.iter().map(|row| (RowKey::Container(row.key.clone()), (&row.figures).into())),
    );
    keys.extend(snapshot.netns.iter().map(|row| (RowKey::Netns(row.key), (&row.figures).into())));
    assert!(keys.len() >= 8, "{keys:?}");
    assert!(keys.iter().filter(|(_, measured)| measured.age_us.is_some()).count() >= 7, "{keys:?}");
    assert!(keys.iter().filter(|(_, measured)| measured.created_rate.s1 > 0.0).count() >= 7, "{keys:?}");
    let mut asked: Vec<RowKey> = keys.iter().map(|(key, _)| key.clone()).collect();
    asked.push(RowKey::Netns(3));
    assert_eq!(script.tracker.measured(&asked), keys.into_iter().collect());
}

#[test]
fn a_snapshot_for_a_screen_leaves_percentiles_and_what_they_mean_to_that() {
    let mut script = Script::new(Tracker::new());
    let pool = client(11, "10.0.0.9", 5432).in_cgroup("/system.slice/pool.service");
    script.born(&pool, 40_000..40_017).at(1.0);
    let survey = script.tracker.survey();
    let snapshot = script.tracker.snapshot_of(&survey, &[By::Process, By::Tuple], Extent::SCREEN);
    let [row] = &snapshot.processes[..] else { panic!("{snapshot:?}") };
    assert_eq!((row.figures.counts.created, row.figures.age_us), (17, None));
    assert_eq!((row.pattern, &row.identity), (Pattern::Unclear, &None));
    assert_eq!((row.figures.created_rate, row.main), (Rates::default(), None));
    // Where calls fail, that they do so of late is what a row is ordered by.
    script.fails(&pool, Kind::ConnectFailed, 0, 3).at(2.0);
    let survey = script.tracker.survey();
    let snapshot = script.tracker.snapshot_of(&survey, &[By::Process], Extent::SCREEN);
    let [row] = &snapshot.processes[..] else { panic!("{snapshot:?}") };
    assert!(row.figures.failed_rate.s60 > 0.0 && row.main.is_some(), "{row:?}");
    assert_ne!(script.tracker.snapshot(&[By::Process]).processes[0].pattern, Pattern::Unclear);
}
