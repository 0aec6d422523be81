//! What a container's runtime calls it, and what network namespaces are called, in every form of a report.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::hosts::{WALL_NS, machine_with, part, report_of};
use super::whole;
use crate::model::identity::Names;
use crate::output::paint::Paint;
use crate::present::report::model::{Name, ReportRow};
use crate::present::report::sample::{LATE, NETNS, sample};
use crate::present::report::text::{Layout, text};
use crate::present::report::{By, Options, Report, html, json as report_json, read};

fn names(name: &str, pod: &str) -> Names {
    let some = |text: &str| Some(text.to_owned());
    Names { name: some(name), pod: some(pod), ..Names::default() }
}

/// The rows of something in the container, which has one number in all recordings.
fn contained(report: &Report, by: By) -> Vec<&ReportRow> {
    let is_it = |row: &&ReportRow| match &row.name {
        Name::Process { container, .. } | Name::Container(container) => container.is_some(),
        _ => false,
    };
    report.table(by).unwrap().iter().filter(is_it).collect()
}

#[test]
fn rows_have_the_names_that_came_later() {
    let report = whole();
    for by in [By::Process, By::Container] {
        let rows = contained(&report, by);
        let told = rows[0].names.as_ref().unwrap();
        assert_eq!(rows.len(), 1, "{by:?}");
        assert_eq!(told.full_pod().as_deref(), Some("shop/checkout-7d\x1b</td>"), "{by:?}");
        assert_eq!(told.image.as_deref(), Some("shop/checkout:17"), "{by:?}");
    }
    let named = report.tables.iter().flat_map(|(_, rows)| rows).filter(|row| row.names.is_some()).count();
    assert_eq!(named, 2, "what is in no container has no names");
}

#[test]
fn json_has_them_by_the_keys_of_events() {
    let mut out = Vec::new();
    report_json::line(&whole(), &mut out).unwrap();
    let all: Value = serde_json::from_slice(&out).unwrap();
    for table in ["processes", "containers"] {
        let rows = all[table].as_array().unwrap().iter();
        let keys = ["container_name", "image", "pod", "pod_namespace"];
        let told: Vec<Value> = rows.map(|row| json!(keys.map(|key| row[key].clone()))).collect();
        let want = json!(["checkout", "shop/checkout:17", "checkout-7d\x1b</td>", "shop"]);
        assert_eq!(told.iter().filter(|row| **row == want).count(), 1, "{told:?}");
        assert_eq!(
            told.iter().filter(|row| **row == json!([null, null, null, null])).count(),
            told.len() - 1
        );
    }
}

#[test]
fn people_read_them_and_they_are_escaped() {
    let layout = Layout { wide: false, most: 97, timeline: false, columns: None, paint: Paint::NONE };
    let told = text(&whole(), layout, &TimeZone::UTC);
    let pod = r"shop/checkout-7d\x1b</td>";
    assert_eq!(told.lines().filter(|line| line.ends_with(pod)).count(), 2, "{told}");
    let page = html::page(&whole(), &TimeZone::UTC, "00ff").unwrap();
    assert_eq!(page.matches(r"shop/checkout-7d\x1b&#60;/td&#62;").count(), 2);
}

#[test]
fn one_number_has_another_name_on_another_machine() {
    let parts = vec![
        part("a.twt", machine_with("web-1", 7, WALL_NS, 1_000_000_000, &names("one", "pod-1"))),
        part("b.twt", machine_with("web-2", 11, WALL_NS, 1_000_000_000, &names("two", "pod-2"))),
    ];
    let report = report_of(parts).unwrap();
    for by in [By::Process, By::Container] {
        let told = contained(&report, by).into_iter();
        let told = told.map(|row| (row.host.as_deref().unwrap(), row.names.clone().unwrap()));
        let want = [("web-2", names("two", "pod-2")), ("web-1", names("one", "pod-1"))];
        assert_eq!(told.collect::<Vec<_>>(), want, "{by:?}");
    }
}

#[test]
fn a_page_of_several_machines_says_whose_the_most_is() {
    let parts = vec![
        part("a.twt", machine_with("web-1", 7, WALL_NS, 1_000_000_000, &Names::default())),
        part("b.twt", machine_with("web-2", 11, WALL_NS, 1_000_000_000, &Names::default())),
    ];
    let page = html::page(&report_of(parts).unwrap(), &TimeZone::UTC, "00ff").unwrap();
    assert!(
        page.contains("of one host; 18 at the end") && page.contains("at most 1 in a second of one host")
    );
    let alone = html::page(&whole(), &TimeZone::UTC, "00ff").unwrap();
    assert!(!alone.contains("of one host"));
}

/// Whoever typed a name, or a pattern, finds it again: the kernel's filter, and JSON, have inodes.
#[test]
fn filters_are_said_by_the_names_of_namespaces() {
    let mut sample = sample(97);
    let flag = |inode: u32| format!("--netns {inode}");
    sample.head.filters = vec![flag(NETNS), flag(LATE), "--failures all".to_owned()];
    sample.head.namespaces[0].name = Some("nw\x1bA".to_owned());
    let options = Options { filters: vec![flag(LATE)], ..Options::default() };
    let report = read(sample.recording(), &options).unwrap();
    let layout = Layout { wide: false, most: 3, timeline: false, columns: None, paint: Paint::NONE };
    let said = r"recorded with --netns nw\x1bA --netns blue --failures all; shown with --netns blue";
    let texts = [text(&report, layout, &TimeZone::UTC), html::page(&report, &TimeZone::UTC, "00ff").unwrap()];
    assert!(texts.iter().all(|text| text.contains(said)), "{}", texts[0]);
    let mut out = Vec::new();
    report_json::line(&report, &mut out).unwrap();
    let all: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&all["head"]["filters"][1], &all["filters"][0]), (&json!(flag(LATE)), &json!(flag(LATE))));
}
