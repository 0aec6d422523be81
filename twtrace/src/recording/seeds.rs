//! Owns: reading the sockets that were in TIME_WAIT before the first event from the text of a note, as format 1 has them: a stream of
//! columns, written in base64. Since format 2 they are `listed` events.
//! Must not know: where notes are.

use std::net::IpAddr;

use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cache::Caches;
use super::column::{Malformed, NumberColumn, Table};
use super::stream::Stream;
use crate::engine::Seed;
use crate::model::event::{Conn, Role, Substate};

/// Sockets of one note, at most.
const PER_NOTE: usize = 16_384;

/// The columns of such a stream.
const COLUMNS: [&str; 10] =
    ["netns", "ifindex", "sport", "dport", "cookie", "ends_ns", "saddr", "daddr", "substate", "role"];

/// The sockets that the text of a note holds.
pub(super) fn read(text: &str) -> Result<Vec<Seed>, Malformed> {
    let bytes = STANDARD.decode(text).map_err(|error| Malformed::new("seeds", error.to_string()))?;
    let broken = |stop| Malformed::new("seeds", format!("{stop:?}"));
    let mut stream = Stream::open(bytes.as_slice(), |name| COLUMNS.contains(&name)).map_err(broken)?;
    let batch = stream.next().map_err(broken)?.batch;
    if batch.num_rows() > PER_NOTE {
        let why = format!("{} sockets in a note, of which one has {PER_NOTE} at most", batch.num_rows());
        return Err(Malformed::new("seeds", why));
    }
    let mut caches = Caches::default();
    let [netns, ifindex] = ["netns", "ifindex"].map(|name| NumberColumn::<UInt32Type>::of(&batch, name));
    let [sport, dport] = ["sport", "dport"].map(|name| NumberColumn::<UInt16Type>::of(&batch, name));
    let [cookie, ends_ns] = ["cookie", "ends_ns"].map(|name| NumberColumn::<UInt64Type>::of(&batch, name));
    let (netns, ifindex, sport, dport) = (netns?, ifindex?, sport?, dport?);
    let (cookie, ends_ns) = (cookie?, ends_ns?);
    let saddr = Table::<IpAddr>::parsed(&batch, &mut caches, "saddr")?;
    let daddr = Table::<IpAddr>::parsed(&batch, &mut caches, "daddr")?;
    let substate = Table::<Substate>::parsed(&batch, &mut caches, "substate")?;
    let role = Table::<Role>::parsed(&batch, &mut caches, "role")?;
    let rows = 0..batch.num_rows();
    rows.map(|row| {
        let conn = Conn {
            netns: netns.need(row)?,
            ifindex: ifindex.need(row)?,
            saddr: saddr.need(row)?,
            daddr: daddr.need(row)?,
            sport: sport.need(row)?,
            dport: dport.need(row)?,
        };
        let (substate, role) = (substate.need(row)?, role.need(row)?);
        Ok(Seed { conn, cookie: cookie.get(row), substate, role, ends_ns: ends_ns.need(row)? })
    })
    .collect()
}
