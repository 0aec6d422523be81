//! Owns: the columns of each table, and its rows as cells: a text to read and a number to sort by.
//! Must not know: how a table is laid out.

use jiff::tz::TimeZone;

use super::{NOTHING, milliseconds, name, size, target, time_of_day};
use crate::model::escape::{printable, process_name};
use crate::model::figures::{grouped, percent, rate, short_time};
use crate::model::identity::Names;
use crate::output::paint::Meaning;
use crate::present::report::model::{By, Figures, Name, Report, ReportRow, Strip};
use crate::present::signs::whole;

/// Columns of a timeline on a terminal.
const SKETCH: usize = 12;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// As it stands above the cells.
    pub title: &'static str,
    /// What is in it.
    pub help: &'static str,
    /// Numbers stand to the right.
    pub is_number: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What is read; printable.
    pub text: String,
    /// What is sorted by; `None` for a text, which is sorted by itself, and for nothing.
    pub number: Option<f64>,
    /// What its colour means.
    pub meaning: Meaning,
    /// What `text` is a sketch of.
    pub strip: Option<Strip>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its columns.
    pub columns: Vec<Column>,
    /// How many of them, from the left, are there where there is little room.
    pub narrow: usize,
    /// Its rows, each with a cell a column.
    pub rows: Vec<Vec<Cell>>,
}

type Make = fn(&Report, &ReportRow) -> Cell;

fn text(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), number: None, meaning: Meaning::Plain, strip: None }
}

fn number(text: String, number: f64) -> Cell {
    Cell { text, number: Some(number), meaning: Meaning::Plain, strip: None }
}

fn count(count: u64) -> Cell {
    number(grouped(count), count as f64)
}

/// What has a number for a name: a pid, a port, an inode.
fn numbered(name: impl Into<u32>) -> Cell {
    let name = name.into();
    number(name.to_string(), name.into())
}

fn known<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell) -> Cell {
    value.map_or_else(|| text(NOTHING), cell)
}

const fn figure(title: &'static str, help: &'static str) -> Column {
    Column { title, help, is_number: true }
}

const fn words(title: &'static str, help: &'static str) -> Column {
    Column { title, help, is_number: false }
}

const CREATED: (Column, Make) =
    (figure("CREATED", "TIME_WAIT sockets made"), |_, row| count(row.figures.counts.created));
const RATE: (Column, Make) = (figure("/S", "created a second, over the whole recording"), |report, row| {
    let a_second = report.per_second(row.figures.counts.created);
    number(rate(a_second), a_second)
});
const FAILED: (Column, Make) =
    (figure("FAILED", "overflows, and failures of connect() and bind()"), |_, row| {
        let failed = row.figures.failed();
        let meaning = if failed == 0 { Meaning::Plain } else { Meaning::Critical };
        Cell { meaning, ..count(failed) }
    });
/// Shown only where there were any.
const ABORTED: (Column, Make) = (
    figure("ABORTED", "connections that this host ended with an RST: no TIME_WAIT socket, data may be lost"),
    |_, row| count(row.figures.counts.aborted),
);
const ENDED: (Column, Make) =
    (figure("ENDED", "TIME_WAIT sockets gone"), |_, row| count(row.figures.counts.ended()));
const PEAK: (Column, Make) =
    (figure("PEAK", "the most that lived at one time"), |_, row| count(row.figures.peak_live));
const LIVE: (Column, Make) = (figure("LIVE", "at the end"), |_, row| count(row.figures.live));
const AGE: (Column, Make) = (figure("AGE p50", "age of connections: half were shorter"), |_, row| {
    known(row.figures.age_us, |age| number(short_time(age.p50), age.p50 as f64))
});
const SENT: (Column, Make) = (figure("SENT", "bytes sent a connection: half sent less"), |_, row| {
    known(row.figures.sent, |sent| number(size(sent.p50), sent.p50 as f64))
});
const RECEIVED: (Column, Make) =
    (figure("RECEIVED", "bytes received a connection: half received less"), |_, row| {
        known(row.figures.received, |received| number(size(received.p50), received.p50 as f64))
    });
const USED: (Column, Make) = (
    figure("USED", "of the ephemeral ports of its fullest tuple, at the worst, by TIME_WAIT sockets"),
    |_, row| known(row.peak, |peak| number(percent(peak.pressure()), peak.pressure())),
);
const IN_USE: (Column, Make) =
    (figure("PORTS", "ephemeral ports that TIME_WAIT sockets held at the worst"), |_, row| {
        known(row.peak, |peak| count(peak.ports_in_use.into()))
    });
const MAIN: (Column, Make) = (words("PROCESS", "the process that most of it is of"), |_, row| {
    known(row.main.as_deref(), |name| text(process_name(name)))
});
const PID: (Column, Make) = (figure("PID", "process id"), |_, row| match &row.name {
    Name::Process { pid, .. } => numbered(*pid),
    _ => text(NOTHING),
});
const PROCESS: (Column, Make) = (words("PROCESS", "who closed its end first"), |_, row| {
    let meaning = row.severity.map_or(Meaning::Plain, Meaning::from);
    Cell { meaning, ..text(name(&row.name)) }
});
const TIMELINE: (Column, Make) =
    (words("TIMELINE", "what it created and failed at, from the beginning to the end"), |_, row| {
        let Some(strip) = &row.strip else { return text(NOTHING) };
        let all: Vec<u32> =
            strip.created.iter().zip(&strip.failed).map(|(made, failed)| made + failed).collect();
        Cell { meaning: Meaning::Label, strip: Some(strip.clone()), ..text(whole(&all, SKETCH)) }
    });
const UID: (Column, Make) = (figure("UID", "real user id"), |_, row| match &row.name {
    Name::Process { uid, .. } => numbered(*uid),
    _ => text(NOTHING),
});
const CONTAINER: (Column, Make) = (words("CONTAINER", "of the process"), |_, row| match &row.name {
    Name::Process { container: Some(container), .. } => text(printable(container)),
    Name::Container(_) | Name::Others => text(name(&row.name)),
    _ => text(NOTHING),
});
/// These three are shown only where a runtime told some.
const POD: (Column, Make) =
    (words("POD", "namespace and name of the container's Kubernetes pod"), |_, row| {
        let pod = row.names.as_ref().and_then(Names::full_pod);
        known(pod.as_deref(), |pod| text(printable(pod)))
    });
const IMAGE: (Column, Make) = (words("IMAGE", "of the container"), |_, row| {
    known(row.names.as_ref().and_then(|names| names.image.as_deref()), |image| text(printable(image)))
});
const CALLED: (Column, Make) = (words("CALLED", "the container's name by its runtime"), |_, row| {
    known(row.names.as_ref().and_then(|names| names.name.as_deref()), |name| text(printable(name)))
});
const EXE: (Column, Make) = (words("PROGRAM", "of the process"), |_, row| match &row.name {
    Name::Process { exe: Some(exe), .. } => text(printable(exe)),
    _ => text(NOTHING),
});
const TOWARDS: (Column, Make) = (words("DESTINATION", "its main remote end or served port"), |_, row| {
    known(row.target, |to| text(target(&to)))
});
const NETNS: (Column, Make) = (figure("NETNS", "inode of the network namespace"), |_, row| match &row.name {
    Name::Tuple(key) => numbered(key.netns),
    Name::Port(key) => numbered(key.netns),
    Name::Netns(inode, _) => numbered(*inode),
    _ => text(NOTHING),
});
const NAME: (Column, Make) = (words("NAME", "of `ip netns`"), |_, row| match &row.name {
    Name::Netns(_, Some(name)) => text(printable(name)),
    _ => text(NOTHING),
});
const PEER: (Column, Make) = (words("PEER", "remote address"), |_, row| text(name(&row.name)));
const TUPLE: (Column, Make) = (words("TUPLE", "local address > remote end"), |_, row| text(name(&row.name)));
const PORT: (Column, Make) = (figure("PORT", "local port"), |_, row| match &row.name {
    Name::Port(key) => numbered(key.sport),
    _ => text(NOTHING),
});
const REASON: (Column, Make) =
    (words("REASON", "why TIME_WAIT sockets ended"), |_, row| text(name(&row.name)));
const SHARE: (Column, Make) = (figure("SHARE", "of all that ended"), |report, row| {
    let share = row.figures.counts.ended() as f64 / report.total.counts.ended().max(1) as f64;
    number(percent(share), share)
});

/// Whose a row is; shown only where there are several machines.
const WHOSE: (Column, Make) = (words("HOST", "the machine that recorded it"), |_, row| {
    known(row.host.as_deref(), |host| text(printable(host)))
});
const HOST: (Column, Make) =
    (words("HOST", "the machine, between two boots"), |_, row| text(name(&row.name)));
const KERNEL: (Column, Make) = (words("KERNEL", "release of its kernel"), |_, row| match &row.name {
    Name::Host { kernel, .. } => text(printable(kernel)),
    _ => text(NOTHING),
});
const RECORDINGS: (Column, Make) =
    (figure("FILES", "recordings of it that were read"), |_, row| match &row.name {
        Name::Host { recordings, .. } => count(*recordings),
        _ => text(NOTHING),
    });

fn lifetime(figures: &Figures, pick: fn(&crate::engine::Percentiles) -> u64) -> Cell {
    known(figures.lifetime_ms, |all| number(milliseconds(pick(&all)), pick(&all) as f64))
}

const LASTED: [(Column, Make); 3] = [
    (figure("p50", "half of them lived shorter"), |_, row| lifetime(&row.figures, |all| all.p50)),
    (figure("p90", "90% of them lived shorter"), |_, row| lifetime(&row.figures, |all| all.p90)),
    (figure("p99", "99% of them lived shorter"), |_, row| lifetime(&row.figures, |all| all.p99)),
];

/// All columns of a table.
type Columns = &'static [(Column, Make)];

/// Those that are always there, and those for which a terminal has no room.
fn columns(by: By) -> (Columns, Columns) {
    let narrow: Columns = match by {
        By::Process => &[
            PID, PROCESS, CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, USED, TIMELINE, TOWARDS,
            POD,
        ],
        By::Peer => &[CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, SENT, RECEIVED, PEER],
        By::Tuple => &[CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, IN_USE, USED, AGE, MAIN, TUPLE],
        By::Port => &[PORT, NETNS, CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, MAIN],
        By::Container => &[CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, CONTAINER, CALLED, POD],
        By::Netns => &[NETNS, CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, NAME],
        By::Reason => &[REASON, ENDED, SHARE, LASTED[0], LASTED[1], LASTED[2]],
        By::Host => &[CREATED, RATE, FAILED, ABORTED, ENDED, PEAK, LIVE, AGE, USED, RECORDINGS, HOST],
    };
    let more: Columns = match by {
        By::Process => &[SENT, RECEIVED, UID, CONTAINER, CALLED, IMAGE, EXE],
        By::Tuple => &[LIVE, SENT, RECEIVED, NETNS],
        By::Container => &[IMAGE, SENT, RECEIVED],
        By::Port | By::Netns => &[SENT, RECEIVED],
        By::Host => &[SENT, RECEIVED, KERNEL],
        By::Peer | By::Reason => &[],
    };
    (narrow, more)
}

/// A table of the report, of `most` rows at most. `wide` has more columns.
pub fn table(report: &Report, by: By, wide: bool, most: usize) -> View {
    let (narrow, more) = columns(by);
    let rows = report.table(by).unwrap_or_default();
    let is_shown = |column: &&(Column, Make)| match column.0.title {
        title if title == ABORTED.0.title => report.total.counts.aborted != 0,
        title if [POD, CALLED, IMAGE].iter().any(|named| named.0.title == title) => {
            rows.iter().any(|row| column.1(report, row).text != NOTHING)
        }
        _ => true,
    };
    let whose = (!report.hosts.is_empty() && by != By::Host).then_some(&WHOSE);
    let mut columns: Vec<_> = whose.into_iter().chain(narrow.iter().filter(is_shown)).collect();
    let narrow = columns.len();
    columns.extend(more.iter().filter(|column| wide && is_shown(column)));
    let rows = rows.iter().take(most);
    let cells = |row: &ReportRow| columns.iter().map(|(_, make)| make(report, row)).collect();
    View {
        rows: rows.map(cells).collect(),
        columns: columns.iter().map(|(column, _)| *column).collect(),
        narrow,
    }
}

/// The timeline as a table.
pub fn timeline(report: &Report, zone: &TimeZone) -> View {
    let columns = vec![
        words("TIME", "when the stretch begins"),
        figure("CREATED", "TIME_WAIT sockets made in it"),
        figure("ENDED", "TIME_WAIT sockets gone in it"),
        figure("OVERFLOW", "TIME_WAIT sockets refused in it"),
        figure("CONNECT_FAILED", "failures of connect() in it"),
        figure("BIND_FAILED", "failures of bind() in it"),
        figure("ABORTED", "connections that this host ended with an RST in it"),
        figure("LOST", "events lost, by when that was noticed"),
        figure("LIVE", "TIME_WAIT sockets at its end"),
        figure("USED", "of the ephemeral ports of the fullest tuple, at the worst in it"),
    ];
    let moments = report.timeline.moments.iter().map(|moment| {
        let pressure = f64::from(moment.pressure);
        let mut cells = vec![number(time_of_day(report, moment.at_ns, zone), moment.at_ns as f64)];
        let counts = [
            moment.created,
            moment.ended,
            moment.overflow,
            moment.connect_failed,
            moment.bind_failed,
            moment.aborted,
        ];
        cells.extend(counts.iter().chain([&moment.lost, &moment.live]).map(|all| numbered(*all)));
        cells.push(number(percent(pressure), pressure));
        cells
    });
    View { rows: moments.collect(), narrow: columns.len(), columns }
}
