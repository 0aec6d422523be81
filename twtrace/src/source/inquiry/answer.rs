//! Owns: an answer: a recording of the sockets that live.
//! Must not know: who gets it.

use crate::engine::Live;
use crate::model::clock::Clock;
use crate::model::event::{Conn, Event, Kind};
use crate::recording::{EncodeError, Encoder, Head, Stop, Tail};

/// Events in a batch: bounds what is held twice.
const BATCH: usize = 16_384;

/// A recording of the sockets whose birth was seen.
pub(super) fn told(backend: &str, sockets: &[(Conn, Live)]) -> Result<Vec<u8>, EncodeError> {
    let Clock { mono_ns, wall_ns } = Clock::read();
    let head = Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: crate::model::clock::boot_id(),
        mono_ns,
        wall_ns,
        backend: backend.to_owned(),
        ..Head::default()
    };
    let mut encoder = Encoder::new(&head)?;
    for (conn, live) in sockets {
        if let Some(born) = birth(*conn, live) {
            encoder.append(&born);
            if encoder.waiting() == BATCH {
                encoder.close_batch()?;
            }
        }
    }
    encoder.finish(&Tail { mono_ns, wall_ns, stop: Stop::Other, ..Tail::default() })?;
    Ok(std::mem::take(encoder.bytes()))
}

/// The `created` that a live socket came from; `None` where nobody saw it.
fn birth(conn: Conn, live: &Live) -> Option<Event> {
    let born_ns = live.born_ns?;
    let mut event = Event::new(Kind::Created, born_ns, Some(conn));
    event.role = live.role;
    event.substate = Some(live.substate);
    event.timeout_ms = u32::try_from(live.ends_ns.saturating_sub(born_ns) / 1_000_000).ok();
    event.cookie = live.cookie;
    event.owner = live.owner;
    event.via = Some(live.via);
    event.identity = live.identity.clone();
    event.opener = live.opener;
    Some(event)
}
