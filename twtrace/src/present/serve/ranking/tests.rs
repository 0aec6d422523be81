//! What must hold of what a ranking tells: sums are exact and nothing goes back, whatever comes and goes.

use super::*;

const S: u64 = SECOND_NS;

/// Sums of what is told, next to what was counted.
fn sums(told: &Busiest<u32>) -> (u64, u64, u64) {
    let rows = told.rows.iter();
    let created = rows.clone().map(|row| row.counts.created).sum::<u64>() + told.other.created;
    let ended = rows.clone().map(|row| row.counts.ended()).sum::<u64>() + told.other.ended();
    (created, ended, rows.map(|row| row.live).sum::<u64>() + told.other_live)
}

fn row(told: &Busiest<u32>, key: u32) -> Option<(u64, u64)> {
    told.rows.iter().find(|row| row.key == key).map(|row| (row.counts.created, row.live))
}

fn create(ranking: &mut Ranking<u32>, key: u32, times: u64, now_ns: u64) {
    (0..times).for_each(|_| ranking.count(Some(key), Kind::Created, None, now_ns));
}

fn end(ranking: &mut Ranking<u32>, key: u32, times: u64, now_ns: u64) {
    (0..times).for_each(|_| ranking.count(Some(key), Kind::Ended, Some(Reason::Expired), now_ns));
}

#[test]
fn the_busiest_are_told_apart_and_the_rest_is_other() {
    let mut ranking = Ranking::new(2);
    for (key, times) in [(1, 17), (2, 3), (3, 19)] {
        create(&mut ranking, key, times, S);
    }
    ranking.count(None, Kind::Created, None, S);
    let told = ranking.tell(2 * S, |_| false);
    assert_eq!((row(&told, 1), row(&told, 2), row(&told, 3)), (Some((17, 17)), None, Some((19, 19))));
    assert_eq!((told.other.created, told.other_live, sums(&told)), (4, 4, (40, 0, 40)));
}

#[test]
fn one_that_is_shown_stays_until_another_is_twice_as_busy() {
    let mut ranking = Ranking::new(1);
    create(&mut ranking, 1, 11, S);
    ranking.tell(S, |_| false);
    create(&mut ranking, 2, 13, 2 * S);
    for (at_s, shown) in [(2, 1), (200, 1), (302, 1)] {
        let told = ranking.tell(at_s * S, |_| false);
        assert_eq!((told.rows.len(), told.rows[0].key), (1, shown), "{at_s}");
    }
    create(&mut ranking, 2, 17, 303 * S);
    let told = ranking.tell(303 * S, |_| false);
    // What was told in `other` stays there: its series begins with what is new.
    assert_eq!((row(&told, 1), row(&told, 2)), (None, Some((17, 30))));
    assert_eq!((told.other.created, told.other_live, sums(&told)), (24, 11, (41, 0, 41)));
}

#[test]
fn what_is_gone_goes_over_to_other() {
    let mut ranking = Ranking::new(2);
    create(&mut ranking, 1, 7, S);
    create(&mut ranking, 2, 5, S);
    ranking.tell(S, |_| false);
    end(&mut ranking, 1, 7, 61 * S);
    // Its process has ended; a scrape a minute later sees the last of it.
    let told = ranking.tell(360 * S, |key| *key == 1);
    assert_eq!((row(&told, 1), told.other.created), (Some((7, 0)), 0));
    let told = ranking.tell(361 * S, |key| *key == 1);
    assert_eq!(
        (row(&told, 1), row(&told, 2), told.other.created, sums(&told)),
        (None, Some((5, 5)), 7, (12, 7, 5))
    );
    // It comes back, and begins at what is new.
    create(&mut ranking, 1, 3, 400 * S);
    let told = ranking.tell(400 * S, |_| false);
    assert_eq!((row(&told, 1), told.other.created), (Some((3, 3)), 7));
}

#[test]
fn one_with_sockets_is_not_gone() {
    let mut ranking = Ranking::new(1);
    create(&mut ranking, 1, 7, S);
    assert_eq!(row(&ranking.tell(9_999 * S, |_| true), 1), Some((7, 7)));
}

#[test]
fn nothing_ever_goes_back_and_memory_has_an_end() {
    let mut ranking = Ranking::new(5);
    let mut before: HashMap<u32, u64> = HashMap::new();
    let (mut other, mut created, mut ended) = (0, 0, 0);
    // Keys come and go; each is busy for a while, at its own pace.
    for step in 0..20_011_u64 {
        let now_ns = step * S / 3;
        let key = (step / 97 + step % 7 * 31) as u32 % 211;
        create(&mut ranking, key, 1 + step % 3, now_ns);
        created += 1 + step % 3;
        if step % 2 == 0 {
            end(&mut ranking, key, 1, now_ns);
            ended += 1;
        }
        if step % 11 != 0 {
            continue;
        }
        let told = ranking.tell(now_ns, |key| u64::from(*key) % 13 == step % 13);
        assert_eq!(sums(&told), (created, ended, created - ended));
        assert!(told.rows.len() <= 5 && ranking.entries.len() <= 5 * FOLLOWED);
        assert!(told.other.created >= other, "step {step}");
        other = told.other.created;
        let now: HashMap<u32, u64> = told.rows.iter().map(|row| (row.key, row.counts.created)).collect();
        for (key, count) in &now {
            assert!(before.get(key).is_none_or(|before| before <= count), "step {step}, key {key}");
        }
        before = now;
    }
}

#[test]
fn a_socket_that_began_unnamed_ends_unnamed() {
    let mut ranking = Ranking::new(1);
    for key in 0..=FOLLOWED as u32 {
        create(&mut ranking, key, 1, S);
    }
    // All have a live socket: there is no room for the last.
    end(&mut ranking, FOLLOWED as u32, 1, 2 * S);
    end(&mut ranking, 0, 1, 2 * S);
    create(&mut ranking, FOLLOWED as u32, 1, 3 * S);
    end(&mut ranking, FOLLOWED as u32, 1, 3 * S);
    let told = ranking.tell(3 * S, |_| false);
    assert_eq!(sums(&told), (FOLLOWED as u64 + 2, 3, FOLLOWED as u64 - 1));
}
