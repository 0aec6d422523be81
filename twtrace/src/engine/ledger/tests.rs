//! What is held on ports, and what is said of it when a call fails.

use super::*;

fn row(kind: Kind, sport: u16, dport: u16) -> Row {
    Row { sport, dport, ..crate::engine::row::sample(kind) }
}

#[test]
fn a_failure_is_told_by_what_was_held_then_and_not_later() {
    let mut ledger = Ledger::default();
    let mut tell = |kind, sport, dport| ledger.take(&row(kind, sport, dport));
    tell(Kind::Created, 40_001, 80);
    tell(Kind::Created, 40_001, 443);
    tell(Kind::Listed, 40_003, 80);
    tell(Kind::ConnectFailed, 0, 80);
    tell(Kind::Ended, 40_003, 80);
    tell(Kind::Ended, 40_001, 443);
    tell(Kind::ConnectFailed, 0, 443);
    let moment = |dport| {
        let moment = ledger.moment((7, 3, dport));
        moment.map(|ports| ports.iter().map(|(port, all)| (*port, all.len())).collect::<Vec<_>>())
    };
    assert_eq!(moment(80), Some(vec![(40_001, 2), (40_003, 1)]));
    assert_eq!(moment(443), Some(vec![(40_001, 1)]));
    assert_eq!(moment(81), None);
    assert_eq!(ledger.entries.len, 1);
}

#[test]
fn of_several_on_one_port_each_goes_by_itself_and_its_place_is_taken_again() {
    let mut ledger = Ledger::default();
    let mut tell = |kind, sport, dport| ledger.take(&row(kind, sport, dport));
    for dport in [1, 2, 3, 5, 7] {
        tell(Kind::Created, 40_001, dport);
    }
    tell(Kind::Created, 65_535, 80);
    for dport in [2, 1, 7, 11] {
        tell(Kind::Ended, 40_001, dport);
    }
    for dport in [13, 5, 17, 19] {
        tell(Kind::Created, 40_001, dport);
    }
    tell(Kind::ConnectFailed, 0, 80);
    let moment = ledger.moment((7, 3, 80)).unwrap();
    let pools = |port| moment[&port].iter().map(|held| held.pool.dport).collect::<Vec<_>>();
    assert_eq!((pools(40_001), pools(65_535)), (vec![3, 5, 13, 17, 19], vec![80]));
    assert_eq!((moment.len(), ledger.entries.len, ledger.entries.all.len()), (2, 6, 6));
}

#[test]
fn a_port_that_is_refused_is_told_with_what_held_it_and_for_how_long_yet() {
    let mut ledger = Ledger::default();
    let mut tell = |mono_ns, row: Row| ledger.take(&Row { mono_ns, timeout_ms: 60_000, ..row });
    tell(1_000_000_000, row(Kind::Created, 40_001, 80));
    tell(8_000_000_000, row(Kind::BindFailed, 40_001, 0));
    tell(8_000_000_000, row(Kind::BindFailed, 40_003, 0));
    tell(9_000_000_000, row(Kind::Ended, 40_001, 80));
    let left: Vec<u64> = ledger.taken(7, 40_001).map(|(_, left_ms)| left_ms).collect();
    assert_eq!((left, ledger.taken(7, 40_003).count()), (vec![53_000], 0));
}

#[test]
fn moments_have_room_together_and_a_recent_one_stands_in_for_another() {
    let mut ledger = Ledger::default();
    let tell = |ledger: &mut Ledger, mono_ns, row: Row| ledger.take(&Row { mono_ns, ..row });
    let held = MOST_OF_MOMENTS / 3;
    for at in 0..held {
        tell(&mut ledger, 1, row(Kind::Created, (at % 60_000) as u16, (at / 60_000) as u16 + 1000));
    }
    let fail = |ledger: &mut Ledger, mono_ns, dport| {
        tell(ledger, mono_ns, row(Kind::ConnectFailed, 0, dport));
        tell(ledger, mono_ns, row(Kind::Ended, u16::from(dport as u8), 1000));
        let moment = ledger.failing[&(7, 3, dport)].moment.as_ref();
        moment.map(|moment| (moment.at_ns, moment.held))
    };
    for n in 0..3 {
        assert_eq!(fail(&mut ledger, 5 + u64::from(n), n), Some((5 + u64::from(n), held - usize::from(n))));
    }
    // A moment that is replaced makes room for what replaces it; there is none for a fourth.
    assert_eq!(fail(&mut ledger, 8, 2), Some((8, held - 3)));
    assert_eq!(fail(&mut ledger, 9, 3), Some((8, held - 3)));
    assert_eq!(fail(&mut ledger, 9 + RECENT_NS, 4), None);
    assert!(ledger.moment((7, 3, 4)).is_none() && ledger.moment((7, 3, 3)).is_some());
}

#[test]
fn a_port_that_leads_everywhere_is_not_walked_for_ever() {
    let mut ledger = Ledger::default();
    for dport in 0..MOST_ON_PORT as u16 {
        ledger.take(&row(Kind::Created, 40_001, dport));
    }
    ledger.take(&row(Kind::ConnectFailed, 0, 80));
    assert!(ledger.moment((7, 3, 80)).is_some());
    for dport in 1000..1009 {
        ledger.take(&row(Kind::Created, 40_001, dport));
    }
    assert!(ledger.moment((7, 3, 80)).is_none());
    assert_eq!(ledger.entries.len, MOST_ON_PORT);
}

#[test]
fn what_had_no_room_makes_no_half_truths() {
    let mut ledger = Ledger::default();
    for at in 0..=MOST {
        ledger.take(&row(Kind::Created, (at % 60_000) as u16, (at / 60_000) as u16 + 1));
    }
    ledger.take(&row(Kind::ConnectFailed, 0, 80));
    assert!(ledger.moment((7, 3, 80)).is_none());
    assert_eq!(ledger.entries.len, MOST);
}
