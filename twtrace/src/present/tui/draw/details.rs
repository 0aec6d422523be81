//! Owns: everything about one row, as lines.
//! Must not know: which keys open it.

use std::fmt::Write as _;

use ratatui::text::{Line as Text, Span};
use unicode_width::UnicodeWidthStr as _;

use super::happened;
use super::page::{LABELS, Page};
use crate::engine::{Detail, LinkRow, ProcessKey, RowKey, Spread, Target, TupleKey};
use crate::model::escape::{printable, process_name};
use crate::model::event::Reason;
use crate::model::figures::{bytes, percent};
use crate::present::live::{target, tuple};
use crate::present::tui::palette::{HISTORY, LABEL, TITLE, bar, spark};
use crate::present::tui::value::short_time;
use crate::present::tui::views::{Id, Opened, Picture};

/// The least that an address and a port can be told in.
const AN_END: usize = 21;
/// Of a list, so many are shown.
const LISTED: usize = 50;
/// Upper ends of the classes of a histogram, in microseconds.
const AGES: [(u64, &str); 6] = [
    (1_000, "under 1ms"),
    (5_000, "1 to 5ms"),
    (100_000, "5 to 100ms"),
    (1_000_000, "0.1 to 1s"),
    (60_000_000, "1 to 60s"),
    (u64::MAX, "over 1m"),
];
/// In bytes.
const SIZES: [(u64, &str); 5] = [
    (1, "0 B"),
    (1 << 10, "under 1KiB"),
    (1 << 16, "1 to 64KiB"),
    (1 << 20, "under 1MiB"),
    (u64::MAX, "over 1MiB"),
];

/// The lines for a screen so wide, the title first.
pub(super) fn lines(opened: Option<&Opened>, id: &Id, picture: &Picture, width: usize) -> Vec<Text<'static>> {
    match (opened, id) {
        (Some(Opened::Event(event)), _) => happened::lines(event, picture, width),
        (Some(Opened::Row(detail)), Id::Row(key)) => row(detail, key, picture, width),
        (_, Id::Row(RowKey::Tuple(key))) if ports(key, picture).is_some() => silent(key, picture, width),
        (_, Id::Row(key)) => {
            gone(&title(key, None, picture), "this row is gone: it had no live socket any more", width)
        }
        (_, Id::Fold(_) | Id::Repeat(_)) => gone("Rows", "Enter shows them one by one", width),
        (_, Id::Event(_)) => gone("Event", "too many others came after it: it is not kept any more", width),
    }
}

fn gone(title: &str, text: &str, width: usize) -> Vec<Text<'static>> {
    let mut page = Page::new(title, width);
    page.put("", text);
    page.lines
}

/// While the display is frozen, a row is opened as it is now.
fn put_moment(page: &mut Page, detail: &Detail, picture: &Picture) {
    let frozen_ns = picture.frame.snapshot.now_ns;
    if detail.now_ns != frozen_ns {
        let time = |mono_ns| picture.time_at(mono_ns).strftime("%H:%M:%S");
        page.put("as of", &format!("{}; the table is of {}", time(detail.now_ns), time(frozen_ns)));
    }
}

/// A pool that no event was about.
fn silent(key: &TupleKey, picture: &Picture, width: usize) -> Vec<Text<'static>> {
    let mut page = Page::new(&title(&RowKey::Tuple(*key), None, picture), width);
    page.put(
        "meaning",
        "no event since tracing began; its ports are held by sockets that are not in TIME_WAIT",
    );
    put_ports(&mut page, key, picture);
    page.lines
}

/// How full a pool is, by state.
fn ports(key: &TupleKey, picture: &Picture) -> Option<String> {
    let row = picture.frame.snapshot.tuples.iter().find(|row| row.key == *key)?;
    let pressure = row.pressure?;
    let (in_use, all, left) = (pressure.in_use, pressure.ports, pressure.left());
    let share = percent(pressure.fraction());
    Some(format!("{in_use} of {all} in use ({share}), {left} free: {}", row.held().by_state()))
}

fn put_ports(page: &mut Page, key: &TupleKey, picture: &Picture) {
    if let Some(text) = ports(key, picture) {
        page.put("ports", &text);
    }
}

fn row(detail: &Detail, key: &RowKey, picture: &Picture, width: usize) -> Vec<Text<'static>> {
    let mut page = Page::new(&title(key, Some(detail), picture), width);
    put_moment(&mut page, detail, picture);
    page.put("meaning", &detail.pattern.to_string());
    put_identity(&mut page, detail);
    put_counts(&mut page, detail);
    if let RowKey::Tuple(key) = key {
        put_ports(&mut page, key, picture);
    }
    put_links(&mut page, key, detail);
    let peers = detail.peers.iter();
    put_list(&mut page, "peers", peers.map(|(peer, live)| format!("{live:>6} live  {peer}")));
    put_spread(&mut page, "age", &detail.age_us, &AGES, short_time);
    put_spread(&mut page, "sent", &detail.sent, &SIZES, bytes);
    put_spread(&mut page, "received", &detail.received, &SIZES, bytes);
    page.lines
}

fn name(link: &LinkRow, inferred: Option<&ProcessKey>) -> String {
    if link.process.is_unknown() {
        return match inferred {
            Some(key) => format!("unknown, inferred: {}/{}", key.pid, process_name(&key.comm.text())),
            None => "unknown".to_owned(),
        };
    }
    let mark = if link.gone { " (gone)" } else { "" };
    format!("{}/{}{mark}", link.process.pid, process_name(&link.process.comm.text()))
}

fn title(key: &RowKey, detail: Option<&Detail>, picture: &Picture) -> String {
    match key {
        RowKey::Process(key) if key.is_unknown() => "Sockets whose owner is not known".to_owned(),
        RowKey::Process(key) => match detail {
            Some(Detail { gone, .. }) => {
                let mark = if *gone { " (gone)" } else { "" };
                format!("Process {}/{}{mark}", key.pid, process_name(&key.comm.text()))
            }
            None => format!("Process {}", key.pid),
        },
        RowKey::Tuple(key) => {
            format!("Tuple {} in netns {}", tuple(key, usize::MAX), picture.named_netns(key.netns))
        }
        RowKey::Peer(peer) => format!("Peer {peer}"),
        RowKey::Port(key) => format!("Port {} in netns {}", key.sport, picture.named_netns(key.netns)),
        RowKey::Container(None) => "The host: whatever is in no container".to_owned(),
        RowKey::Container(Some(container)) => format!("Container {}", printable(container)),
        RowKey::Netns(netns) => format!("Network namespace {}", picture.named_netns(*netns)),
    }
}

fn put_identity(page: &mut Page, detail: &Detail) {
    let Some(identity) = &detail.identity else { return };
    let container = identity.container.as_ref().map(ToString::to_string);
    for (label, text) in [
        ("command", identity.cmdline.get()),
        ("program", identity.exe.as_ref()),
        ("cgroup", identity.cgroup.as_ref()),
        ("container", container.as_ref()),
    ] {
        if let Some(text) = text {
            page.put(label, &printable(text));
        }
    }
}

fn put_counts(page: &mut Page, detail: &Detail) {
    let figures = &detail.figures;
    let counts = &figures.counts;
    page.put(
        "live",
        &format!(
            "{}, peak {}, created {}, ended {}",
            figures.live,
            figures.peak_live,
            counts.created,
            counts.ended()
        ),
    );
    let reasons = Reason::ALL.iter().filter(|reason| counts.ended_for(**reason) != 0);
    let reasons: Vec<String> =
        reasons.map(|reason| format!("{reason} {}", counts.ended_for(*reason))).collect();
    if !reasons.is_empty() {
        page.put("reasons", &reasons.join(", "));
    }
    page.put("failed", &counts.failed());
    for (label, series) in [("created", &detail.created_history), ("ended", &detail.ended_history)] {
        let room = page.width.saturating_sub(LABELS + 24).min(series.len());
        let most = series[series.len() - room..].iter().copied().max().unwrap_or(0);
        if most != 0 {
            let signs = spark(series, most, room).replace(' ', "\u{b7}");
            let label = Span::styled(format!(" {label:LABELS$}"), LABEL);
            let measure = Span::raw(format!(" last {room} s, max {most}/s"));
            page.lines.push(Text::from(vec![label, Span::styled(format!("|{signs}|"), HISTORY), measure]));
        }
    }
}

fn put_links(page: &mut Page, key: &RowKey, Detail { links, inferred, .. }: &Detail) {
    let by_target = matches!(key, RowKey::Process(_));
    let width = page.room();
    let line = |link: &LinkRow| {
        let mut text = format!("{:>6} live {:>7} created", link.live, link.created);
        // Writing to a String cannot fail.
        if link.failed != 0 {
            let _ = write!(text, " {} failed", link.failed);
        }
        if let Some(pressure) = link.pressure {
            let _ = write!(text, " {} of ports", percent(pressure.fraction()));
        }
        let inferred = inferred.get(&link.target).filter(|_| link.process.is_unknown());
        if !by_target || inferred.is_some() {
            let _ = write!(text, "  {}", name(link, inferred));
        }
        let room = width.saturating_sub(text.width() + 2).max(AN_END);
        let towards = match &link.target {
            Target::Tuple(key) => tuple(key, room),
            served => target(served, room),
        };
        let _ = write!(text, "  {towards}");
        text
    };
    put_list(page, if by_target { "towards" } else { "processes" }, links.iter().map(line));
}

fn put_list(page: &mut Page, label: &str, texts: impl ExactSizeIterator<Item = String>) {
    let all = texts.len();
    for (at, text) in texts.take(LISTED).enumerate() {
        page.put(if at == 0 { label } else { "" }, &text);
    }
    if all > LISTED {
        page.put("", &format!("and {} more", all - LISTED));
    }
}

fn put_spread(
    page: &mut Page,
    label: &'static str,
    spread: &Spread,
    classes: &[(u64, &str)],
    show: fn(u64) -> String,
) {
    let Some(found) = spread.percentiles() else { return };
    page.lines.push(Text::from(vec![
        Span::styled(format!(" {label:LABELS$}"), LABEL),
        Span::styled(
            format!("50% {}, 90% {}, 99% {} at most", show(found.p50), show(found.p90), show(found.p99)),
            TITLE,
        ),
    ]));
    let mut weights = vec![0_u64; classes.len()];
    for (low, _, weight) in spread.buckets() {
        let class = classes.iter().position(|(end, _)| low < *end).unwrap_or(classes.len() - 1);
        weights[class] += u64::from(weight);
    }
    let all: u64 = weights.iter().sum();
    for (weight, (_, class)) in weights.iter().zip(classes) {
        if *weight != 0 {
            let share = *weight as f64 / all as f64;
            page.put("", &format!("{class:>11} {} {}", bar(share, 30), percent(share)));
        }
    }
}
