//! Tests of the history: known seconds, exact rates.

use super::*;

fn filled(events: &[(u32, u32)]) -> History {
    let mut history = History::default();
    for &(at, count) in events {
        (0..count).for_each(|_| history.add(at, Flow::Created));
    }
    history
}

fn rates(history: &History, now: u32) -> [Rates; 3] {
    let mut windows = Windows::new(now, Rates::WINDOWS);
    windows.add(history);
    Rates::of(&windows)
}

fn series_of(history: &History, flow: Flow, now: u32) -> Vec<u32> {
    series([history].into_iter(), flow, now)
}

#[test]
fn several_histories_add_up_and_one_takes_another_over() {
    let (mut one, other) = (filled(&[(3, 7), (58, 11)]), filled(&[(3, 5), (57, 300)]));
    let mut windows = Windows::new(60, Rates::WINDOWS);
    [&one, &other].into_iter().for_each(|history| windows.add(history));
    let together = Rates::of(&windows);
    one.absorb(&other);
    assert_eq!(rates(&one, 60), together);
    assert_eq!(together[Flow::Created as usize].s60, 323.0 / 60.0);
    assert_eq!(series([&other, &one].into_iter(), Flow::Created, 60)[HISTORY_S - 57], 5 + 12);
}

fn is_quiet(history: &History) -> bool {
    matches!(history.seconds, Seconds::Quiet(_))
}

#[test]
fn rates_are_over_full_seconds() {
    for scale in [1, 101] {
        let events = [(0, 7), (9, 11), (50, 13), (59, 17), (60, 19)].map(|(at, count)| (at, count * scale));
        let history = filled(&events);
        assert_eq!(is_quiet(&history), scale == 1);
        let scaled = |s1, s10, s60| {
            let by = f64::from(scale);
            Rates { s1: s1 * by / 1.0, s10: s10 * by / 10.0, s60: s60 * by / 60.0 }
        };
        assert_eq!(rates(&history, 60)[Flow::Created as usize], scaled(17.0, 30.0, 48.0));
        assert_eq!(rates(&history, 61)[Flow::Created as usize], scaled(19.0, 36.0, 60.0));
        assert_eq!(rates(&history, 60)[Flow::Ended as usize], Rates::default());
        assert_eq!(rates(&history, 660)[Flow::Created as usize], Rates::default());
    }
}

#[test]
fn a_young_trace_divides_by_what_there_is() {
    let history = filled(&[(0, 7), (1, 13)]);
    assert_eq!(rates(&history, 0)[Flow::Created as usize].s60, 7.0);
    assert_eq!(rates(&history, 1)[Flow::Created as usize], Rates { s1: 7.0, s10: 7.0, s60: 7.0 });
    assert_eq!(rates(&history, 2)[Flow::Created as usize], Rates { s1: 13.0, s10: 10.0, s60: 10.0 });
}

#[test]
fn late_events_go_where_they_belong() {
    let history = filled(&[(5, 1), (9, 1), (7, 2), (5, 3), (2, 5)]);
    let series = series_of(&history, Flow::Created, 10);
    assert_eq!(series.len(), HISTORY_S);
    assert_eq!(series[HISTORY_S - 9..], [0, 5, 0, 0, 4, 0, 2, 0, 1]);
}

#[test]
fn two_minutes_are_kept_and_no_more() {
    for busy in [0, 307] {
        // Past 255 seconds, so that numbers modulo 256 have come round.
        let mut history = filled(&(0..307).map(|at| (at, at % 7 + 1 + busy)).collect::<Vec<_>>());
        assert_eq!(is_quiet(&history), busy == 0);
        let series = series_of(&history, Flow::Created, 306);
        let want: Vec<u32> = (186..306).map(|at| at % 7 + 1 + busy).collect();
        assert_eq!(series, want);
        history.add(185, Flow::Created);
        assert_eq!(series_of(&history, Flow::Created, 306), want, "older than what is kept");
        history.add(306 + 119, Flow::Created);
        let series = series_of(&history, Flow::Created, 306 + 120);
        assert_eq!((series[0], series[118], series[119]), (306 % 7 + 1 + busy, 0, 1));
        history.add(306 + 119 + 121, Flow::Ended);
        assert_eq!(series_of(&history, Flow::Created, 306 + 240).iter().sum::<u32>(), 0);
    }
}

#[test]
fn a_quiet_row_turns_busy_without_losing_count() {
    let mut history = filled(&[(3, 255), (4, 1)]);
    history.add(4, Flow::Ended);
    assert!(is_quiet(&history));
    history.add(3, Flow::Created);
    assert!(!is_quiet(&history));
    let [created, ended] = [Flow::Created, Flow::Ended].map(|flow| series_of(&history, flow, 5));
    assert_eq!((&created[HISTORY_S - 2..], &ended[HISTORY_S - 2..]), (&[256, 1][..], &[0, 1][..]));
    history.rest(4 + 120);
    assert!(!is_quiet(&history));
    history.rest(4 + 121);
    assert!(is_quiet(&history));
}
