//! Owns: what the rules make of facts: for each, facts of which it speaks, and facts close to them of which it does not.
//! Must not know: how facts are come by.

mod counters;
mod parts;
mod ports;
mod refusals;
mod samples;

use samples::calm;
pub(in crate::diagnose) use samples::{client, facts, full, netns, share, tuple, with_tuple};

use crate::diagnose::facts::*;
use crate::diagnose::finding::{Finding, Holds, Severity};
use crate::diagnose::{diagnose, explain};

/// Every finding that the tests have seen must be one of those that are promised.
fn found(facts: &Facts) -> Vec<Finding> {
    let findings = diagnose(facts);
    for finding in &findings {
        assert!(explain::is("FINDING", finding.id), "{}", finding.id);
        assert!(finding.severity == Severity::Fine || !finding.headline.is_empty(), "{}", finding.id);
        for remedy in &finding.remedies {
            assert!(explain::is("REMEDY", remedy.id), "{}", remedy.id);
            assert!(
                remedy.holds != Holds::No && !remedy.because.is_empty() && !remedy.risk.is_empty(),
                "{remedy:?}"
            );
            assert!(remedy.command.is_some() || remedy.change.is_some(), "{remedy:?}");
        }
        for not_here in &finding.not_here {
            let is = |title| explain::is(title, not_here.id);
            assert!(is("REMEDY") || is("FOLKLORE"), "{}", not_here.id);
        }
    }
    findings
}

fn ids(facts: &Facts) -> Vec<&'static str> {
    found(facts).iter().map(|finding| finding.id).collect()
}

fn only(facts: &Facts) -> Finding {
    let mut findings = found(facts);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn expect_effect(finding: &Finding, id: &str, what: &str, want: (f64, f64)) {
    let remedy = finding.remedies.iter().find(|remedy| remedy.id == id).unwrap();
    let effect = remedy.effects.iter().find(|effect| effect.what == what).unwrap();
    let is_close = |got: f64, want: f64| (got - want).abs() < 1e-6;
    assert!(
        is_close(effect.before, want.0) && is_close(effect.after, want.1),
        "{id}: {effect:?}, not {want:?}"
    );
}

fn refused(finding: &Finding, id: &str) -> bool {
    finding.not_here.iter().any(|not_here| not_here.id == id)
        && finding.remedies.iter().all(|remedy| remedy.id != id)
}

#[test]
fn a_quiet_machine_has_nothing_wrong() {
    assert_eq!(ids(&with_tuple(calm())), ["nothing_wrong"]);
    assert_eq!(ids(&Facts::default()), ["nothing_wrong"]);
    let lossy = Facts { lost: 7, ..with_tuple(calm()) };
    assert!(only(&lossy).what.contains("7 events were lost"));
}

#[test]
fn a_pool_is_named_after_what_holds_it() {
    let time_wait = Ports { time_wait: 1000, ..Ports::default() };
    let open = Ports { time_wait: 20, established: 980, ..Ports::default() };
    let orphans = Ports { time_wait: 300, fin_wait2: 700, ..Ports::default() };
    for (ports, failed, want, severity) in [
        (time_wait, 13, "ports_exhausted", Severity::Critical),
        (time_wait, 0, "ports_running_out", Severity::Critical),
        (Ports { time_wait: 400, ..time_wait }, 0, "ports_running_out", Severity::Warning),
        (open, 13, "ports_held_open", Severity::Critical),
        (open, 0, "ports_held_open", Severity::Critical),
        (orphans, 13, "fin_wait2_pileup", Severity::Critical),
        (Ports { time_wait: 0, fin_wait2: 200, ..time_wait }, 0, "fin_wait2_pileup", Severity::Warning),
    ] {
        let created = if ports.time_wait == 0 || ports.established != 0 { 0 } else { 400 };
        let finding = only(&with_tuple(Tuple { created, ..full(ports, failed) }));
        assert_eq!((finding.id, finding.severity), (want, severity), "{ports:?} {failed}");
    }
}

#[test]
fn reuse_that_works_takes_the_danger_away() {
    let busy = full(Ports { time_wait: 900, ..Ports::default() }, 0);
    let near = Tuple { reach: Reach::Loopback, ..busy.clone() };
    let set = |tw_reuse, tuple: &Tuple| {
        let mut netns = Netns { tuples: vec![tuple.clone()], ..netns() };
        netns.settings.tw_reuse = Some(tw_reuse);
        facts(netns)
    };
    assert_eq!(ids(&set(2, &busy)), ["ports_running_out"]);
    assert_eq!(ids(&set(1, &busy)), ["nothing_wrong"]);
    assert_eq!(ids(&set(2, &near)), ["loopback_backend"]);
    assert_eq!(ids(&set(0, &near)), ["ports_running_out"]);
    // Not seen is not proven.
    let unseen = Tuple { timestamps: None, ..busy };
    assert_eq!(ids(&set(1, &unseen)), ["ports_running_out"]);
}

/// A view counts sockets that there are; who made the earlier ones it does not know.
#[test]
fn a_local_backend_is_connected_to_by_whom_its_sockets_are_of() {
    let tuple = Tuple { reach: Reach::Loopback, ..full(Ports { time_wait: 900, ..Ports::default() }, 0) };
    let told = |share: Share| {
        let mut netns = Netns { tuples: vec![Tuple { shares: vec![share], ..tuple.clone() }], ..netns() };
        netns.settings.tw_reuse = Some(2);
        only(&facts(netns))
    };
    for part in [Share { created: 13, ..share(7, "relay") }, Share { time_wait: 13, ..share(7, "relay") }] {
        let finding = told(part);
        assert_eq!(finding.id, "loopback_backend");
        assert!(finding.what.starts_with("relay (pid 7) connects to "), "{}", finding.what);
    }
}

#[test]
fn reuse_that_cannot_work_is_told_with_its_reason() {
    let ports = Ports { time_wait: 1000, ..Ports::default() };
    let told = |tw_reuse, tuple: Tuple, timestamps| {
        let mut netns = Netns { tuples: vec![tuple], ..netns() };
        (netns.settings.tw_reuse, netns.settings.timestamps) = (Some(tw_reuse), Some(timestamps));
        only(&facts(netns))
    };
    let plain = || full(ports, 13);
    let off = told(1, Tuple { timestamps: Some(false), ..plain() }, 0);
    assert!(off.id == "reuse_cannot_work" && off.what.contains("no TCP timestamps"), "{}", off.what);
    expect_effect(&off, "timestamps", "limit", (1000.0 / 60.0, 1000.0));
    // Off at the peer: nothing to set here.
    assert!(refused(&told(1, Tuple { timestamps: Some(false), ..plain() }, 1), "timestamps"));
    let own = told(2, Tuple { reach: Reach::ThisHost, ..plain() }, 1);
    assert!(own.what.contains("no loopback address"), "{}", own.what);
    expect_effect(&own, "loopback_address", "limit", (1000.0 / 60.0, 1000.0));
    let young = told(1, plain(), 1);
    assert!(young.what.contains("before their TIME_WAIT sockets are 1 s old"), "{}", young.what);
    expect_effect(&young, "reuse_delay", "limit", (1000.0, 10_000.0));
    assert!(refused(&young, "lower_fin_timeout"));
    assert_eq!(told(2, plain(), 1).id, "ports_exhausted");
    assert_eq!(told(0, Tuple { timestamps: Some(false), ..plain() }, 0).id, "ports_exhausted");
}

#[test]
fn remedies_of_an_exhausted_pool_are_computed_from_what_was_seen() {
    let ports = Ports { time_wait: 1000, ..Ports::default() };
    let finding = only(&with_tuple(full(ports, 13)));
    expect_effect(&finding, "keep_alive", "limit", (1000.0 / 60.0, 10_000.0 / 60.0));
    // 40 a second for 60 s, as far as there are ports.
    expect_effect(&finding, "keep_alive", "peak in TIME_WAIT", (1000.0, 240.0));
    expect_effect(&finding, "tw_reuse", "limit", (1000.0 / 60.0, 1000.0));
    expect_effect(&finding, "tw_reuse", "a port is free again after", (60.0, 1.0));
    expect_effect(&finding, "port_range", "limit", (1000.0 / 60.0, 64_512.0 / 60.0));
    expect_effect(&finding, "more_addresses", "limit", (1000.0 / 60.0, 2000.0 / 60.0));
    expect_effect(&finding, "peer_closes_first", "in TIME_WAIT here", (1000.0, 0.0));
    assert!(finding.remedies.iter().all(|remedy| remedy.id != "unix_socket"));
    assert_eq!(finding.who[0].process.comm, "checkout-api");
}

#[test]
fn a_remedy_whose_condition_does_not_hold_is_not_offered() {
    let ports = Ports { time_wait: 1000, ..Ports::default() };
    let without = only(&with_tuple(Tuple { timestamps: Some(false), ..full(ports, 13) }));
    assert!(refused(&without, "tw_reuse"));
    let unseen = only(&with_tuple(Tuple { timestamps: None, ..full(ports, 13) }));
    let remedy = unseen.remedies.iter().find(|remedy| remedy.id == "tw_reuse").unwrap();
    assert_eq!(remedy.holds, Holds::Unknown);
    let mut old = client();
    old.habits.as_mut().unwrap().age_us = Some(30_000_000);
    let long_lived = only(&with_tuple(Tuple { shares: vec![old], ..full(ports, 13) }));
    assert!(refused(&long_lived, "keep_alive"));
    let mut wide = Netns { tuples: vec![full(ports, 13)], ..netns() };
    (wide.settings.port_range, wide.settings.ports) = (Some((1024, 65_535)), Some(64_512));
    wide.tuples[0].peak.time_wait = 64_512;
    assert!(refused(&only(&facts(wide)), "port_range"));
}

#[test]
fn no_more_is_promised_of_reuse_than_processes_were_seen_to_do() {
    let worker = |pid, created| Share { created, time_wait: created, ..share(pid, "php-fpm") };
    let pool = |shares: Vec<Share>| {
        let ports = Ports { time_wait: 1000, ..Ports::default() };
        only(&with_tuple(Tuple { shares, ..full(ports, 13) }))
    };
    let three = pool((1..=300).map(|pid| worker(pid, 3)).collect());
    expect_effect(&three, "keep_alive", "limit", (1000.0 / 60.0, 3000.0 / 60.0));
    assert!(three.what.contains("php-fpm (300 processes)"), "{}", three.what);
    // One connection each: there is none to use again.
    assert!(refused(&pool((1..=900).map(|pid| worker(pid, 1)).collect()), "keep_alive"));
    // From nothing to nothing is no help.
    let tuple = Tuple { reach: Reach::Loopback, ..full(Ports { established: 1000, ..Ports::default() }, 13) };
    let held = only(&with_tuple(Tuple { shares: vec![Share { open: 1000, ..share(7, "app") }], ..tuple }));
    assert!(
        held.remedies.iter().all(|remedy| remedy.effects.iter().all(|effect| effect.before != 0.0)),
        "{held:?}"
    );
}

#[test]
fn listeners_take_ports_from_a_wider_range() {
    let served = |port, listening| Served { port, listening, ..Served::default() };
    let ports = Ports { time_wait: 1000, ..Ports::default() };
    let mut netns = Netns { tuples: vec![full(ports, 13)], ..netns() };
    netns.served = vec![served(8080, true), served(9090, true), served(80, true), served(7070, false)];
    netns.settings.reserved = vec![(9090, 9090)];
    // 64,512 less the reserved one less the one that is listened on and not reserved.
    expect_effect(&only(&facts(netns)), "port_range", "limit", (1000.0 / 60.0, 64_510.0 / 60.0));
}

#[test]
fn binding_a_source_first_is_told_and_not_its_pools() {
    let bind = BindFailure {
        saddr: Some("10.0.0.1".parse().unwrap()),
        port: 0,
        failed: 13,
        caller: share(97, "proxy").process,
        destinations: 3,
        ..BindFailure::default()
    };
    let open = Ports { established: 900, ..Ports::default() };
    let tuple = Tuple { created: 0, ..full(open, 0) };
    let with = |bind| facts(Netns { binds: vec![bind], tuples: vec![tuple.clone()], ..netns() });
    let finding = only(&with(bind.clone()));
    assert_eq!((finding.id, finding.severity), ("bound_source", Severity::Critical));
    expect_effect(&finding, "bind_no_port", "limit", (1000.0, 3000.0));
    assert!(refused(&finding, "open_tw_reuse"));
    // A range of the sockets' own is what they share, and no setting makes it wider.
    let ranged = Ranged { looked: 13, calls: 13, low: 40_000, high: 40_006 };
    let finding = only(&with(BindFailure { ranged, ..bind.clone() }));
    assert!(finding.what.contains("one pool of 7 ports, 40000 to 40006, which"), "{}", finding.what);
    expect_effect(&finding, "bind_no_port", "limit", (7.0, 21.0));
    assert!(finding.remedies.iter().all(|remedy| remedy.id == "bind_no_port"));
    // A port that was asked for by number is another story.
    assert_eq!(
        ids(&facts(Netns { binds: vec![BindFailure { port: 8080, ..bind }], ..netns() })),
        ["not_explained"]
    );
}

#[test]
fn overflow_is_told_with_a_limit_that_has_room() {
    let mut full = Netns { overflow: 200, concerned: vec![client()], ..netns() };
    (full.settings.max_tw_buckets, full.settings.max_tw_buckets_default) = (Some(400), Some(131_072));
    let finding = only(&facts(full));
    assert_eq!((finding.id, finding.severity), ("table_overflow", Severity::Warning));
    expect_effect(&finding, "max_tw_buckets", "refused", (20.0, 0.0));
    let command = finding.remedies[0].command.as_deref();
    // 60 a second, 60 s, twice: 7200.
    assert_eq!(command, Some("sysctl -w net.ipv4.tcp_max_tw_buckets=8192"));
    expect_effect(&finding, "keep_alive", "TIME_WAIT at this rate", (3600.0, 360.0));
}

#[test]
fn many_orphans_are_told_wherever_they_are() {
    let many = Netns { fin_wait2: Some(1009), time_wait: 1100, ..netns() };
    let finding = only(&facts(many));
    assert_eq!((finding.id, finding.severity), ("fin_wait2_pileup", Severity::Notice));
    // Those that were there before are among them.
    expect_effect(&finding, "fin_timeout", "in FIN_WAIT2", (1009.0, 252.25));
    assert_eq!(ids(&facts(Netns { fin_wait2: Some(997), ..netns() })), ["nothing_wrong"]);
}

#[test]
fn a_servers_time_waits_are_told_to_be_harmless_unless_they_fill_the_table() {
    let shares = vec![Share { created: 509, ..share(13, "nginx") }];
    let served = Served { port: 80, time_wait: 509, shares, ..Served::default() };
    let with = |server_time_wait, most| {
        let mut netns = Netns { server_time_wait, time_wait: 600, served: vec![served.clone()], ..netns() };
        (netns.settings.max_tw_buckets, netns.settings.max_tw_buckets_default) = (Some(most), Some(most));
        found(&facts(netns))
    };
    let told = with(509, 131_072);
    assert_eq!(told[0].id, "server_side_harmless");
    // 509 × (248 + 160) bytes.
    assert!(told[0].what.contains("202.8 KiB") && told[0].what.contains("nginx"), "{}", told[0].what);
    assert_eq!(with(499, 131_072)[0].id, "nothing_wrong");
    assert_eq!(with(509, 1000)[0].id, "nothing_wrong");
}

#[test]
fn folklore_is_told_where_it_does_nothing() {
    let with = |change: fn(&mut Netns)| {
        let mut netns = netns();
        change(&mut netns);
        ids(&facts(netns))
    };
    assert_eq!(with(|netns| netns.settings.fin_timeout_s = Some(15)), ["folklore_fin_timeout"]);
    assert_eq!(with(|netns| netns.settings.fin_timeout_s = Some(90)), ["nothing_wrong"]);
    let has_purpose =
        |netns: &mut Netns| (netns.settings.fin_timeout_s, netns.fin_wait2) = (Some(15), Some(101));
    assert_eq!(with(has_purpose), ["nothing_wrong"]);
    // Few wait because it is short: a minute of them would be many.
    let has_helped =
        |netns: &mut Netns| (netns.settings.fin_timeout_s, netns.fin_wait2) = (Some(15), Some(26));
    assert_eq!(with(has_helped), ["nothing_wrong"]);
    assert_eq!(with(|netns| netns.settings.max_tw_buckets = Some(5000)), ["folklore_max_tw_buckets"]);
    let mut lowered = netns();
    lowered.settings.max_tw_buckets = Some(5000);
    // What the kernel refused before is in its counter, and not in this number.
    let said = only(&facts(lowered)).evidence;
    assert!(said.iter().any(|evidence| evidence.what == "refused while it was looked at"), "{said:?}");
    assert_eq!(with(|netns| netns.settings.max_tw_buckets_default = None), ["nothing_wrong"]);
    assert_eq!(with(|netns| netns.settings.tw_recycle = Some(1)), ["folklore_tw_recycle"]);
    let path = "/etc/sysctl.d/10\x1b.conf".to_owned();
    let line = DeadSetting { path, name: "net.ipv4.tcp_tw_recycle".into(), value: "1".into() };
    let finding = only(&Facts { dead_settings: vec![line], ..facts(netns()) });
    assert_eq!((finding.id, finding.severity), ("folklore_tw_recycle", Severity::Notice));
    assert!(!finding.what.contains('\x1b'));
}

#[test]
fn a_nat_budget_is_compared_with_what_goes_out() {
    let with = |budget, reach| {
        let tuple = Tuple { reach, ..calm() };
        ids(&Facts { nat_ports: Some(budget), ..with_tuple(tuple) })
    };
    // 4 a second for 120 s: 480.
    assert_eq!(with(479, Reach::Elsewhere), ["nat_ports_short"]);
    assert_eq!(with(480, Reach::Elsewhere), ["nothing_wrong"]);
    assert_eq!(with(31, Reach::Loopback), ["nothing_wrong"]);
    let over = only(&Facts { nat_ports: Some(31), ..with_tuple(calm()) });
    assert_eq!(over.severity, Severity::Critical);
    expect_effect(&over, "keep_alive", "limit", (31.0 / 120.0, 310.0 / 120.0));
}

#[test]
fn the_worst_comes_first() {
    let mut all =
        Netns { reset: 13, tuples: vec![full(Ports { time_wait: 1000, ..Ports::default() }, 3)], ..netns() };
    all.overflow = 7;
    let findings = found(&facts(all));
    let order: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.id)).collect();
    let want = [
        (Severity::Critical, "ports_exhausted"),
        (Severity::Warning, "table_overflow"),
        (Severity::Notice, "rst_kills"),
    ];
    assert_eq!(order, want);
}

#[test]
fn where_settings_are_not_known_nothing_is_guessed() {
    let blind =
        Netns { settings: Settings::default(), pinned: None, fin_wait2: None, range_in_use: None, ..netns() };
    let quiet = Netns { tuples: vec![tuple()], ..blind.clone() };
    assert_eq!(ids(&facts(quiet)), ["nothing_wrong"]);
    let ports = Ports { time_wait: 1000, ..Ports::default() };
    let failing = only(&facts(Netns { tuples: vec![Tuple { timestamps: None, ..full(ports, 3) }], ..blind }));
    assert!(
        failing.id == "ports_exhausted" && failing.what.contains("an unknown number of"),
        "{}",
        failing.what
    );
    let unknown = |finding: &Finding, id: &str| {
        finding.remedies.iter().any(|remedy| remedy.id == id && remedy.holds == Holds::Unknown)
    };
    assert!(unknown(&failing, "tw_reuse") && unknown(&failing, "port_range"));
}

#[test]
fn who_is_not_known_is_not_left_out_for_the_one_name_that_is() {
    // Of 60 ports, 55 are those of a process that was gone before the trace began; another fails.
    let innocent = Share { open: 5, failed: 15, ..share(7, "innocent") };
    let unknown = Share { time_wait: 55, ..Share::default() };
    let held = Ports { time_wait: 55, established: 5, ..Ports::default() };
    let pool = |shares: Vec<Share>| {
        let mut facts = with_tuple(Tuple { shares, created: 0, ..full(held, 15) });
        facts.namespaces[0].settings.ports = Some(60);
        found(&facts).remove(0).what
    };
    let told = pool(vec![innocent.clone(), unknown.clone()]);
    assert!(told.contains("by a process that twtrace did not see.") && !told.contains("innocent"), "{told}");
    let holder = Share { time_wait: 3, ..share(11, "other") };
    let told = pool(vec![holder, innocent, unknown]);
    assert!(told.contains("by a process that twtrace did not see (55), and other (pid 11) (3)"), "{told}");
}

#[test]
fn refused_sockets_that_nobody_told_of_are_nobodys() {
    let concerned = vec![Share { lost: 3, ..share(7, "known") }];
    let found = found(&facts(Netns { overflow: 101, concerned, ..netns() }));
    let what = &found.iter().find(|finding| finding.id == "table_overflow").unwrap().what;
    assert!(what.contains("a process that twtrace did not see (98), and known (pid 7) (3)"), "{what}");
}
