//! What the first line says of situations that people are in, at every size; and what is made of the room that a screen has: columns of the
//! rows that are seen, details where rows leave lines blank.

use std::net::IpAddr;

use ratatui::crossterm::event::KeyCode;

use super::Screen;
use super::samples::busy;
use crate::engine::{Capacity, PortKey, ProcessKey, Seed, Tracker};
use crate::model::event::{Comm, Conn, Errno, Event, Kind, Process, Role, Substate, Via};
use crate::model::settings::Settings;
use crate::present::live::fixture::{NETNS, NOW_S, SECOND_NS};
use crate::present::tui::Offscreen;
use crate::present::tui::journal::Journal;

const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];
/// Ports of the namespace.
const PORTS: u16 = 100;

/// A machine that is told what happened on it.
struct Story {
    tracker: Tracker,
    journal: Journal,
}

impl Story {
    fn new() -> Self {
        let mut tracker = Tracker::new();
        tracker.advance((NOW_S - 19) * SECOND_NS);
        let range = Settings::of_range(40_000, 40_000 + PORTS - 1);
        let settings = Settings { max_tw_buckets: Some(10_007), ..range };
        tracker.set_capacity(NETNS, Capacity { name: None, settings });
        Self { tracker, journal: Journal::default() }
    }

    fn tell(&mut self, kind: Kind, (pid, comm): (u32, &str), role: Role, sport: u16, dport: u16) {
        let mut event = Event::new(kind, (NOW_S - 2) * SECOND_NS, Some(conn(sport, dport)));
        event.role = role;
        event.owner = Some(Process {
            pid,
            tid: pid,
            uid: 0,
            cgroup_id: 0,
            start_ns: pid.into(),
            comm: Comm::new(comm),
        });
        if kind == Kind::ConnectFailed {
            event.errno = Some(Errno::AddrNotAvail);
        } else {
            event.via = Some(Via::Close);
            (event.substate, event.timeout_ms) = (Some(Substate::TimeWait), Some(60_000));
        }
        self.tracker.apply(&mut event);
        self.journal.note(&event);
    }

    /// The screen at each size, wrapped lines of the verdict joined.
    fn seen(&mut self) -> Vec<(u16, String, String)> {
        self.tracker.advance(NOW_S * SECOND_NS);
        let one = |(width, height): (u16, u16)| {
            let tracker = std::mem::take(&mut self.tracker);
            let screen = Screen::new((tracker, self.journal.clone()), (width, height));
            let text = screen.text();
            self.tracker = screen.tracker;
            let ends = |line: &&str| !line.starts_with("twtrace ") && !line.starts_with("[1");
            let first =
                text.lines().take(1).chain(text.lines().skip(1).take_while(|line| line.starts_with("   ")));
            let verdict: Vec<&str> = first.take_while(ends).flat_map(str::split_whitespace).collect();
            (width, verdict.join(" "), text)
        };
        SIZES.map(one).into()
    }
}

fn conn(sport: u16, dport: u16) -> Conn {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Conn { netns: NETNS, ifindex: 0, saddr: address("10.0.0.1"), daddr: address("10.0.0.9"), sport, dport }
}

fn all_say(story: &mut Story, wanted: &str) {
    for (width, verdict, text) in story.seen() {
        // On the smallest screen the end may be cut, never the beginning.
        let enough = if width < 80 { &wanted[..wanted.len().min(25)] } else { wanted };
        assert!(verdict.starts_with(enough), "{width}: {verdict}\n{text}");
        assert!(verdict.starts_with(wanted) || verdict.ends_with('…'), "a cut is told: {verdict}\n{text}");
    }
}

/// python3 finds no port, and every screen says so; the one of 80 columns.
fn python_fails(story: &mut Story) -> String {
    for _ in 0..13 {
        story.tell(Kind::ConnectFailed, (97, "python3"), Role::Client, 0, 5432);
    }
    all_say(story, "CRITICAL python3[97] cannot connect to 10.0.0.9:5432: 100 of 100 ports in TIME_WAIT");
    let (_, _, text) = story.seen().swap_remove(1);
    text
}

#[test]
fn a_process_without_a_name_is_called_the_same_everywhere() {
    let mut story = Story::new();
    for sport in 0..PORTS {
        story.tell(Kind::Created, (97, ""), Role::Client, 40_000 + sport, 5432);
    }
    story.tell(Kind::ConnectFailed, (97, ""), Role::Client, 0, 5432);
    let mut stranger = Event::new(Kind::Created, (NOW_S - 2) * SECOND_NS, Some(conn(40_001, 80)));
    (stranger.role, stranger.substate) = (Role::Client, Some(Substate::TimeWait));
    story.tracker.apply(&mut stranger);
    all_say(
        &mut story,
        "CRITICAL (empty)[97] cannot connect to 10.0.0.9:5432: 100 of 100 ports in TIME_WAIT",
    );
    let mut screen = Screen::new((story.tracker, story.journal), (140, 40));
    let has = |screen: &Screen, words: &str| {
        assert!(screen.text().contains(words), "{words} in\n{}", screen.text())
    };
    has(&screen, "97 (empty)");
    has(&screen, "97/(empty)");
    screen.press(KeyCode::Enter);
    has(&screen, "Process 97/(empty)");
    for (view, words) in [('2', "97 (empty)"), ('7', "97 (empty)"), ('d', "(empty) (pid 97)")] {
        screen.press(KeyCode::Char(view));
        has(&screen, words);
    }
    // Whose owner nobody saw is another matter.
    screen.type_in("1f");
    has(&screen, "×1 (empty)");
    has(&screen, "×1 unknown");
}

#[test]
fn who_began_after_older_sockets_were_made_did_not_make_them() {
    let of_7 = ProcessKey { pid: 7, start_ns: (NOW_S - 29) * SECOND_NS, comm: Comm::new("nginx") };
    for (ends_s, is_inferred) in [(NOW_S + 30, false), (NOW_S + 32, true)] {
        let mut story = Story::new();
        story.tracker.seed([Seed {
            conn: conn(443, 50_000),
            cookie: None,
            substate: Substate::TimeWait,
            role: Role::Server,
            ends_ns: ends_s * SECOND_NS,
        }]);
        story.tracker.set_listeners([(PortKey { netns: NETNS, sport: 443 }, of_7)].into());
        let screen = Screen::new((story.tracker, story.journal), (140, 40));
        assert_eq!(screen.text().contains("7/nginx? (inferred)"), is_inferred, "{}", screen.text());
    }
}

#[test]
fn an_outage_that_began_before_the_trace() {
    let mut story = Story::new();
    let ends_ns = (NOW_S + 30) * SECOND_NS;
    story.tracker.seed((0..PORTS).map(|n| Seed {
        conn: conn(40_000 + n, 5432),
        cookie: None,
        substate: Substate::TimeWait,
        role: Role::Unknown,
        ends_ns,
    }));
    let text = python_fails(&mut story);
    let failing = text.lines().find(|line| line.starts_with('>')).unwrap();
    assert!(failing.contains("python3"), "who fails comes first:\n{text}");
    assert!(text.contains("hottest  97/python3? (inferred)"), "the only user of the tuple:\n{text}");
    // Another one that connects there makes it anybody's guess.
    story.tell(Kind::Created, (101, "curl"), Role::Client, 41_000, 5432);
    let (_, _, text) = story.seen().swap_remove(1);
    assert!(text.contains("hottest  unknown"), "{text}");
}

#[test]
fn older_sockets_of_a_server_are_most_likely_of_who_listens() {
    let mut story = Story::new();
    story.tracker.seed((0..7).map(|n| Seed {
        conn: conn(443, 50_000 + n),
        cookie: None,
        substate: Substate::TimeWait,
        role: Role::Server,
        ends_ns: (NOW_S + 30) * SECOND_NS,
    }));
    assert!(story.tracker.wants_listeners());
    let key = ProcessKey { pid: 7, start_ns: 1, comm: Comm::new("nginx") };
    story.tracker.set_listeners([(PortKey { netns: NETNS, sport: 443 }, key)].into());
    let mut screen = Screen::new((std::mem::take(&mut story.tracker), story.journal.clone()), (140, 40));
    assert!(
        screen.text().contains(" unknown ") && screen.text().contains(" 7/nginx? (inferred) "),
        "{}",
        screen.text()
    );
    screen.press(KeyCode::Char('4'));
    assert!(screen.text().contains(" nginx?\n"), "{}", screen.text());
}

#[test]
fn an_outage_that_begins_after_it() {
    let mut story = Story::new();
    (0..PORTS).for_each(|n| story.tell(Kind::Created, (97, "python3"), Role::Client, 40_000 + n, 5432));
    // Harmless, and more of them.
    (0..307).for_each(|n| story.tell(Kind::Created, (7, "nginx"), Role::Server, 443, 50_000 + n));
    let text = python_fails(&mut story);
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains(" python3  ") || line.contains(" nginx  ")).collect();
    assert!(rows[0].starts_with(">!") && rows[1].contains("nginx"), "{text}");
}

#[test]
fn three_hundred_workers_of_one_program() {
    let mut story = Story::new();
    (0..PORTS).for_each(|n| {
        story.tell(Kind::Created, (1000 + u32::from(n), "php-fpm"), Role::Client, 40_000 + n, 9000)
    });
    (0..300).for_each(|n| story.tell(Kind::ConnectFailed, (1000 + n, "php-fpm"), Role::Client, 0, 9000));
    all_say(
        &mut story,
        "CRITICAL php-fpm[1000] +299 cannot connect to 10.0.0.9:9000: 100 of 100 ports in TIME_WAIT",
    );
    let mut screen = Screen::new((std::mem::take(&mut story.tracker), story.journal.clone()), (80, 24));
    screen.press(KeyCode::Char('f'));
    assert!(screen.text().contains("×300 php-fpm"), "{}", screen.text());
}

#[test]
fn ten_thousand_clients_that_lived_for_a_moment() {
    let mut story = Story::new();
    for n in 0..10_000_u16 {
        story.tell(Kind::Created, (20_000 + u32::from(n), "curl"), Role::Client, 40_000 + n % 50, 1 + n / 50);
    }
    let gone = story.tracker.present().into_iter().collect();
    story.tracker.mark_gone(&gone);
    let (_, _, text) = story.seen().swap_remove(1);
    assert!(text.contains("x ×10000 curl") || text.contains("x×10000 curl"), "{text}");
    assert!(text.contains(" 1-1 of 1"), "{text}");
}

#[test]
fn an_idle_machine() {
    all_say(&mut Story::new(), "OK no TIME_WAIT socket, no failure in 19s; watched: every netns");
}

#[test]
fn only_server_sides() {
    let mut story = Story::new();
    (0..5003).for_each(|n| story.tell(Kind::Created, (7, "nginx"), Role::Server, 443, 50_000 + n));
    all_say(&mut story, "OK nothing fails of late, in 19s of tracing");
}

/// The line of a table that names this.
fn line(screen: &Offscreen, name: &str) -> String {
    let text = screen.text();
    let found = text.lines().find(|line| line.contains(name));
    found.map(str::to_owned).unwrap_or(text)
}

#[test]
fn rows_that_are_seen_say_what_their_connections_were_like() {
    let (tracker, _) = busy();
    let mut screen = Offscreen::new(200, 24);
    screen.frame(&tracker);
    assert!(line(&screen, " 4194301 php-fpm ").contains("3.3ms   3.3ms"), "{}", screen.text());
    // Of the last ones nobody knew it before they were seen.
    screen.press(&tracker, 'G');
    assert!(line(&screen, " 222 curl ").contains("3.3ms   3.3ms"), "{}", screen.text());
    screen.press(&tracker, 'g');
    // Sorted by it, each row must have it.
    for _ in 0..6 {
        screen.press(&tracker, '>');
    }
    let text = screen.text();
    assert!(text.contains("AGE p50▼"), "{text}");
    assert!(line(&screen, " 4194301 php-fpm ").contains("3.3ms   3.3ms"), "{text}");
}

/// Lines of the table alone.
fn table(screen: &Offscreen) -> Vec<String> {
    let text = screen.text();
    let lines = text.lines().skip_while(|line| !line.contains("LIVE")).skip(1);
    lines.take_while(|line| !line.trim().is_empty() && !line.contains("F1")).map(str::to_owned).collect()
}

#[test]
fn rows_say_the_same_where_only_those_that_are_seen_are_worked_out() {
    let (tracker, _) = busy();
    for tab in ['1', '2', '3', '4', '5'] {
        let mut screen = Offscreen::new(200, 24);
        screen.press(&tracker, tab);
        screen.frame(&tracker);
        let seen = table(&screen);
        assert!(!seen.is_empty(), "{}", screen.text());
        // What stands still has everything.
        screen.press(&tracker, ' ');
        assert_eq!(table(&screen), seen, "{tab}");
    }
}

#[test]
fn details_stand_where_rows_leave_room() {
    let (tracker, _) = busy();
    let mut screen = Offscreen::new(80, 40);
    screen.frame(&tracker);
    assert!(!screen.text().contains(" meaning "), "rows come first: {}", screen.text());
    screen.press(&tracker, '4');
    let text = screen.text();
    assert!(text.contains(" Port 81 in netns") && text.contains(" meaning "), "{text}");
    // Where there is less room, the table has it to itself.
    let mut screen = Offscreen::new(80, 24);
    screen.press(&tracker, '4');
    assert!(!screen.text().contains(" meaning "), "{}", screen.text());
}
