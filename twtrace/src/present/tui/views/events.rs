//! Owns: what events, and those that are alike, say in each column.
//! Must not know: their order, which of them are shown.

use super::{Picture, What, who};
use crate::model::event::{AbortWhy, Errno, Event, Kind, Loss, Reason, Substate};
use crate::present::tui::journal::Repeat;
use crate::present::tui::value::Value;

pub(super) fn repeated(repeat: &Repeat, picture: &Picture, what: What) -> Option<Value> {
    let (_, event) = &repeat.last;
    match what {
        What::Count => Some(Value::Times(repeat.count)),
        What::Rate => Some(Value::Rate(repeat.rate(picture.frame.snapshot.now_ns))),
        // To the second: what goes on keeps its place.
        What::Time => match happened(event, picture, what) {
            Some(Value::Time(ns, text)) => Some(Value::Time(ns - ns % 1_000_000_000, text)),
            other => other,
        },
        _ => happened(event, picture, what),
    }
}

pub(super) fn happened(event: &Event, picture: &Picture, what: What) -> Option<Value> {
    match what {
        What::Time => {
            let time = picture.time_of(event).strftime("%H:%M:%S").to_string();
            // The monotonic time orders even when the calendar is set.
            Some(Value::Time(event.mono_ns, time))
        }
        What::Event => Some(Value::Text(event.kind.word().into())),
        What::Detail => Some(Value::Text(detail(event))),
        What::Ends => event.conn.map(Value::Conn),
        _ => {
            let owner = event.owner.as_ref()?;
            who(Some(owner.into()), what)
        }
    }
}

fn detail(event: &Event) -> std::borrow::Cow<'static, str> {
    match event.kind {
        Kind::Created if event.substate == Some(Substate::FinWait2) => {
            format!("{} FIN_WAIT2", event.role).into()
        }
        Kind::Created | Kind::Listed | Kind::Overflow => event.role.word().into(),
        Kind::Ended => event.reason.map_or("", Reason::word).into(),
        Kind::ConnectFailed | Kind::BindFailed => event.errno.map_or("", Errno::word).into(),
        Kind::Aborted => event.why.map_or("", AbortWhy::word).into(),
        Kind::SynRefused => "".into(),
        Kind::Lost => lost(event.loss.as_deref().copied().unwrap_or_default()).into(),
    }
}

fn lost(loss: Loss) -> String {
    match (loss.events(), loss.missed_runs) {
        (0, runs) if runs != 0 => format!("{runs} runs"),
        (events, _) => format!("{events} events"),
    }
}
