//! The page, in a browser that has no network.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::browser::Browser;
use super::whole;
use crate::present::report::html;

struct Visit {
    browser: Browser,
    _dir: tempfile::TempDir,
    file: PathBuf,
}

/// Opens the page of the sample. `None` where there is no browser.
fn visit() -> Option<Visit> {
    let mut browser = Browser::start()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.html");
    let page = html::page(&whole(), &TimeZone::UTC, &html::nonce().unwrap()).unwrap();
    std::fs::write(&file, page).unwrap();
    browser.visit(&file);
    Some(Visit { browser, _dir: dir, file })
}

/// Nothing was asked of a network, and nothing complained.
fn is_quiet(visit: &Visit) {
    let page = format!("file://{}", visit.file.display());
    let requests = visit.browser.heard(&["Network.requestWillBeSent"]);
    let urls: Vec<&str> =
        requests.iter().filter_map(|told| told["params"]["request"]["url"].as_str()).collect();
    let strange: Vec<_> = urls.iter().filter(|url| **url != page && !url.starts_with("data:")).collect();
    assert!(urls.contains(&page.as_str()) && strange.is_empty(), "{strange:?} of {urls:?}");
    let complaints =
        visit.browser.heard(&["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"]);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// The numbers of a column, in the order in which they stand.
fn column(browser: &mut Browser, by: &str, title: &str) -> Vec<Option<f64>> {
    let cells = format!(
        "(() => {{ const table = document.querySelector('#by-{by} table');
            const at = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === '{title}');
            return [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.v === undefined ? null : Number(row.cells[at].dataset.v)); }})()"
    );
    browser.eval(&cells).as_array().unwrap().iter().map(Value::as_f64).collect()
}

fn click(browser: &mut Browser, by: &str, title: &str) {
    browser.eval(&format!(
        "[...document.querySelectorAll('#by-{by} th button')].find((head) => head.textContent === '{title}').click()"
    ));
}

#[test]
fn the_page_asks_for_nothing_and_works() {
    let Some(mut visit) = visit() else { return };
    charts_are_drawn(&mut visit.browser);
    visit.browser.picture("light");
    sorting(&mut visit.browser);
    searching(&mut visit.browser);
    strangers(&mut visit.browser);
    themes(&mut visit.browser);
    paper(&mut visit.browser);
    is_quiet(&visit);
    policy(&mut visit.browser);
}

fn charts_are_drawn(browser: &mut Browser) {
    // Of a copy: reading the canvas itself makes the browser complain.
    let inked = "[...document.querySelectorAll('canvas')].map((canvas) => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        return copy.getImageData(0, 0, canvas.width, canvas.height).data.filter((value) => value !== 0).length; })";
    let inked: Vec<u64> = browser.eval(inked).as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(inked.len() == 3 && inked.iter().all(|pixels| *pixels > 10_000), "{inked:?}");
    let legends = browser
        .eval("[...document.querySelectorAll('.u-legend')].map((legend) => legend.textContent).join()");
    let legends = legends.as_str().unwrap();
    for word in ["created", "ended", "live", "pressure", "failed", "lost"] {
        assert!(legends.contains(word), "{word} in {legends}");
    }
}

fn sorting(browser: &mut Browser) {
    for (by, title) in [("process", "PID"), ("peer", "CREATED"), ("tuple", "USED"), ("reason", "p90")] {
        for is_down in [true, false] {
            click(browser, by, title);
            let all = column(browser, by, title);
            let known: Vec<f64> = all.iter().copied().flatten().collect();
            assert!(known.len() > 1 && known.iter().any(|value| *value != known[0]), "{by} {title}: {all:?}");
            assert!(
                all[known.len()..].iter().all(Option::is_none),
                "what is not known stands at the end: {all:?}"
            );
            let is_sorted = if is_down { known.iter().rev().is_sorted() } else { known.is_sorted() };
            assert!(is_sorted, "{by} by {title}, down {is_down}: {known:?}");
            let sign = browser.eval(&format!("document.querySelectorAll('#by-{by} th[aria-sort]').length"));
            assert_eq!(sign, json!(1));
        }
    }
    click(browser, "process", "DESTINATION");
    let names = browser.eval(
        "[...document.querySelectorAll('#by-process tbody tr')].map((row) => row.cells[11].textContent)",
    );
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let known: Vec<_> = names.iter().filter(|name| **name != "-").collect();
    assert!(known.len() > 2 && known.is_sorted_by_key(|name| name.starts_with('s')), "{names:?}");
}

fn searching(browser: &mut Browser) {
    let shown = |browser: &mut Browser, text: &str| {
        browser.eval(&format!(
            "(() => {{ const input = document.querySelector('#by-peer input'); input.value = '{text}';
                input.dispatchEvent(new Event('input'));
                return [[...document.querySelectorAll('#by-peer tbody tr')].filter((row) => row.offsetHeight > 0).map((row) =>
                    row.textContent), document.querySelector('#by-peer .count').textContent]; }})()"
        ))
    };
    let all = shown(browser, "")[0].as_array().unwrap().len();
    let found = shown(browser, "2001:DB8");
    let rows: Vec<&str> = found[0].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(rows.len() == 1 && rows[0].contains("2001:db8:aaaa:"), "{rows:?}");
    assert_eq!(found[1], json!(format!("1 of {all}")));
    assert_eq!(shown(browser, "no such peer")[0], json!([]));
    assert_eq!(shown(browser, "")[0].as_array().unwrap().len(), all);
}

/// What strangers chose is text, and nothing else.
fn strangers(browser: &mut Browser) {
    assert_eq!(browser.eval("document.scripts.length"), json!(3), "a script that is not the page's own");
    assert_eq!(browser.eval("document.querySelectorAll('b').length"), json!(0));
    let text = browser.eval("document.body.innerText");
    let text = text.as_str().unwrap();
    for hostile in ["/usr/bin/101</script>", r"\x1b[2J<script>", "http://10.0.0.9/<b>"] {
        assert!(text.contains(hostile), "{hostile} in {text}");
    }
    assert!(!text.contains('\u{202e}') && !text.contains('\x1b'));
}

fn themes(browser: &mut Browser) {
    let colours = |browser: &mut Browser| browser.eval("getComputedStyle(document.body).backgroundColor");
    let light = colours(browser);
    let prefer = |browser: &mut Browser, wanted: &str| {
        let features = json!([{ "name": "prefers-color-scheme", "value": wanted }]);
        browser.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
    };
    prefer(browser, "dark");
    let dark = colours(browser);
    assert_ne!(light, dark, "the page does not look where the system is dark");
    charts_are_drawn(browser);
    browser.picture("dark");
    let mut cycle = Vec::new();
    for _ in 0..3 {
        browser.eval("document.getElementById('theme').click()");
        cycle.push((browser.eval("document.getElementById('theme').textContent"), colours(browser)));
    }
    let want = [("Theme: light", &light), ("Theme: dark", &dark), ("Theme: system", &dark)];
    assert_eq!(cycle, want.map(|(name, colour)| (json!(name), colour.clone())));
    prefer(browser, "light");
}

fn paper(browser: &mut Browser) {
    browser.ask("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let seen = |browser: &mut Browser, what: &str| {
        browser.eval(&format!(
            "[...document.querySelectorAll('{what}')].filter((one) => one.offsetHeight > 0).length"
        ))
    };
    assert_eq!(seen(browser, "input, #theme"), json!(0), "what nobody can use on paper is printed");
    assert_eq!(seen(browser, "section.table table"), json!(7));
    // Nothing hides in a box that scrolls.
    let hidden = browser.eval("[...document.querySelectorAll('.scroll')].filter((box) => box.scrollHeight > box.clientHeight + 1).length");
    assert_eq!(hidden, json!(0));
    let squashed = "[...document.querySelectorAll('td')].filter((cell) => cell.offsetHeight > 60).map((cell) => cell.textContent)";
    assert_eq!(browser.eval(squashed), json!([]));
    browser.picture("print");
    browser.ask("Emulation.setEmulatedMedia", json!({ "media": "" }));
    let pdf = browser.print();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000, "{} bytes", pdf.len());
    if let Some(dir) = std::env::var_os("TWTRACE_SCREENSHOTS") {
        std::fs::write(PathBuf::from(dir).join("print.pdf"), pdf).unwrap();
    }
    charts_are_drawn(browser);
}

/// Even a script that got into the page would neither run nor reach anybody.
fn policy(browser: &mut Browser) {
    let injected =
        "(() => { const script = document.createElement('script'); script.textContent = 'window.evil = 1';
        document.body.append(script); return window.evil === undefined; })()";
    assert_eq!(browser.eval(injected), json!(true));
    let fetched = "fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => String(error))";
    assert!(browser.eval(fetched).as_str().unwrap().contains("Failed to fetch"));
    let why = browser.heard(&["Log.entryAdded"]);
    assert!(why.iter().any(|told| told.to_string().contains("Content Security Policy")), "{why:#?}");
}
