//! Owns: what a person wants to know of a recording within a minute, as labelled lines.
//! Must not know: how lines are laid out.

use jiff::tz::TimeZone;

use super::{
    NOTHING, date, iso, milliseconds, name, recorded_with, shown_with, size, time_of_day, tuple, zone_name,
};
use crate::engine::{Limits, Percentiles};
use crate::model::escape::printable;
use crate::model::event::{Loss, Via};
use crate::model::figures::{grouped, lasted, percent, rate, short_time};
use crate::model::limitation::{Limitation, Limitations};
use crate::model::ordering::Ordered as _;
use crate::output::paint::Meaning;
use crate::present::report::MOST_ROWS;
use crate::present::report::model::{Folded, Name, Report, ReportRow};
use crate::recording::{Exit, Stop};

/// Owners that are named.
const OWNERS: usize = 5;
/// Arguments of a command are cut after so many characters.
const COMMAND: usize = 160;

/// A label and what is said under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// One word.
    pub label: &'static str,
    /// What is said.
    pub text: String,
    /// What it means: bad news stands out.
    pub meaning: Meaning,
}

pub(super) fn line(label: &'static str, text: impl Into<String>) -> Line {
    Line { label, text: text.into(), meaning: Meaning::Plain }
}

fn alarm_if(alarm: bool, line: Line) -> Line {
    Line { meaning: if alarm { Meaning::Warning } else { line.meaning }, ..line }
}

/// The lines, in their order. `zone` is whose time of day is shown.
pub fn summary(report: &Report, zone: &TimeZone) -> Vec<Line> {
    let mut lines = vec![line("recording", origin(report)), line("", when(report, zone))];
    lines.extend(command(report).map(|text| line("command", text)));
    lines.extend(filtered(report).map(|text| line("filters", text)));
    lines.extend(trouble(report).into_iter().map(|text| alarm_if(true, line("WARNING", text))));
    lines.extend(limitations(report));
    lines.push(line("created", created(report, zone)));
    lines.push(line("owners", owners(report)));
    lines.push(line("ended", ended(report)));
    lines.push(line("live", living(report, zone)));
    lines.push(line("pressure", pressure(report, zone)));
    lines.push(alarm_if(report.total.failed() != 0, line("failed", failed(report))));
    lines.extend(aborted(report).map(|text| alarm_if(true, line("aborted", text))));
    lines.push(alarm_if(!report.lost.is_empty(), line("lost", lost(&report.lost))));
    let time = |all: Option<Percentiles>, unit: fn(u64) -> String| all.map(|all| shares(&all, unit));
    let total = &report.total;
    for (label, text) in [
        ("age", time(total.age_us, short_time)),
        ("lifetime", time(total.lifetime_ms, milliseconds)),
        ("sent", time(total.sent, size)),
        ("received", time(total.received, size)),
    ] {
        lines.push(line(label, text.unwrap_or_else(|| NOTHING.to_owned())));
    }
    lines
}

fn origin(report: &Report) -> String {
    let head = &report.head;
    let part =
        if head.part == 0 { String::new() } else { format!(", part {} of a rotated recording", head.part) };
    format!(
        "{}{}: {} on {} (Linux {}), {} backend, twtrace {}{part}",
        printable(&report.file),
        if report.recordings > 1 { format!(" ({} recordings)", report.recordings) } else { String::new() },
        lasted(report.duration_s()),
        printable(&head.host),
        printable(&head.kernel),
        printable(&head.backend),
        printable(&head.twtrace)
    )
}

fn when(report: &Report, zone: &TimeZone) -> String {
    let (from, to) = (report.head.mono_ns, report.ended_ns);
    let iso = format!("{} to {}", iso(report, from), iso(report, to));
    let (from, to) =
        (date(report, from, zone), format!("{} {}", date(report, to, zone), zone_name(report, to, zone)));
    // The day is said once where it is one.
    let to = match (from.split_once(' '), to.split_once(' ')) {
        (Some((one, _)), Some((other, time))) if one == other => time.to_owned(),
        _ => to,
    };
    let why = match report.tail.as_ref().map(|tail| tail.stop) {
        Some(Stop::Rotated) => ", the next file goes on from there",
        _ => "",
    };
    format!("{from} to {to} ({iso}){why}")
}

fn command(report: &Report) -> Option<String> {
    let argv = report.head.command.as_ref()?.argv.join(" ");
    let shown = printable(&argv);
    let cut: String = shown.chars().take(COMMAND).collect();
    let dots = if cut.len() < shown.len() { "…" } else { "" };
    let ending = report.tail.as_ref().and_then(|tail| tail.command);
    let how = ending.map_or_else(
        || "its end is not known".to_owned(),
        |ending| {
            let exit = match ending.exit {
                Exit::Status(status) => format!("exit status {status}"),
                Exit::Signal(signal) => format!("ended by signal {signal}"),
            };
            let s = |us: u64| us as f64 / 1e6;
            format!("{exit}, user {:.1}s, system {:.1}s", s(ending.usage.user_us), s(ending.usage.system_us))
        },
    );
    Some(format!("{cut}{dots} ({how})"))
}

fn filtered(report: &Report) -> Option<String> {
    let (recorded, shown) = (recorded_with(report), shown_with(report));
    let said = [("recorded", recorded), ("shown", shown)].into_iter().filter(|(_, flags)| !flags.is_empty());
    let said: Vec<String> =
        said.map(|(what, flags)| format!("{what} with {}", printable(&flags.join(" ")))).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What keeps the numbers from being the whole truth.
fn trouble(report: &Report) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(why) = &report.missing {
        said.push(format!(
            "the end of this recording is missing ({}): what happened after {} is not in it",
            printable(why),
            "its last complete batch"
        ));
    }
    if let Some(why) = &report.damaged {
        said.push(printable(why).into_owned());
    }
    if report.left != 0 {
        said.push(format!(
            "{} TIME_WAIT sockets lived when a recording ended that none goes on from: what became of them is not known, they are \
             neither live nor ended",
            grouped(report.left)
        ));
    }
    said.extend(folded(report));
    if report.lost.events() != 0 {
        let least = "counts are the least that happened";
        let most = if report.lost.ended == 0 { "" } else { ", live and pressure the most" };
        said.push(format!("{} events were lost: {least}{most}", grouped(report.lost.events())));
    }
    said
}

/// What could not be seen; what is so on every machine with such a kernel is no bad news.
fn limitations(report: &Report) -> Vec<Line> {
    let at_end = report.tail.as_ref().map(|tail| tail.limitations.as_slice()).unwrap_or_default();
    let all: Limitations = report.head.limitations.iter().chain(at_end).cloned().collect();
    let told = |limitation: &Limitation| match limitation.what.is_usual() {
        true => line("note", limitation.to_string()),
        false => alarm_if(true, line("WARNING", limitation.to_string())),
    };
    all.all().iter().map(told).collect()
}

/// What is not told apart, and the limit that makes it so.
fn folded(report: &Report) -> Vec<String> {
    let Folded { events, texts, names, rows } = &report.folded;
    let most_groups = Limits::RECORDING.groups;
    let mut said = Vec::new();
    if *events != 0 {
        said.push(format!(
            "{most_groups} combinations of a process, its peer and its port are told apart, and {events} events are of others: \
             they are in the rows (others), and in every total"
        ));
    }
    if *texts != 0 {
        said.push("names, programs, containers and addresses beyond those that there is room for are called (others)".to_owned());
    }
    let tables: Vec<String> = rows.iter().map(|(by, rows)| format!("{rows} by {}", by.word())).collect();
    let names = (*names != 0).then(|| format!("{names} by name"));
    let tables: Vec<String> = names.into_iter().chain(tables).collect();
    if !tables.is_empty() {
        said.push(format!(
            "a table has {MOST_ROWS} rows at most; those of the least figures are one row (others) together: {}",
            tables.join(", ")
        ));
    }
    said
}

fn created(report: &Report, zone: &TimeZone) -> String {
    let created = report.total.counts.created;
    if created == 0 {
        return "0".to_owned();
    }
    let busiest = &report.busiest;
    format!(
        "{}, {}/s; {} in the busiest second{} ({})",
        grouped(created),
        rate(report.per_second(created)),
        grouped(busiest.value),
        of_one(report),
        time_of_day(report, busiest.at_ns, zone)
    )
}

/// What is the most of one machine, where there are several.
pub fn of_one(report: &Report) -> &'static str {
    if report.hosts.is_empty() { "" } else { " of one host" }
}

fn owners(report: &Report) -> String {
    let all = report.total.counts.created;
    let share = |row: &ReportRow| {
        let created = row.figures.counts.created;
        let whose = row.host.as_deref().map_or_else(String::new, |host| format!(" on {}", printable(host)));
        format!(
            "{}{whose} {} ({})",
            name(&row.name),
            grouped(created),
            percent(created as f64 / all.max(1) as f64)
        )
    };
    let created: Vec<&ReportRow> =
        report.comms.iter().filter(|row| row.figures.counts.created != 0).collect();
    if created.is_empty() {
        return NOTHING.to_owned();
    }
    // What nobody knows the owner of is said, however little it is: or those who are named would be thought to have it all.
    let is_named = |(at, row): &(usize, &&ReportRow)| *at < OWNERS || row.name == Name::Unknown;
    let mut said: Vec<String> =
        created.iter().enumerate().filter(is_named).map(|(_, row)| share(row)).collect();
    if created.len() > said.len() {
        said.push(format!("{} more", grouped((created.len() - said.len()) as u64)));
    }
    let vias = || Via::ALL.iter().zip(report.total.via).filter(|(_, count)| *count != 0);
    let other = vias().filter(|(via, _)| !matches!(via, Via::Close | Via::None));
    let other: Vec<String> = other.map(|(via, count)| format!("{via} {}", grouped(count))).collect();
    let mut text = said.join(", ");
    if !other.is_empty() {
        text += &format!("; owner known by {}", other.join(", "));
    }
    if let Some((_, count)) = vias().find(|(via, _)| **via == Via::None) {
        text += &format!("; owner unknown: {}", grouped(count));
    }
    text
}

fn ended(report: &Report) -> String {
    let counts = &report.total.counts;
    let reasons: Vec<String> =
        counts.reasons().map(|(reason, count)| format!("{reason} {}", grouped(count))).collect();
    if reasons.is_empty() {
        "0".to_owned()
    } else {
        format!("{}: {}", grouped(counts.ended()), reasons.join(", "))
    }
}

fn living(report: &Report, zone: &TimeZone) -> String {
    let peak = &report.peak_live;
    let when = if peak.value == 0 {
        String::new()
    } else {
        format!("{} ({})", of_one(report), time_of_day(report, peak.at_ns, zone))
    };
    let (listed, live) = (report.listed, report.total.live);
    format!(
        "{} from before, {} at the end, at most {}{when}",
        grouped(listed),
        grouped(live),
        grouped(peak.value)
    )
}

fn pressure(report: &Report, zone: &TimeZone) -> String {
    let Some(peak) = report.fullest else { return "no tuple used ephemeral ports".to_owned() };
    format!(
        "at most {}: {} of {} ports, {} ({})",
        percent(peak.pressure()),
        grouped(peak.ports_in_use.into()),
        grouped(peak.ports.into()),
        tuple(&peak.tuple),
        time_of_day(report, peak.at_ns, zone)
    )
}

fn failed(report: &Report) -> String {
    report.total.counts.failed()
}

/// Who ended connections with an RST; `None` where nobody did.
fn aborted(report: &Report) -> Option<String> {
    let all = report.total.counts.aborted;
    let mut rows: Vec<&ReportRow> =
        report.comms.iter().filter(|row| row.figures.counts.aborted != 0).collect();
    rows.order_by_key(|row| std::cmp::Reverse(row.figures.counts.aborted));
    let who = rows
        .iter()
        .take(OWNERS)
        .map(|row| format!("{} {}", name(&row.name), grouped(row.figures.counts.aborted)));
    let who = who.collect::<Vec<_>>().join(", ");
    (all != 0).then(|| {
        format!(
            "{all}, {}/s, by an RST of this host: no TIME_WAIT socket, and what was not delivered is lost: {who}",
            rate(report.per_second(all))
        )
    })
}

fn lost(loss: &Loss) -> String {
    let mut said = vec![if loss.events() == 0 {
        "nothing".to_owned()
    } else {
        format!("{} events", grouped(loss.events()))
    }];
    for (what, count) in loss.named() {
        if count != 0 {
            said.push(format!("{what} {}", grouped(count)));
        }
    }
    said.join(", ")
}

fn shares(all: &Percentiles, unit: fn(u64) -> String) -> String {
    format!("p50 ≤ {}, p90 ≤ {}, p99 ≤ {}", unit(all.p50), unit(all.p90), unit(all.p99))
}
