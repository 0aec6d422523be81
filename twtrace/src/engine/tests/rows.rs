//! Which rows an event lands in, and what a snapshot makes of them: known scripts, exact numbers.

use std::collections::HashMap;

use super::script::{BEGAN_NS, NETNS, SECOND_NS, Script, client, server};
use crate::engine::{
    By, Figures, Fold, Pattern, Percentiles, PortKey, ProcessKey, ProcessRow, Rates, RowKey, Seed, Snapshot,
    Target, Tracker, TupleKey,
};
use crate::model::event::{Conn, Kind, Reason, Role, Substate};
use crate::model::filter::Omissions;
use crate::model::ports::Ports;

fn script() -> Script {
    Script::new(Tracker::new())
}

fn process(snapshot: &Snapshot, pid: u32) -> &ProcessRow {
    snapshot.processes.iter().find(|row| row.key.pid == pid).unwrap()
}

/// Live, created, ended, failed.
fn tally(figures: &Figures) -> (u64, u64, u64, u64) {
    (figures.live, figures.counts.created, figures.counts.ended(), figures.failed())
}

fn tuple(daddr: &str, dport: u16) -> TupleKey {
    TupleKey { netns: NETNS, saddr: "10.0.0.1".parse().unwrap(), daddr: daddr.parse().unwrap(), dport }
}

#[test]
fn an_event_lands_in_every_row_it_belongs_to() {
    let docker = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
    let wrk = client(11, "10.0.0.9", 5432).in_cgroup(&docker);
    let nginx = server(13, "10.0.0.7").in_cgroup("/system.slice/nginx.service");
    let mut script = script();
    script.born(&wrk, 40_000..40_017).born(&nginx, [80; 1]).fails(&nginx, Kind::BindFailed, 81, 3);
    script.ended(&wrk, 40_000..40_005, Reason::Expired).fails(&wrk, Kind::ConnectFailed, 0, 2);
    script.fails(&wrk, Kind::Overflow, 40_099, 1);
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!(tally(&snapshot.total), (13, 18, 5, 6));
    assert_eq!(tally(&process(&snapshot, 11).figures), (12, 17, 5, 3));
    assert_eq!(tally(&process(&snapshot, 13).figures), (1, 1, 0, 3));
    let tuples: Vec<_> = snapshot.tuples.iter().map(|row| (row.key, tally(&row.figures), row.main)).collect();
    assert_eq!(tuples, [(tuple("10.0.0.9", 5432), (12, 17, 5, 3), Some(wrk.key()))]);
    let peers: Vec<_> = snapshot.peers.iter().map(|row| (row.key.to_string(), tally(&row.figures))).collect();
    assert_eq!(peers, [("10.0.0.9".to_owned(), (12, 17, 5, 3)), ("10.0.0.7".to_owned(), (1, 1, 0, 0))]);
    let ports: Vec<_> =
        snapshot.ports.iter().map(|row| (row.key.sport, tally(&row.figures), row.main)).collect();
    assert_eq!(ports, [(80, (1, 1, 0, 0), Some(nginx.key())), (81, (0, 0, 0, 3), Some(nginx.key()))]);
    let containers: Vec<_> =
        snapshot.containers.iter().map(|row| (row.key.clone(), tally(&row.figures))).collect();
    assert_eq!(containers, [(Some("docker:0123456789ab".into()), (12, 17, 5, 3)), (None, (1, 1, 0, 3))]);
    let netns: Vec<_> = snapshot.netns.iter().map(|row| (row.key, tally(&row.figures))).collect();
    assert_eq!(netns, [(NETNS, (13, 18, 5, 6))]);
}

#[test]
fn a_row_knows_its_rates_roles_ages_and_times() {
    let wrk = client(11, "10.0.0.9", 5432);
    let mut script = script();
    script.at(0.5).born(&wrk, 40_000..40_101);
    script.at(59.5).born(&wrk, 41_000..41_019).ended(&wrk, 40_000..40_007, Reason::ReusedOutgoing);
    script.at(60.2);
    let snapshot = script.tracker.snapshot(&[By::Process]);
    let figures = &process(&snapshot, 11).figures;
    assert_eq!(figures.created_rate, Rates { s1: 19.0, s10: 1.9, s60: 2.0 });
    assert_eq!(figures.ended_rate, Rates { s1: 7.0, s10: 0.7, s60: 7.0 / 60.0 });
    assert_eq!((figures.client, figures.server, figures.peak_live, figures.live), (120, 0, 120, 113));
    assert_eq!(figures.counts.ended_for(Reason::ReusedOutgoing), 7);
    // Ages are 0 to 7 ms in turn: half lie at or below 3 ms, 90 % at or below 7 ms, to the nearest bucket.
    assert_eq!(figures.age_us, Some(Percentiles { p50: 2815, p90: 6655, p99: 6655 }));
    assert_eq!(figures.sent, Some(Percentiles { p50: 7, p90: 7, p99: 7 }));
    assert_eq!(figures.received, None);
    assert_eq!(
        (figures.first_ns, figures.last_ns),
        (BEGAN_NS + SECOND_NS / 2, BEGAN_NS + 59 * SECOND_NS + SECOND_NS / 2)
    );
    assert_eq!(
        (snapshot.created_history[60], snapshot.created_history[119], snapshot.ended_history[119]),
        (101, 19, 7)
    );
    assert_eq!((snapshot.now_ns, snapshot.began_ns), (script.now_ns, BEGAN_NS));
}

#[test]
fn pressure_is_on_the_tuple_whoever_holds_its_ports() {
    let (one, two) = (client(11, "10.0.0.9", 5432), client(12, "10.0.0.9", 5432));
    let other = client(11, "10.0.0.9", 443);
    let mut script = script();
    // 30 of these come before the range is known, 5 on ports that nobody drew from it.
    script.born(&one, 40_000..40_030).born(&other, 40_000..40_003).born(&one, 39_000..39_005);
    assert_eq!(process(&script.tracker.snapshot(&[By::Process]), 11).pressure, None);
    script.capacity((40_000, 40_099)).at(1.0).born(&two, 40_030..40_050);
    script.at(10.0);
    let snapshot = script.tracker.snapshot(By::ALL);
    let pressure = process(&snapshot, 12).pressure.unwrap();
    // 55 in 10 s: 5.5 a second hold 330 ports, so 50 free ones last 50 / 5.5 s.
    assert_eq!((pressure.in_use, pressure.ports, pressure.left(), pressure.fraction()), (50, 100, 50, 0.5));
    assert_eq!(pressure.full_in_s, Some(50.0 / 5.5));
    let row = process(&snapshot, 11);
    assert_eq!((row.pressure, row.targets), (Some(pressure), 2));
    let main = row.main.unwrap();
    assert_eq!(
        (main.target, main.live, main.pressure),
        (Target::Tuple(tuple("10.0.0.9", 5432)), 35, Some(pressure))
    );
    let hottest = snapshot.hottest.as_ref().unwrap();
    assert_eq!((hottest.key, hottest.main), (tuple("10.0.0.9", 5432), Some(one.key())));
    let fullest = snapshot.fullest.unwrap();
    assert_eq!((fullest.netns, fullest.live, fullest.max_tw_buckets), (NETNS, 58, 1_000));
    assert!(matches!(row.pattern, Pattern::PortsRunOut { .. }), "{:?}", row.pattern);
    // Sockets in other states hold ports too; then an administrator makes the range smaller.
    let open = |established| Ports { established, ..Ports::default() };
    script.tracker.set_other_ports([(
        NETNS,
        HashMap::from([(tuple("10.0.0.9", 5432), open(17)), (tuple("10.0.0.9", 1), open(5))]),
    )]);
    assert_eq!(script.tracker.snapshot(&[]).hottest.unwrap().pressure.unwrap().in_use, 67);
    script.capacity((40_000, 40_024));
    let pressure = script.tracker.snapshot(&[]).hottest.unwrap().pressure.unwrap();
    // All of them are in TIME_WAIT, so the 17 others are outside of the range by now, or are among these.
    assert_eq!((pressure.in_use, pressure.ports, pressure.full_in_s), (25, 25, Some(0.0)));
    script.tracker.set_other_ports([(NETNS, HashMap::new())]);
    script.ended(&one, 40_000..40_030, Reason::Expired);
    assert_eq!(
        script.tracker.snapshot(&[]).hottest.unwrap().pressure.unwrap().in_use,
        3,
        "the other tuple is hotter now"
    );
}

#[test]
fn pools_that_no_event_was_about_are_told_where_they_are_half_full() {
    let mut script = script();
    script.capacity((40_000, 40_099));
    let silent = |time: u32| Ports { close_wait: time, syn_sent: 3, ..Ports::default() };
    script.tracker.set_other_ports([(
        NETNS,
        HashMap::from([(tuple("10.0.0.7", 443), silent(50)), (tuple("10.0.0.7", 80), silent(46))]),
    )]);
    let snapshot = script.tracker.snapshot(&[By::Tuple]);
    let [row] = &snapshot.tuples[..] else { panic!("{:?}", snapshot.tuples) };
    assert_eq!((row.key, row.held(), row.figures.live), (tuple("10.0.0.7", 443), silent(50), 0));
    assert_eq!(row.pressure.map(|pressure| (pressure.in_use, pressure.ports)), Some((53, 100)));
    assert_eq!(snapshot.hottest.as_ref(), Some(row));
    script.tracker.set_other_ports([(NETNS, HashMap::new())]);
    assert_eq!(script.tracker.snapshot(&[By::Tuple]).tuples, []);
}

#[test]
fn ports_of_those_who_are_left_out_are_in_use_and_nobody_knows_their_rate() {
    let of = |flags: &[&str]| {
        let mut script = script();
        script
            .tracker
            .count_a_part(Omissions::of(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()));
        script.capacity((40_000, 40_099)).born(&client(11, "10.0.0.9", 5432), 40_000..40_020).at(2.0);
        let hidden = Ports { time_wait: 29, fin_wait2: 2, established: 5, ..Ports::default() };
        let full = Ports { time_wait: 97, ..Ports::default() };
        script.tracker.set_other_ports([(
            NETNS,
            HashMap::from([(tuple("10.0.0.9", 5432), hidden), (tuple("10.0.0.7", 443), full)]),
        )]);
        script.tracker.snapshot(&[By::Tuple])
    };
    let snapshot = of(&["--comm a"]);
    // What fills a pool that no event was about is in TIME_WAIT, and none of the business of who asked.
    let [row] = &snapshot.tuples[..] else { panic!("{:?}", snapshot.tuples) };
    let pressure = row.pressure.unwrap();
    assert_eq!((pressure.in_use, pressure.time_wait, row.hidden), (56, 51, 31));
    assert_eq!((pressure.full_in_s, pressure.has_rates), (None, false));
    assert_eq!(row.held(), Ports { time_wait: 51, established: 5, ..Ports::default() });
    assert_eq!((row.figures.live, &snapshot.part.of_owners[..]), (20, &["--comm a".to_owned()][..]));
    let whole = of(&[]);
    assert!(whole.tuples.iter().any(|row| row.pressure.unwrap().full_in_s.is_some()));
}

#[test]
fn a_line_names_where_ports_run_short_and_else_what_is_most() {
    let (many, few) = (client(11, "10.0.0.9", 443), client(11, "10.0.0.9", 5432));
    let target = |script: &Script| {
        let snapshot = script.tracker.snapshot(&[By::Process]);
        process(&snapshot, 11).told().unwrap().target
    };
    let mut script = script();
    script.capacity((40_000, 40_009)).born(&many, 41_000..41_020).born(&few, 40_000..40_006);
    assert_eq!(target(&script), Target::Tuple(tuple("10.0.0.9", 5432)), "6 in a second, and 4 left");
    script.at(70.0);
    assert_eq!(target(&script), Target::Tuple(tuple("10.0.0.9", 443)));
    script.born(&few, [40_006]).at(90.0);
    assert_eq!(target(&script), Target::Tuple(tuple("10.0.0.9", 5432)), "7 of 10");
}

#[test]
fn a_pool_whose_ports_are_reused_does_not_run_out() {
    let wrk = client(11, "10.0.0.9", 5432);
    let full_in_s =
        |script: &Script| script.tracker.snapshot(&[]).hottest.unwrap().pressure.unwrap().full_in_s;
    let mut script = script();
    script.capacity((40_000, 40_099)).born(&wrk, 40_000..40_050).at(10.0);
    assert_eq!(full_in_s(&script), Some(10.0));
    script.ended(&wrk, [40_000], Reason::ReusedOutgoing).born(&wrk, [40_000]);
    assert_eq!(full_in_s(&script), None);
    // Somebody sets tcp_tw_reuse to 0.
    script.at(19.5).born(&wrk, 40_050..40_070).at(20.5);
    assert_eq!(full_in_s(&script), Some(30.0 / 2.0));
}

#[test]
fn only_ends_for_the_wanted_reasons_count_and_ports_last_as_long_as_they_do() {
    let (wrk, other) = (client(11, "10.0.0.9", 5432), client(12, "10.0.0.9", 443));
    let mut script = script();
    script.tracker.count_only(&[Reason::Reset]);
    script.capacity((40_000, 40_099)).born(&wrk, 40_000..40_050).born(&other, 40_000..40_007).at(5.0);
    script.ended(&wrk, 40_000..40_020, Reason::Expired).ended(&wrk, 40_020..40_023, Reason::Reset);
    script.ended(&other, 40_000..40_003, Reason::Expired).at(10.0);
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!(tally(&snapshot.total), (31, 57, 3, 0));
    assert_eq!(tally(&process(&snapshot, 11).figures), (27, 50, 3, 0));
    assert_eq!((snapshot.processes.len(), snapshot.tuples.len(), snapshot.netns.len()), (1, 1, 1));
    let folded = script.tracker.folded(&script.tracker.survey(), Fold::Netns);
    assert_eq!(folded.iter().map(|row| row.members.len()).collect::<Vec<_>>(), [2]);
    let pod = client(13, "10.0.0.9", 443).in_cgroup("/system.slice/other.service");
    script.born(&pod, [40_050]).ended(&pod, [40_050], Reason::Expired).at(11.0);
    let units = script.tracker.folded(&script.tracker.survey(), Fold::Unit);
    assert_eq!(units.iter().map(|row| row.name.as_deref()).collect::<Vec<_>>(), [None], "no end by RST");
    // 50 came and 23 went in 10 s: of 73 ports that are left, 2.7 go a second.
    let pressure = snapshot.hottest.unwrap().pressure.unwrap();
    assert_eq!((pressure.in_use, pressure.full_in_s), (27, Some(73.0 / (5.0 - 2.3))));
}

#[test]
fn a_peak_stays_and_the_main_target_is_that_with_most_live_sockets() {
    let (old, new) = (client(11, "10.0.0.9", 5432), client(11, "10.0.0.9", 443));
    let mut script = script();
    script.born(&new, 40_000..40_003);
    script.born(&old, 40_000..40_011).ended(&old, 40_000..40_010, Reason::Expired).born(&new, [40_003]);
    script.fails(&old, Kind::BindFailed, 0, 1);
    let snapshot = script.tracker.snapshot(By::ALL);
    let row = process(&snapshot, 11);
    assert_eq!((row.figures.peak_live, row.figures.live, row.figures.failed()), (14, 5, 1));
    let main = row.main.unwrap();
    assert_eq!((main.target, main.live, main.created), (Target::Tuple(tuple("10.0.0.9", 443)), 4, 4));
    assert_eq!(
        (snapshot.ports.len(), snapshot.dropped.events),
        (0, 0),
        "no port is to blame for a bind to any"
    );
}

#[test]
fn sockets_without_an_owner_have_a_row_of_their_own() {
    let mut script = script();
    let conn = |sport| Conn { ..client(0, "10.0.0.9", 5432).conn(sport) };
    let seed = |sport, role| Seed {
        conn: conn(sport),
        cookie: None,
        substate: Substate::TimeWait,
        role,
        ends_ns: BEGAN_NS + SECOND_NS,
    };
    let unknown = (40_000..40_013).map(|sport| seed(sport, Role::Unknown));
    script.tracker.seed(unknown.chain([seed(80, Role::Server)]));
    script.at(1.0).ended(&client(0, "10.0.0.9", 5432), [40_000], Reason::Expired);
    let snapshot = script.tracker.snapshot(By::ALL);
    let row = process(&snapshot, 0);
    assert_eq!((row.key, tally(&row.figures), row.targets), (ProcessKey::UNKNOWN, (13, 0, 1, 0), 2));
    assert_eq!(snapshot.ports[0].key, PortKey { netns: NETNS, sport: 80 });
    assert_eq!(
        (snapshot.tuples[0].figures.live, snapshot.ports[0].figures.live, snapshot.containers.len()),
        (12, 1, 0)
    );
}

#[test]
fn a_birth_after_its_listing_moves_the_socket_to_its_owner() {
    let wrk = client(11, "10.0.0.9", 5432);
    let mut script = script();
    let seed = |sport| Seed {
        conn: wrk.conn(sport),
        cookie: None,
        substate: Substate::TimeWait,
        role: Role::Unknown,
        ends_ns: BEGAN_NS + SECOND_NS,
    };
    script.tracker.seed((40_000..40_007).map(seed));
    script.born(&wrk, 40_000..40_005);
    let snapshot = script.tracker.snapshot(By::ALL);
    assert_eq!((process(&snapshot, 0).figures.live, process(&snapshot, 11).figures.live), (2, 5));
    assert_eq!((snapshot.tuples[0].figures.live, snapshot.total.live, snapshot.total.peak_live), (7, 7, 7));
}

#[test]
fn who_is_gone_stays_while_it_has_live_sockets() {
    let curl = client(11, "10.0.0.9", 443);
    let mut script = script();
    script.born(&curl, 40_000..40_003).at(1.0);
    let who: std::collections::HashSet<_> = [(curl.key().pid, curl.key().start_ns)].into();
    assert_eq!(script.tracker.present(), who);
    script.tracker.mark_gone(&who);
    assert_eq!(script.tracker.present().len(), 0);
    assert!(process(&script.at(600.0).tracker.snapshot(&[By::Process]), 11).gone);
    script.ended(&curl, 40_000..40_003, Reason::Expired).at(659.0);
    assert_eq!(script.tracker.snapshot(&[By::Process]).processes.len(), 1, "its rates still show");
    script.at(661.0);
    assert_eq!(script.tracker.snapshot(&[By::Process]).processes.len(), 0);
    assert_eq!(script.tracker.dropped().rows, 0, "nothing was lost");
}

#[test]
fn details_name_everything_that_a_row_deals_with() {
    let (wrk, other) = (client(11, "10.0.0.9", 5432), client(11, "10.0.0.9", 443));
    let (nginx, far) = (server(13, "10.0.0.7"), server(13, "10.0.0.8"));
    let mut script = script();
    script.born(&wrk, 40_000..40_005).born(&other, 40_000..40_011).born(&nginx, [80]).born(&far, [80]);
    script.at(1.0);
    let tracker = &script.tracker;
    let detail = tracker.detail(&RowKey::Process(wrk.key())).unwrap();
    let links: Vec<_> = detail.links.iter().map(|link| (link.target, link.live)).collect();
    let both = [Target::Tuple(tuple("10.0.0.9", 443)), Target::Tuple(tuple("10.0.0.9", 5432))];
    assert_eq!(links, [(both[0], 11), (both[1], 5)]);
    assert_eq!((detail.peers, detail.created_history[119]), (vec![("10.0.0.9".parse().unwrap(), 16)], 16));
    let port = PortKey { netns: NETNS, sport: 80 };
    let detail = tracker.detail(&RowKey::Port(port)).unwrap();
    assert_eq!((detail.links.len(), detail.links[0].process, detail.links[0].live), (1, nginx.key(), 2));
    assert_eq!(detail.peers, [("10.0.0.7".parse().unwrap(), 1), ("10.0.0.8".parse().unwrap(), 1)]);
    let count = |key| tracker.detail(&key).map(|detail| (detail.links.len(), detail.figures.live));
    assert_eq!(count(RowKey::Tuple(tuple("10.0.0.9", 443))), Some((1, 11)));
    assert_eq!(count(RowKey::Peer("10.0.0.9".parse().unwrap())), Some((2, 16)));
    assert_eq!(count(RowKey::Netns(NETNS)), Some((3, 18)));
    assert_eq!(count(RowKey::Netns(1)), None);
    assert_eq!(count(RowKey::Container(None)), None);
}
