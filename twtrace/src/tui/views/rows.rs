//! Owns: the rows of each view, from a picture of the world.
//! Must not know: their order, which of them are shown.

use super::{Alarm, Id, Line, Picture, Tab, alarm_of};
use crate::event::{Errno, Event, Kind, Reason, Substate};
use crate::tracker::{Figures, PortRow, Pressure, ProcessKey, ProcessRow, RowKey, TupleRow};
use crate::tui::journal::Numbered;
use crate::tui::value::Value;

/// From this share on, a pool of ports wants to be seen.
const WARNING: f64 = 0.7;
const CRITICAL: f64 = 0.9;

/// The rows of a view, in no particular order.
pub(in crate::tui) fn rows(tab: Tab, picture: &Picture) -> Vec<Line> {
    let world = &picture.frame.snapshot;
    match tab {
        Tab::Processes => world.processes.iter().map(process).collect(),
        Tab::Tuples => world.tuples.iter().map(tuple).collect(),
        Tab::Ports => world.ports.iter().map(port).collect(),
        Tab::Peers => {
            let line = |row: &crate::tracker::PeerRow| {
                plain(RowKey::Peer(row.key), Value::Address(row.key), &row.figures)
            };
            world.peers.iter().map(line).collect()
        }
        Tab::Containers => {
            let line = |row: &crate::tracker::ContainerRow| {
                let name = row.key.as_ref().map(ToString::to_string);
                let value = Value::hostile(name.as_deref().unwrap_or("(host)"));
                plain(RowKey::Container(name), value, &row.figures)
            };
            world.containers.iter().map(line).collect()
        }
        Tab::Failures => picture.journal.failures.iter().map(|event| happened(event, picture)).collect(),
        Tab::Events => picture.journal.events.iter().map(|event| happened(event, picture)).collect(),
    }
}

/// How full a pool of ports is, as an alarm.
pub(in crate::tui) fn alarm(pressure: Option<Pressure>) -> Alarm {
    match pressure.map_or(0.0, |pressure| pressure.fraction()) {
        fraction if fraction >= CRITICAL => Alarm::Critical,
        fraction if fraction >= WARNING => Alarm::Warning,
        _ => Alarm::None,
    }
}

/// In the order of `columns::FIGURES`.
fn figures(figures: &Figures) -> [Value; 10] {
    let micros = |us: Option<u64>| us.map_or(Value::Nothing, Value::Micros);
    let size = |count: Option<u64>| count.map_or(Value::Nothing, Value::Size);
    [
        Value::Count(figures.live),
        Value::Rate(figures.created_rate.s10),
        Value::Count(figures.failed()),
        Value::Rate(figures.ended_rate.s10),
        Value::Count(figures.peak_live),
        Value::Count(figures.counts.created),
        micros(figures.age_us.map(|age| age.p50)),
        micros(figures.age_us.map(|age| age.p99)),
        size(figures.sent.map(|sent| sent.p50)),
        size(figures.received.map(|received| received.p50)),
    ]
}

fn plain(key: RowKey, name: Value, row: &Figures) -> Line {
    let values = std::iter::once(name).chain(figures(row)).collect();
    let alarm = if row.failed() == 0 { Alarm::None } else { Alarm::Critical };
    Line { id: Id::Row(key), alarm, values }
}

fn used(pressure: Option<Pressure>) -> (Value, Value) {
    let Some(pressure) = pressure else { return (Value::Nothing, Value::Nothing) };
    (Value::Share(pressure.fraction()), pressure.full_in_s.map_or(Value::Nothing, Value::Lasts))
}

fn who(key: Option<ProcessKey>, gone: bool, name: &str) -> [Value; 2] {
    match key {
        None => [Value::Nothing, Value::Nothing],
        Some(key) if key.is_unknown() => [Value::Nothing, Value::Text("unknown".into())],
        Some(key) => [Value::Pid { pid: key.pid, gone }, Value::hostile(name)],
    }
}

fn process(row: &ProcessRow) -> Line {
    let mut values = Vec::from(who(Some(row.key), row.gone, &row.name.text()));
    values.extend(figures(&row.figures));
    let (share, lasts) = used(row.pressure);
    let container = row.identity.as_ref().and_then(|identity| identity.container.as_ref());
    let uid = if row.key.is_unknown() { Value::Nothing } else { Value::Count(row.uid.into()) };
    values.extend([
        share,
        lasts,
        container.map_or(Value::Nothing, |container| Value::hostile(&container.to_string())),
        uid,
        row.main
            .as_ref()
            .map_or(Value::Nothing, |main| Value::Target(main.target, row.targets.saturating_sub(1))),
    ]);
    let alarm = if row.figures.failed() == 0 { alarm(row.pressure) } else { Alarm::Critical };
    Line { id: Id::Row(RowKey::Process(row.key)), alarm, values }
}

fn tuple(row: &TupleRow) -> Line {
    let (share, lasts) = used(row.pressure);
    let left = row.pressure.map_or(Value::Nothing, |pressure| Value::Count(pressure.left().into()));
    let mut values = vec![share, left, lasts];
    values.extend(figures(&row.figures));
    values.extend(who(row.main, false, &row.main_name.text()));
    values.extend([Value::Count(row.key.netns.into()), Value::Tuple(row.key)]);
    let alarm = if row.figures.failed() == 0 { alarm(row.pressure) } else { Alarm::Critical };
    Line { id: Id::Row(RowKey::Tuple(row.key)), alarm, values }
}

fn port(row: &PortRow) -> Line {
    let mut line = plain(RowKey::Port(row.key), Value::Count(row.key.sport.into()), &row.figures);
    let [pid, name] = who(row.main, false, &row.main_name.text());
    line.values.extend([pid, Value::Count(row.key.netns.into()), name]);
    line
}

fn happened((number, event): &Numbered, picture: &Picture) -> Line {
    let wall_ns = picture.frame.clock.wall_ns(event.mono_ns);
    let time = jiff::Timestamp::from_nanosecond(wall_ns.into()).unwrap_or_default();
    let time = time.to_zoned(picture.zone.clone()).strftime("%H:%M:%S").to_string();
    let key = event.owner.as_ref().map(ProcessKey::from);
    let name = event.owner.as_ref().map(|owner| owner.comm.text()).unwrap_or_default();
    let [pid, name] = who(key, false, &name);
    let values = vec![
        // The monotonic time orders even when the calendar is set.
        Value::Time(i64::try_from(event.mono_ns).unwrap_or(i64::MAX), time),
        Value::Text(event.kind.word().into()),
        pid,
        name,
        Value::Text(detail(event)),
        event.conn.map_or(Value::Nothing, Value::Conn),
    ];
    Line { id: Id::Event(*number), alarm: alarm_of(event.kind), values }
}

fn detail(event: &Event) -> std::borrow::Cow<'static, str> {
    match event.kind {
        Kind::Created if event.substate == Some(Substate::FinWait2) => {
            format!("{} FIN_WAIT2", event.role).into()
        }
        Kind::Created | Kind::Overflow => event.role.word().into(),
        Kind::Ended => event.reason.map_or("", Reason::word).into(),
        Kind::ConnectFailed | Kind::BindFailed => event.errno.map_or("", Errno::word).into(),
        Kind::Lost => format!("{} events", event.loss.unwrap_or_default().events()).into(),
    }
}
