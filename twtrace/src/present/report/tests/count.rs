//! What happens where there is no room, and what a second is.

use std::net::IpAddr;

use crate::engine::key::RowId;
use crate::engine::row::{Owner, Row};
use crate::engine::{Counts, Limits};
use crate::model::event::{Kind, Role, Via};
use crate::model::filter::Filter;
use crate::present::report::count::{Busiest, CountOptions, Counting, Population};

fn counting(filter: Filter, limits: Limits) -> Counting {
    Counting::new(0, &CountOptions { filter, ..CountOptions::default() }, limits)
}

fn row(counted: &mut Counting, kind: Kind, n: u32) -> Row {
    let address = IpAddr::from(n.to_be_bytes());
    let daddr = counted.engine.address_id(address);
    Row {
        netns: 1 + n % 2,
        saddr: daddr,
        daddr,
        sport: 40_000,
        dport: 80,
        role: Role::Client,
        owner: Some(Owner {
            pid: n + 1,
            start: 1,
            comm: counted.engine.texts.id(&*format!("p{n}")),
            uid: 0,
            cgroup: 0,
            container: 0,
        }),
        via: Some(Via::Close),
        age_us: Some(7),
        ..Row::new(kind, 1_000 + u64::from(n))
    }
}

fn take(counted: &mut Counting, row: &Row) {
    let group = counted.group(row);
    counted.take(row, group);
}

#[test]
fn without_room_the_totals_stay_exact() {
    let limits = Limits { texts: 11, addresses: 13, groups: 17, rows: 19, sockets: 0 };
    let mut counted = counting(Filter::default(), limits);
    for kind in [Kind::Created, Kind::Ended] {
        for n in 0..1009 {
            let row = row(&mut counted, kind, n);
            take(&mut counted, &row);
        }
    }
    let sum = |pick: fn(&Counts) -> u64| {
        counted.engine.groups.all.iter().map(|group| pick(&group.counts)).sum::<u64>()
    };
    assert_eq!((sum(|counts| counts.created), sum(Counts::ended)), (1009, 1009));
    // One group of others a namespace, and one row of others a table.
    assert!(counted.engine.groups.all.len() <= limits.groups + 2, "{}", counted.engine.groups.all.len());
    assert!(counted.engine.groups.rows.len() <= limits.rows + 6, "{}", counted.engine.groups.rows.len());
    assert_eq!(counted.population, Population { listed: 0, most: 1009, most_at_ns: 2008 });
    let living = (0..counted.engine.groups.rows.len()).map(|row| counted.engine.groups.living(row as u32).0);
    assert!(living.into_iter().all(|now| now == 0), "an end was counted in another row than its birth");
}

/// As in a file that goes on from another one: what is listed at its start has no owner there, its end has.
#[test]
fn an_end_that_knows_its_owner_is_that_of_the_socket_that_was_listed() {
    let mut counted = counting(Filter::default(), Limits::RECORDING);
    let known = row(&mut counted, Kind::Ended, 3);
    let listed = Row { kind: Kind::Listed, owner: None, via: Some(Via::None), ..known };
    counted.seed(&listed);
    counted.seed(&Row { sport: 40_001, ..listed });
    assert_eq!((counted.population.listed, counted.engine.groups.population.now), (2, 2));
    take(&mut counted, &known);
    // Its end was lost, or it could not be made again.
    take(&mut counted, &Row { kind: Kind::Created, sport: 40_001, ..known });
    assert_eq!(counted.engine.groups.population.now, 1);
    let living = |pid: u32| {
        let is_it = |at: &usize| matches!(counted.engine.groups.rows[*at].id, RowId::Process { pid: it, .. } if it == pid);
        (0..counted.engine.groups.rows.len()).find(is_it).map(|at| counted.engine.groups.living(at as u32))
    };
    assert_eq!((living(0), living(4)), (Some((0, 2)), Some((1, 1))));
    let ended: u64 = counted
        .engine
        .groups
        .all
        .iter()
        .filter(|group| group.key.owner.is_some())
        .map(|group| group.counts.ended())
        .sum();
    assert_eq!(ended, 1, "it is counted as its owner's");
}

#[test]
fn what_a_filter_left_out_is_not_missed_when_it_ends() {
    let filter = Filter { pids: vec![4], ..Filter::default() };
    let mut counted = counting(filter, Limits::RECORDING);
    let ended = row(&mut counted, Kind::Ended, 3);
    counted.seed(&Row { kind: Kind::Listed, owner: None, via: Some(Via::None), ..ended });
    take(&mut counted, &Row { kind: Kind::Created, sport: 40_001, ..ended });
    take(&mut counted, &ended);
    assert_eq!(
        (counted.population.listed, counted.engine.groups.population.now, counted.population.most),
        (0, 1, 1)
    );
    take(&mut counted, &Row { sport: 40_001, ..ended });
    assert_eq!((counted.engine.groups.population.now, counted.events), (0, 3));
}

#[test]
fn the_busiest_second_takes_in_what_comes_a_little_late() {
    let mut busiest = Busiest::default();
    for second in [0, 3, 3, 4, 3, 4, 3, 5, 4, 4, 1, 9] {
        busiest.add(second);
    }
    assert_eq!((busiest.most, busiest.most_second), (4, 3));
}
