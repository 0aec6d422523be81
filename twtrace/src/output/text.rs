//! Owns: an event as one line for people, under 100 columns, or as many as a terminal has.
//! Must not know: where events come from, where lines go.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut as _, BytesMut};
use unicode_width::UnicodeWidthStr as _;

use super::paint::{Meaning, Paint};
use crate::model::clock::Clock;
use crate::model::escape::{fit, process_name};
use crate::model::event::{AbortWhy, Conn, Errno, Event, Kind, Opener, Process, Reason, Substate, Via};

/// Columns of a line, where there are so many.
const COLUMNS: usize = 99;
/// Columns of what a line is made of.
#[derive(Clone, Copy, Debug)]
struct Widths {
    /// A time to the millisecond has twelve.
    time: usize,
    process: usize,
    conn: usize,
}

const WIDE: Widths = Widths { time: 12, process: 20, conn: 34 };
/// On a terminal that has fewer than 99: of 80, eleven are left for the detail of most connections of IPv4.
const NARROW: Widths = Widths { time: 10, process: 14, conn: 31 };
/// Columns of an address of IPv6: as many as there is room for beside the detail, which is what the line is for.
const ADDRESS_COLUMNS: [usize; 4] = [39, 17, 11, 7];

/// Writes events as text.
#[derive(Debug)]
pub struct Text {
    clock: Clock,
    zone: jiff::tz::TimeZone,
    wide: bool,
    columns: usize,
    paint: Paint,
    line: String,
    detail: String,
}

impl Text {
    /// A writer whose times are read off `clock` and shown in the machine's time zone. `wide` lines are never cut.
    pub fn new(clock: Clock, wide: bool, paint: Paint) -> Self {
        Self {
            clock,
            zone: jiff::tz::TimeZone::system(),
            wide,
            columns: COLUMNS,
            paint,
            line: String::new(),
            detail: String::new(),
        }
    }

    /// In lines of so many columns at most, as of a terminal; wide lines are as long as they need to be.
    #[must_use]
    pub fn within(self, columns: Option<usize>) -> Self {
        Self { columns: columns.unwrap_or(COLUMNS).min(COLUMNS), ..self }
    }

    const fn widths(&self) -> Widths {
        if self.wide || self.columns == COLUMNS { WIDE } else { NARROW }
    }

    /// Reads times off the clock as it is `now` from now on, where it was set.
    pub fn follow(&mut self, now: Clock) {
        self.clock.follow(now);
    }

    /// The line above the columns.
    pub fn header(&self) -> String {
        let Widths { time, process, conn } = self.widths();
        let titles = format!(
            "{:time$} {:8} {:process$} {:conn$} DETAIL",
            "TIME", "EVENT", "PID/PROCESS", "LOCAL > REMOTE"
        );
        let titles = if self.wide { titles.into() } else { fit(&titles, self.columns) };
        format!("{}\n", self.paint.of(Meaning::Label, &titles))
    }

    /// Appends `event` and a newline to `out`.
    pub fn line(&mut self, event: &Event, out: &mut BytesMut) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.time(event.mono_ns, &mut line);
        // Writing to a String cannot fail.
        let _ = write!(line, " {:8} ", event.kind);
        let who = match (&event.owner, event.kind) {
            (_, Kind::Lost) => String::new(),
            (Some(owner), _) => process(owner),
            (None, _) => "unknown".to_owned(),
        };
        let Widths { process, conn: columns, .. } = self.widths();
        let shown = if self.wide { who.into() } else { fit(&who, process) };
        let _ = write!(line, "{shown:process$} ");
        self.detail.clear();
        detail(event, &mut self.detail);
        let room = self.columns.saturating_sub(line.width() + 1 + self.detail.width());
        let conn = event.conn.as_ref().map(|conn| self.conn(conn, event.kind, room)).unwrap_or_default();
        let _ = write!(line, "{conn:columns$} {}", self.detail);
        let text = line.trim_end();
        let text = if self.wide { text.into() } else { fit(text, self.columns) };
        self.put(&text, Meaning::from(event.kind), out);
        out.put_u8(b'\n');
        self.line = line;
    }

    /// A line of what was to be expected has its colour at the word, one of trouble as a whole.
    fn put(&self, text: &str, colour: Meaning, out: &mut BytesMut) {
        let (time, rest) = text.split_at_checked(self.widths().time + 1).unwrap_or((text, ""));
        let word = match colour {
            Meaning::Good | Meaning::Warning => rest.find(' ').unwrap_or(rest.len()),
            _ => rest.len(),
        };
        for part in [time, &self.paint.of(colour, &rest[..word]), &rest[word..]] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn time(&self, mono_ns: u64, line: &mut String) {
        let time = self.clock.time(mono_ns);
        let end = line.len() + self.widths().time;
        let _ = write!(line, "{}", time.to_zoned(self.zone.clone()).strftime("%H:%M:%S.%3f"));
        line.truncate(end);
    }

    fn conn(&self, conn: &Conn, kind: Kind, room: usize) -> String {
        let of_width = |width| {
            let local = end(conn.saddr, conn.sport, width);
            match kind {
                Kind::BindFailed => local,
                _ => format!("{local} > {}", end(conn.daddr, conn.dport, width)),
            }
        };
        let [.., narrowest] = ADDRESS_COLUMNS;
        // One of IPv4 has no shorter form.
        let fits = |text: &String| self.wide || conn.saddr.is_ipv4() || text.width() <= room;
        ADDRESS_COLUMNS.into_iter().map(of_width).find(fits).unwrap_or_else(|| of_width(narrowest))
    }
}

fn end(address: IpAddr, port: u16, width: usize) -> String {
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{}]:{port}", middle(&address.to_string(), width)),
    }
}

/// Cuts the middle out of an address: its network and its host part say more.
fn middle(address: &str, width: usize) -> String {
    if address.len() <= width {
        return address.to_owned();
    }
    let half = (width - 1) / 2;
    format!("{}…{}", &address[..half], &address[address.len() - half..])
}

fn process(owner: &Process) -> String {
    format!("{}/{}", owner.pid, process_name(&owner.comm.text()))
}

fn detail(event: &Event, line: &mut String) {
    let _ = match event.kind {
        Kind::Created => {
            let seconds = f64::from(event.timeout_ms.unwrap_or(0)) / 1000.0;
            let mini = if event.substate == Some(Substate::FinWait2) { "FIN_WAIT2 " } else { "" };
            write!(line, "{} {mini}{seconds:.0}s", event.role).and_then(|()| owner_note(event, line))
        }
        Kind::Listed => {
            let seconds = f64::from(event.timeout_ms.unwrap_or(0)) / 1000.0;
            let mini = if event.substate == Some(Substate::FinWait2) { "FIN_WAIT2 " } else { "" };
            write!(line, "{} {mini}{seconds:.0}s left", event.role)
        }
        Kind::Overflow => write!(line, "{} no TIME_WAIT: table full", event.role),
        Kind::Ended => {
            let reason = event.reason.map_or("", Reason::word);
            let life = event.lifetime_ns.map(|ns| format!(" {:.1}s", ns as f64 / 1e9)).unwrap_or_default();
            write!(line, "{reason}{life}")
        }
        Kind::ConnectFailed | Kind::BindFailed => {
            write!(line, "{}", event.errno.map_or("", Errno::word))
        }
        Kind::Aborted => write!(line, "{} RST sent: {}", event.role, event.why.map_or("", AbortWhy::word)),
        Kind::SynRefused => write!(line, "a SYN was not taken"),
        Kind::Lost => {
            let loss = event.loss.as_deref().copied().unwrap_or_default();
            // What there is comes first: a line may be cut.
            let said = write!(line, "{} events lost", loss.events());
            let parts = [
                (loss.missed_runs, "hook runs skipped"),
                (loss.owners, "owners"),
                (loss.created, "created"),
                (loss.ended, "ended"),
                (loss.missed, "missed"),
                (loss.unwritten, "unwritten"),
            ];
            let mut parts = parts.iter().filter(|(count, _)| *count != 0);
            said.and_then(|()| parts.try_for_each(|(count, what)| write!(line, ", {count} {what}")))
        }
    };
}

/// Says how the owner is known where it is not by its own close().
fn owner_note(event: &Event, line: &mut String) -> std::fmt::Result {
    match (event.via, &event.opener) {
        (Some(Via::Close) | None, Some(Opener { pid, .. }))
            if Some(*pid) != event.owner.map(|owner| owner.pid) =>
        {
            write!(line, " opener {pid}")
        }
        (Some(Via::Close) | None, _) => Ok(()),
        (Some(via), _) => write!(line, " via {via}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Role;
    use crate::output::paint::without_colours;

    fn lines(paint: Paint, kinds: &[Kind]) -> String {
        let mut text = Text::new(Clock { mono_ns: 0, wall_ns: 0 }, false, paint);
        let mut out = BytesMut::new();
        let header = text.header();
        kinds.iter().for_each(|kind| text.line(&Event::new(*kind, 7, None), &mut out));
        header + std::str::from_utf8(&out).unwrap()
    }

    #[test]
    fn of_the_longest_addresses_enough_is_left_out_for_the_detail() {
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, last]);
        let comm = crate::model::event::Comm::new("a-long-name-156");
        let process = Process { pid: 4_194_301, tid: 4_194_301, uid: 0, cgroup_id: 0, start_ns: 1, comm };
        for (kind, sport, wanted) in [
            (Kind::Ended, 50_021, "reused_outgoing 59.9s"),
            (Kind::ConnectFailed, 50_021, "EADDRNOTAVAIL"),
            (Kind::BindFailed, 8080, "EADDRNOTAVAIL"),
        ] {
            let (saddr, daddr) = (address(0x7777), address(0x8888));
            let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport, dport: 50_022 };
            let mut event = Event::new(kind, 7, Some(conn));
            event.owner = Some(process);
            (event.reason, event.lifetime_ns) = (Some(Reason::ReusedOutgoing), Some(59_900_000_000));
            event.errno = Some(Errno::AddrNotAvail);
            let mut out = BytesMut::new();
            Text::new(Clock { mono_ns: 0, wall_ns: 0 }, false, Paint::NONE).line(&event, &mut out);
            let line = std::str::from_utf8(&out).unwrap().trim_end();
            assert!(line.width() <= COLUMNS && line.ends_with(wanted), "{line}");
            assert!(line.contains(&format!(":{sport}")) && line.contains("[200"), "{line}");
        }
    }

    #[test]
    fn on_a_terminal_a_line_has_its_columns() {
        let comm = crate::model::event::Comm::new("a-long-name-156");
        let owner = Process { pid: 4_194_301, tid: 1, uid: 0, cgroup_id: 0, start_ns: 1, comm };
        let (saddr, daddr) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 200, 1, 109]));
        let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 50_021, dport: 80 };
        let mut event = Event::new(Kind::Created, 7, Some(conn));
        (event.owner, event.timeout_ms, event.role) = (Some(owner), Some(60_000), Role::Client);
        for columns in [60, 80, 98, 99, 200] {
            let mut text =
                Text::new(Clock { mono_ns: 0, wall_ns: 0 }, false, Paint::NONE).within(Some(columns));
            let mut out = BytesMut::new();
            text.line(&event, &mut out);
            let all = text.header() + std::str::from_utf8(&out).unwrap();
            assert!(all.lines().all(|line| line.width() <= columns), "{columns}: {all}");
            let whole = "127.0.0.1:50021 > 10.200.1.109:80";
            assert!(columns < 80 || all.contains(whole), "{columns}: {all}");
            assert!(columns < 80 || all.contains(" client 60s"), "{columns}: {all}");
        }
    }

    #[test]
    fn kinds_have_colours_that_change_no_text() {
        let kinds = [Kind::Created, Kind::Ended, Kind::ConnectFailed, Kind::Aborted, Kind::Lost];
        let (plain, coloured) = (lines(Paint::NONE, &kinds), lines(Paint::COLOURS, &kinds));
        assert!(!plain.contains('\x1b'));
        assert_eq!(without_colours(&coloured), plain);
        let colours: std::collections::HashSet<_> = coloured
            .lines()
            .skip(1)
            .map(|line| line[WIDE.time + 1..].split_once('m').map(|(colour, _)| colour.to_owned()))
            .collect();
        assert_eq!(colours.len(), 4, "{coloured:?}");
    }
}
