//! Reports compared with what is in testdata. `TWTRACE_BLESS=1` writes them anew: then read the difference.

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use super::whole;
use crate::output::paint::Paint;
use crate::present::report::text::{Layout, text};
use crate::present::report::{html, json};

pub(super) fn compare(name: &str, got: &str) {
    let path = format!("{}/src/present/report/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TWTRACE_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(got == want, "{name} was\n{want}\nand is\n{got}");
}

#[test]
fn as_text() {
    let report = whole();
    let narrow = Layout { wide: false, most: 3, timeline: false, columns: None, paint: Paint::NONE };
    compare("report.txt", &text(&report, narrow, &TimeZone::UTC));
    let wide = Layout { wide: true, most: 97, timeline: true, columns: None, paint: Paint::NONE };
    compare("report-wide.txt", &text(&report, wide, &TimeZone::UTC));
}

#[test]
fn on_a_terminal_it_has_its_columns() {
    let report = whole();
    for columns in [80, 100, 132] {
        let layout =
            Layout { wide: false, most: 97, timeline: true, columns: Some(columns), paint: Paint::NONE };
        let text = text(&report, layout, &TimeZone::UTC);
        let long: Vec<&str> = text.lines().filter(|line| line.width() > columns).collect();
        assert!(long.is_empty(), "{columns}: {long:#?}");
    }
}

#[test]
fn as_json() {
    let mut out = Vec::new();
    json::line(&whole(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    compare("report.json", &format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
}

#[test]
fn as_a_page() {
    let page = html::page(&whole(), &TimeZone::UTC, "00ff").unwrap();
    // The charts' library is another's; the rest is ours.
    let library = include_str!("../html/uplot/uPlot.iife.min.js");
    assert!(!library.contains("</script") && page.contains(library));
    let ours = page.replace(library, "");
    for beyond in ["http:", "https:", "//cdn", "@import", "url("] {
        let strange: Vec<&str> = ours
            .lines()
            .filter(|line| line.contains(beyond) && !line.contains("http://10.0.0.9/&#60;b&#62;"))
            .collect();
        assert!(strange.is_empty(), "{beyond} in {strange:?}");
    }
    let body = page.find("<body>").unwrap()..page.find("<script nonce").unwrap();
    compare("report.html", &page[body]);
    assert_ne!(html::nonce().unwrap(), html::nonce().unwrap());
}

#[test]
fn no_line_of_text_acts_on_a_terminal() {
    let wide = Layout { wide: true, most: 97, timeline: true, columns: None, paint: Paint::NONE };
    let text = text(&whole(), wide, &TimeZone::UTC);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
    assert!(text.contains(r"\x1b[2J<script>"));
    let narrow = Layout { wide: false, most: 97, timeline: true, columns: None, paint: Paint::NONE };
    let longest = super::super::text::text(&whole(), narrow, &TimeZone::UTC);
    let longest = longest.lines().map(|line| line.chars().count()).max();
    // Of an IPv6 destination and a pod with a name.
    assert!(longest <= Some(180), "{longest:?}");
}
