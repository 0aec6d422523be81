//! Rows that are asked for by name are those of a whole snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use super::script::{Script, client, server};
use crate::engine::{AnyRow, By, Extent, Fold, Pattern, Rates, RowKey, Target, Tracker};
use crate::model::event::{Comm, Kind, Role};
use crate::model::identity::Identity;

#[test]
fn rows_by_name_are_those_of_a_whole_snapshot() {
    let mut script = Script::new(Tracker::new());
    let pool = client(11, "10.0.0.9", 5432).in_cgroup("/system.slice/pool.service");
    script.born(&pool, 40_000..40_017).born(&client(13, "10.0.0.9", 81), [40_101; 1]);
    script.born(&server(13, "10.0.0.7"), [80; 3]).at(1.0);
    let snapshot = script.tracker.snapshot(By::ALL);
    let mut all: HashMap<RowKey, AnyRow> = HashMap::new();
    all.extend(
        snapshot.processes.into_iter().map(|row| (RowKey::Process(row.key), AnyRow::Process(Box::new(row)))),
    );
    all.extend(snapshot.tuples.into_iter().map(|row| (RowKey::Tuple(row.key), AnyRow::Tuple(row))));
    all.extend(snapshot.peers.into_iter().map(|row| (RowKey::Peer(row.key), AnyRow::Peer(row))));
    all.extend(snapshot.ports.into_iter().map(|row| (RowKey::Port(row.key), AnyRow::Port(row))));
    let container =
        |row: crate::engine::ContainerRow| (RowKey::Container(row.key.clone()), AnyRow::Container(row));
    all.extend(snapshot.containers.into_iter().map(container));
    all.extend(snapshot.netns.into_iter().map(|row| (RowKey::Netns(row.key), AnyRow::Netns(row))));
    let figures = |row: &AnyRow| match row {
        AnyRow::Process(row) => row.figures.clone(),
        AnyRow::Tuple(row) => row.figures.clone(),
        AnyRow::Peer(row) => row.figures.clone(),
        AnyRow::Port(row) => row.figures.clone(),
        AnyRow::Container(row) => row.figures.clone(),
        AnyRow::Netns(row) => row.figures.clone(),
    };
    let is_identified = |row: &&AnyRow| matches!(row, AnyRow::Process(row) if row.identity.is_some());
    assert!(all.len() >= 8, "{all:?}");
    assert_eq!(all.values().filter(is_identified).count(), 1, "{all:?}");
    assert!(all.values().filter(|row| figures(row).age_us.is_some()).count() >= 7, "{all:?}");
    assert!(all.values().filter(|row| figures(row).created_rate.s1 > 0.0).count() >= 7, "{all:?}");
    let mut asked: Vec<RowKey> = all.keys().cloned().collect();
    asked.push(RowKey::Netns(3));
    assert_eq!(script.tracker.rows_named(&asked), all);
}

#[test]
fn rows_of_a_screen_that_no_finding_could_be_about_are_bare() {
    let mut script = Script::new(Tracker::new());
    let quiet = client(11, "10.0.0.9", 5432);
    let failing = client(13, "10.0.0.8", 81);
    script.born(&quiet, 40_000..40_017).born(&failing, 40_100..40_103);
    script.fails(&failing, Kind::ConnectFailed, 0, 5).at(1.0);
    let survey = script.tracker.survey();
    let whole = script.tracker.snapshot_of(&survey, &[By::Process], Extent::WHOLE);
    let pids = |snapshot: &crate::engine::Snapshot| {
        snapshot.processes.iter().map(|row| row.key.pid).collect::<Vec<_>>()
    };
    assert_eq!((pids(&whole), &whole.bare[..]), (vec![11, 13], &[][..]));
    let screen = script.tracker.snapshot_of(&survey, &[By::Process, By::Peer], Extent::SCREEN);
    assert_eq!(pids(&screen), [13]);
    let [bare] = &screen.bare[..] else { panic!("{screen:?}") };
    assert_eq!((&bare.key, bare.live, bare.created), (&RowKey::Process(whole.processes[0].key), 17, 17));
    // Tables behind the first are for findings, and have their rows.
    assert_eq!(screen.peers.len(), 2);
}

#[test]
fn a_snapshot_for_a_screen_leaves_percentiles_and_what_they_mean_to_that() {
    let mut script = Script::new(Tracker::new());
    let screen = Extent { bare: false, ..Extent::SCREEN };
    let pool = client(11, "10.0.0.9", 5432).in_cgroup("/system.slice/pool.service");
    script.born(&pool, 40_000..40_017).at(1.0);
    let survey = script.tracker.survey();
    let snapshot = script.tracker.snapshot_of(&survey, &[By::Process, By::Tuple], screen);
    let [row] = &snapshot.processes[..] else { panic!("{snapshot:?}") };
    assert_eq!((row.figures.counts.created, row.figures.age_us), (17, None));
    assert_eq!((row.pattern, &row.identity), (Pattern::Unclear, &None));
    assert_eq!((row.figures.created_rate, row.main), (Rates::default(), None));
    // Where calls fail, that they do so of late is what a row is ordered by.
    script.fails(&pool, Kind::ConnectFailed, 0, 3).at(2.0);
    let survey = script.tracker.survey();
    let snapshot = script.tracker.snapshot_of(&survey, &[By::Process], screen);
    let [row] = &snapshot.processes[..] else { panic!("{snapshot:?}") };
    assert!(row.figures.failed_rate.s60 > 0.0 && row.main.is_some(), "{row:?}");
    assert_ne!(script.tracker.snapshot(&[By::Process]).processes[0].pattern, Pattern::Unclear);
}

#[test]
fn who_has_a_name_that_is_no_text_is_known_as_well() {
    let mut tracker = Tracker::new();
    let mut event = super::created(1, 1, 11);
    let mut name = [0xff; 16];
    name[10..].fill(0);
    event.owner.as_mut().unwrap().comm = Comm::from_kernel(name);
    let cgroup = Some("/system.slice/raw.service".to_owned());
    event.identity = Some(Arc::new(Identity { cgroup: cgroup.clone(), ..Identity::default() }));
    tracker.apply(&mut event);
    let snapshot = tracker.snapshot(&[By::Process]);
    assert_eq!(snapshot.processes[0].key.comm, event.owner.unwrap().comm);
    assert_eq!(snapshot.processes[0].identity.as_ref().and_then(|known| known.cgroup.clone()), cgroup);
}

#[test]
fn a_row_of_a_namespace_has_what_its_processes_deal_with_there() {
    let mut tracker = Tracker::new();
    // Nobody knows whose they are, in either: one process in both rows.
    for (netns, sports, dport) in [(7, 40_000..40_017, 443), (11, 40_000..40_003, 80)] {
        for sport in sports {
            let mut event = super::created(1, sport, u64::from(netns) << 16 | u64::from(sport));
            let conn = event.conn.as_mut().unwrap();
            (conn.netns, conn.dport, event.owner, event.role) = (netns, dport, None, Role::Client);
            tracker.apply(&mut event);
        }
    }
    let rows = tracker.folded(&tracker.survey(), Fold::Netns);
    let told = rows.iter().map(|row| {
        let Some(Target::Tuple(main)) = row.main.map(|link| link.target) else { panic!("{row:?}") };
        (row.name.as_deref().unwrap(), main.netns, main.dport, row.targets)
    });
    assert_eq!(told.collect::<Vec<_>>(), [("11", 11, 80, 1), ("7", 7, 443, 1)]);
}
