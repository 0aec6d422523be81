//! Waiting, with a clock and a kernel made of numbers.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use super::*;
use crate::host::net::sockdiag::{DiagSocket, TIMER_TIME_WAIT};

fn goal(below: usize) -> Goal {
    Goal { below, pools: Vec::new(), timeout: Duration::from_secs(90), interval: Duration::from_secs(2) }
}

/// Sockets to 127.0.0.1:`dport` whose timers fire after so many milliseconds.
fn seen(dport: u16, expiries: &[u32]) -> NetnsSockets {
    let here = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    let socket = |(n, expires_ms): (usize, &u32)| DiagSocket {
        family: 4,
        is_mapped: false,
        state: if n % 2 == 0 { 6 } else { 5 },
        timer: TIMER_TIME_WAIT,
        saddr: here,
        daddr: here,
        sport: 40_000 + n as u16,
        dport,
        ifindex: 0,
        expires_ms: *expires_ms,
        uid: 0,
        inode: 0,
        cookie: 0,
    };
    let sockets = expiries.iter().enumerate().map(socket).collect();
    let (interfaces, known) = (HashMap::new(), HashMap::new());
    NetnsSockets { netns: 7, sockets, listeners: HashSet::new(), capacity: None, interfaces, known }
}

#[test]
fn what_is_left_says_when_it_is_enough() {
    let all = [seen(80, &[900, 100, 500]), seen(81, &[300, 700])];
    for (below, enough_ms) in [(0, Some(900)), (1, Some(700)), (4, Some(100)), (5, None), (6, None)] {
        let left = goal(below).left(&all);
        let want = Left {
            sockets: 5,
            enough_in: enough_ms.map(Duration::from_millis),
            last_in: Duration::from_millis(900),
        };
        assert_eq!(left, want, "{below}");
    }
    assert_eq!(goal(0).left(&[]), Left { sockets: 0, enough_in: None, last_in: Duration::ZERO });
}

#[test]
fn only_sockets_of_the_tuples_count() {
    let all = [seen(80, &[900, 100, 500]), seen(81, &[300, 700])];
    for (pools, want) in [
        (&["127.0.0.1,127.0.0.1,80"][..], 3),
        (&["127.0.0.1,81"], 2),
        (&["127.0.0.1,81", "127.0.0.1,80"], 5),
        (&["127.0.0.2,127.0.0.1,80"], 0),
        (&["127.0.0.2,80"], 0),
        (&["::ffff:127.0.0.1,80"], 3),
        (&["[::ffff:127.0.0.1],127.0.0.1,80"], 3),
    ] {
        let pools: Vec<PoolFilter> = pools.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(Goal { pools: pools.clone(), ..goal(0) }.left(&all).sockets, want, "{pools:?}");
    }
}

#[test]
fn a_tuple_of_another_form_is_named() {
    for bad in [
        "",
        "80",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1,65536",
        "a,127.0.0.1,80",
        "::1,::1,80,7",
        "[127.0.0.1],80",
    ] {
        let text = bad.parse::<PoolFilter>().unwrap_err();
        assert!(text.contains(&format!("'{bad}'")), "{text}");
    }
}

/// Runs a wait over sockets whose timers fire at these times; returns the outcome, the pauses and what was told.
fn run(goal: &Goal, fires_ms: &[u32]) -> (Outcome, Vec<u64>, Vec<usize>) {
    let now = Cell::new(Duration::ZERO);
    let (pauses, told) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let count = || {
        let now_ms = now.get().as_millis() as u32;
        let there: Vec<u32> = fires_ms.iter().filter(|at| **at > now_ms).map(|at| at - now_ms).collect();
        Ok::<_, std::convert::Infallible>(goal.left(&[seen(80, &there)]))
    };
    let pause = |span: Duration| {
        pauses.borrow_mut().push(span.as_millis() as u64);
        now.set(now.get() + span);
    };
    let Ok(outcome) = goal.wait(count, || now.get(), pause, |left| told.borrow_mut().push(left.sockets));
    (outcome, pauses.into_inner(), told.into_inner())
}

#[test]
fn it_looks_again_when_enough_should_have_gone() {
    let (outcome, pauses, told) = run(&goal(1), &[1_000, 3_500, 4_700]);
    let left = Left { sockets: 1, enough_in: None, last_in: Duration::from_millis(1_200) };
    assert_eq!(outcome, Outcome::Reached(left));
    assert_eq!((pauses, told), (vec![2_000, 1_500], vec![3, 2]));
}

#[test]
fn nothing_to_wait_for_is_reached_at_once() {
    let (outcome, pauses, told) = run(&goal(0), &[]);
    assert!(matches!(outcome, Outcome::Reached(Left { sockets: 0, .. })));
    assert!(pauses.is_empty() && told.is_empty());
}

#[test]
fn time_is_up_and_it_is_said_what_is_left() {
    let goal = Goal { timeout: Duration::from_millis(2_900), ..goal(0) };
    let (outcome, pauses, _) = run(&goal, &[1_000, 3_500, 4_700]);
    let left_ms = 4_700 - 2_900;
    let left = Left {
        sockets: 2,
        enough_in: Some(Duration::from_millis(left_ms)),
        last_in: Duration::from_millis(left_ms),
    };
    assert_eq!((outcome, pauses), (Outcome::TimedOut(left), vec![2_000, 900]));
}

#[test]
fn sockets_that_are_due_are_not_looked_at_without_pause() {
    let (now, counts) = (Cell::new(Duration::ZERO), Cell::new(0_u32));
    let count = || {
        counts.set(counts.get() + 1);
        Ok::<_, ()>(Left { sockets: 3, enough_in: Some(Duration::ZERO), last_in: Duration::ZERO })
    };
    let outcome = goal(0).wait(count, || now.get(), |span| now.set(now.get() + span), |_| {});
    assert!(matches!(outcome, Ok(Outcome::TimedOut(_))));
    assert_eq!(counts.get(), 901, "every 100 ms for 90 s, and once at the end");
}
