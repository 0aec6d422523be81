//! Comparisons of scripted recordings, and conditions on them. `TWTRACE_BLESS=1` writes testdata anew: then read the difference.

use crate::output::paint::{Meaning, Paint};
use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::*;
use crate::model::event::{Event, Kind};
use crate::model::filter::Filter;
use crate::present::report::sample::{NETNS, Sample, sample};
use crate::present::report::tests::hosts::{WALL_NS, machine, part, report_of};
use crate::present::report::{Options, read};

/// As in a file.
const LAYOUT: text::Layout = text::Layout { most: 3, columns: None, paint: Paint::NONE };

fn report(sample: &Sample, file: &str) -> Report {
    let by = vec![By::Tuple, By::Netns];
    let options = Options { file: file.to_owned(), by, filter: Filter::default(), ..Options::default() };
    read(sample.recording(), &options).unwrap()
}

fn comm(event: &Event) -> String {
    event.owner.map(|owner| owner.comm.text().into_owned()).unwrap_or_default()
}

/// The same state: before, without curl; after, without nginx, with another setting, half as fast, and cut off.
fn both() -> (Sample, Sample) {
    let (mut old, mut new) = (sample(701), sample(701));
    old.events.retain(|event| comm(event) != "curl");
    new.events.retain(|event| comm(event) != "nginx: worker");
    for event in &mut new.events {
        event.mono_ns += event.mono_ns - new.head.mono_ns;
    }
    new.tail.mono_ns += new.tail.mono_ns - new.head.mono_ns;
    for namespace in &mut new.head.namespaces {
        if let Some(settings) = &mut namespace.sysctls {
            (settings.tw_reuse, settings.reserved) = (Some(1), Vec::new());
        }
    }
    (old, new)
}

fn rate(sample: &Sample, wanted: impl Fn(&Event) -> bool) -> f64 {
    let seconds = (sample.tail.mono_ns - sample.head.mono_ns) as f64 / 1e9;
    sample.events.iter().filter(|event| wanted(event)).count() as f64 / seconds
}

fn close(pair: &Pair, old: f64, new: f64) -> bool {
    (pair.old.unwrap() - old).abs() < 1e-9 && (pair.new.unwrap() - new).abs() < 1e-9
}

#[test]
fn rates_are_those_of_events_over_time() {
    let (old, new) = both();
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    let comparison = compare(&reports.0, &reports.1);
    let created = |event: &Event| event.kind == Kind::Created;
    let total = comparison.totals.iter().find(|(metric, _)| metric.name == "created/s").unwrap().1;
    assert!(close(&total, rate(&old, created), rate(&new, created)), "{total:?}");
    let names: BTreeMap<String, &Change> =
        comparison.processes.iter().map(|row| (crate::present::report::view::name(&row.name), row)).collect();
    for (name, presence) in
        [("curl", Presence::Appeared), ("nginx: worker", Presence::Gone), ("php-fpm", Presence::Both)]
    {
        let row = names[name];
        assert_eq!(row.presence, presence, "{name}");
        let of = |kind: Kind| move |event: &Event| event.kind == kind && comm(event) == name;
        let want = |kind: Kind| (rate(&old, of(kind)), rate(&new, of(kind)));
        for (pair, (one, other)) in
            [(row.created_rate, want(Kind::Created)), (row.ended_rate, want(Kind::Ended))]
        {
            assert!(close(&pair, one, other), "{name}: {pair:?}, {one} and {other}");
        }
    }
    let appeared = comparison.tuples.iter().filter(|row| row.presence == Presence::Appeared).count();
    assert_eq!(appeared, 2, "curl has two tuples of its own: {:#?}", comparison.tuples);
    let setting = |name, old: &str, new: &str| Setting {
        old_netns: NETNS,
        new_netns: NETNS,
        name,
        old: old.to_owned(),
        new: new.to_owned(),
    };
    let want = [setting("ip_local_reserved_ports", "40007", "none"), setting("tcp_tw_reuse", "2", "1")];
    assert_eq!(comparison.settings, want);
}

#[test]
fn a_recording_does_not_differ_from_itself() {
    let sample = sample(701);
    let reports = (report(&sample, "one.twt"), report(&sample, "one.twt"));
    let comparison = compare(&reports.0, &reports.1);
    assert!(comparison.totals.iter().all(|(_, pair)| pair.growth() == Some(0.0)), "{:?}", comparison.totals);
    assert!(comparison.processes.iter().chain(&comparison.tuples).all(|row| row.presence == Presence::Both));
    assert!(comparison.settings.is_empty());
}

#[test]
fn namespaces_of_two_boots_are_told_apart_by_name_and_load() {
    let (old, mut new) = (sample(701), sample(701));
    new.head.boot_id = "another".to_owned();
    new.head.namespaces[0].netns = 77;
    new.head.namespaces[0].sysctls.as_mut().unwrap().fin_timeout_s = Some(7);
    for conn in
        new.events.iter_mut().filter_map(|event| event.conn.as_mut()).filter(|conn| conn.netns == NETNS)
    {
        conn.netns = 77;
    }
    new.listed.clear();
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    let settings = compare(&reports.0, &reports.1).settings;
    let told: Vec<_> =
        settings.iter().map(|setting| (setting.old_netns, setting.new_netns, setting.name)).collect();
    assert_eq!(told, [(NETNS, 77, "tcp_fin_timeout")]);
}

/// Some connections of the new recording end with an RST: fewer sockets, and nothing to be praised for.
#[test]
fn sockets_that_only_became_resets_are_no_good_news() {
    let (old, mut new) = (sample(701), sample(701));
    let mut left = 7;
    for event in new.events.iter_mut().filter(|event| event.kind == Kind::Created) {
        if left == 0 {
            break;
        }
        (event.kind, event.substate, event.timeout_ms) = (Kind::Aborted, None, None);
        left -= 1;
    }
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    assert_eq!((reports.0.total.counts.aborted, reports.1.total.counts.aborted), (0, 7));
    let by_comm: u64 = reports.1.comms.iter().map(|row| row.figures.counts.aborted).sum();
    let over_time: u32 = reports.1.timeline.moments.iter().map(|moment| moment.aborted).sum();
    assert_eq!((by_comm, over_time), (7, 7));
    let comparison = compare(&reports.0, &reports.1);
    let [caution] = &comparison.cautions()[..] else { panic!("one caution") };
    assert!(caution.starts_with("created fell by ") && caution.contains("aborted rose by "), "{caution}");
    assert!(text::text(&comparison, LAYOUT, &TimeZone::UTC).contains(&format!("WARNING: {caution}\n")));
    assert!("aborted/s > +0".parse::<Condition>().unwrap().judge(&comparison).fails);
    // The other way round it is good news, and the same recording is none at all.
    assert!(compare(&reports.1, &reports.0).cautions().is_empty());
    assert!(compare(&reports.0, &reports.0).cautions().is_empty());
    let summary = crate::present::report::view::summary(&reports.1, &TimeZone::UTC);
    assert!(summary.iter().any(|line| line.label == "aborted"
        && line.meaning == Meaning::Warning
        && line.text.starts_with("7, ")));
}

#[test]
fn recordings_that_were_not_made_alike_or_are_not_whole_are_no_match() {
    let (old, mut new) = (sample(701), sample(701));
    let cautions = |new: &Report| {
        let old = report(&old, "old.twt");
        let said = compare(&old, new).cautions();
        let shown = text::text(&compare(&old, new), LAYOUT, &TimeZone::UTC);
        let (of_one, of_both): (Vec<_>, Vec<_>) =
            said.iter().partition(|said| said.contains("recording is "));
        assert!(of_both.iter().all(|caution| shown.contains(&format!("WARNING: {caution}\n"))), "{shown}");
        // That stands in the head of the one.
        assert_eq!(shown.matches("it breaks off").count() + shown.matches("7 events").count(), of_one.len());
        said.into_iter().map(|caution| caution.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(cautions(&report(&new, "new.twt")).is_empty());
    // Of one name there was another namespace: that is no difference.
    let inode = new.head.namespaces[0].netns;
    new.head.namespaces[0].name = Some("self".to_owned());
    new.head.filters = vec![format!("--netns {inode}")];
    assert!(cautions(&report(&new, "new.twt")).is_empty());
    // Nor is the inode of one that nobody named.
    let mut unnamed = [sample(701), sample(701)];
    for (inode, sample) in [17, 19].into_iter().zip(&mut unnamed) {
        sample.head.filters = vec![format!("--netns {inode}"), "--dport 80".to_owned()];
    }
    let [one, two] = unnamed.each_ref().map(|sample| report(sample, "unnamed.twt"));
    assert!(compare(&one, &two).cautions().is_empty());
    unnamed[1].head.filters.push("--netns 23".to_owned());
    assert_eq!(compare(&one, &report(&unnamed[1], "unnamed.twt")).cautions().len(), 1);
    new.head.filters.push("--failures all".to_owned());
    assert_eq!(cautions(&report(&new, "new.twt")), ["recorded with different filters"]);
    (new.head.filters, new.head.only_command) = (old.head.filters.clone(), true);
    assert_eq!(cautions(&report(&new, "new.twt")), ["recorded with different filters"]);
    (new.head.only_command, new.head.backend) = (false, "fentry".to_owned());
    assert_eq!(
        cautions(&report(&new, "new.twt")),
        ["recorded with different backends, tracepoint and fentry"]
    );
    new.head.backend.clone_from(&old.head.backend);
    let mut cut = report(&new, "new.twt");
    cut.missing = Some("it breaks off".to_owned());
    assert_eq!(cautions(&cut), ["the end of the new recording is missing (it breaks off)"]);
    (cut.missing, cut.damaged) = (None, Some("7 events".to_owned()));
    assert_eq!(cautions(&cut), ["the new recording is damaged (7 events)"]);
}

#[test]
fn how_full_pools_were_is_not_known_where_their_ports_are_not() {
    let mut sample = sample(97);
    let pressure = |sample: &Sample| Metric::named("pressure").unwrap().of(&report(sample, "a"));
    assert!(pressure(&sample).is_some_and(|pressure| pressure > 0.0));
    let told = sample.head.namespaces.iter_mut().chain(&mut sample.tail.namespaces);
    told.for_each(|namespace| namespace.sysctls = None);
    assert_eq!(pressure(&sample), None);
    sample.events.clear();
    sample.listed.clear();
    assert_eq!(pressure(&sample), Some(0.0));
}

#[test]
fn growth_from_nothing_is_infinite() {
    let pair = |old, new| Pair { old, new };
    assert_eq!(pair(Some(0.0), Some(3.0)).growth(), Some(f64::INFINITY));
    assert_eq!(pair(Some(0.0), Some(0.0)).growth(), Some(0.0));
    assert_eq!(pair(Some(4.0), Some(3.0)).growth(), Some(-0.25));
    assert_eq!(pair(None, Some(3.0)).growth(), None);
}

#[test]
fn conditions_hold_or_not() {
    let (old, new) = both();
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    let mut comparison = compare(&reports.0, &reports.1);
    for (metric, pair) in &mut comparison.totals {
        *pair = match metric.name {
            "created/s" => Pair { old: Some(100.0), new: Some(110.0) },
            "pressure" => Pair { old: Some(0.5), new: Some(0.8) },
            "connect_failed" => Pair { old: Some(0.0), new: Some(7.0) },
            "age_p50" => Pair { old: None, new: Some(3.0) },
            _ => continue,
        };
    }
    for (text, fails) in [
        ("created/s > +9%", true),
        ("created/s > +10%", false),
        ("created/s >= +10%", true),
        ("created/s<+10", false),
        ("created/s<=+10", true),
        ("created/s > 100", true),
        ("created/s < -5%", false),
        ("created/s > -5%", true),
        ("  created/s   >   +9.5 ", true),
        ("pressure > 80%", false),
        ("pressure >= 80%", true),
        ("pressure > 0.79", true),
        ("pressure > +59%", true),
        ("connect_failed > 0", true),
        ("connect_failed > +1000000%", true),
        ("connect_failed > 7", false),
        // Of what nobody knows, nobody can say that it is well.
        ("age_p50 > +1000%", true),
        ("age_p50 > 3", false),
        ("age_p50 >= 3", true),
    ] {
        let verdict = text.parse::<Condition>().unwrap().judge(&comparison);
        assert_eq!((verdict.fails, verdict.condition.as_str()), (fails, text.trim()), "{verdict:?}");
    }
    let verdict = "created/s > +9%".parse::<Condition>().unwrap().judge(&comparison);
    assert_eq!(verdict.why, "created/s was 100/s, is 110/s (+10%)");
    assert_eq!(verdict.to_string(), "'created/s > +9%' holds: created/s was 100/s, is 110/s (+10%)");
    let verdict = "age_p50 > +9%".parse::<Condition>().unwrap().judge(&comparison);
    assert_eq!(verdict.why, "age_p50 was not known, is 3.0ms");
    let said = verdict.to_string();
    assert!(said.starts_with("'age_p50 > +9%' cannot be told, which counts as if it held: "), "{said}");
}

#[test]
fn a_condition_of_another_form_is_named() {
    for (bad, why) in [
        ("created/s", "no <, <=, > or >="),
        ("created/s = 7", "no <, <=, > or >="),
        ("speed > 7", "'speed' is not one of duration, created"),
        ("> 7", "'' is not one of"),
        ("created/s > ten", "'ten' is no number"),
        ("created/s > ", "'' is no number"),
        ("created/s > inf", "'inf' is no number"),
        ("created/s > 10%", "write +10%"),
        ("created/s >> 10", "'> 10' is no number"),
        ("a\u{1b} > 7", r"'a\x1b'"),
    ] {
        let error = bad.parse::<Condition>().unwrap_err();
        assert!(error.contains(why) && !error.contains('\u{1b}'), "{bad}: {error}");
    }
}

fn compare_with(name: &str, got: &str) {
    let path = format!("{}/src/present/diff/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(got == want, "{name} was\n{want}\nand is\n{got}");
}

#[test]
fn as_it_is_shown() {
    let (old, new) = both();
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    let comparison = compare(&reports.0, &reports.1);
    compare_with("diff.txt", &text::text(&comparison, LAYOUT, &TimeZone::UTC));
    let verdicts: Vec<ConditionResult> = ["created/s > +10%", "created/s < -1%"]
        .map(|text| text.parse::<Condition>().unwrap().judge(&comparison))
        .to_vec();
    let mut out = Vec::new();
    json::line(&comparison, &verdicts, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    compare_with("diff.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
}

#[test]
fn on_a_terminal_it_has_its_columns() {
    let (old, new) = both();
    let reports = (report(&old, "old.twt"), report(&new, "new.twt"));
    let comparison = compare(&reports.0, &reports.1);
    let widest = |columns| {
        let said = text::text(&comparison, text::Layout { columns, ..LAYOUT }, &TimeZone::UTC);
        said.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    };
    assert!(widest(None) > 90 && widest(Some(80)) <= 80, "{} {}", widest(None), widest(Some(80)));
}

#[test]
fn pools_of_several_hosts_are_compared_host_by_host() {
    let day = |first: u64, second: u64| {
        let files = [("web-1", first), ("web-2", second)];
        let part = |(host, created)| part(host, machine(host, created, WALL_NS, 7_000_000_000));
        report_of(files.map(part).into()).unwrap()
    };
    let (old, new) = (day(7, 13), day(11, 13));
    let comparison = compare(&old, &new);
    let created = |change: &Change| {
        let (old, new) = (change.created_rate.old.unwrap() * 13.0, change.created_rate.new.unwrap() * 13.0);
        (change.host.clone(), old.round() as u64, new.round() as u64)
    };
    let tuples: Vec<_> = comparison.tuples.iter().map(created).collect();
    assert_eq!(tuples, [(Some("web-1".to_owned()), 7, 11), (Some("web-2".to_owned()), 13, 13)]);
    // A program is one wherever it runs.
    let processes: Vec<_> = comparison.processes.iter().map(created).collect();
    assert_eq!(processes, [(None, 20, 24)]);
    let said = text::text(&comparison, LAYOUT, &TimeZone::UTC);
    assert!(said.contains("  web-1: ") && said.contains("not compared: there are several hosts"), "{said}");
}
