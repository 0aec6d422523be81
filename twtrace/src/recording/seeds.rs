//! Owns: the sockets that were in TIME_WAIT before the first event, as the text of a note.
//! Must not know: where notes are.
//!
//! A machine can have a hundred thousand of them. So they are packed as the recording itself is: a stream of columns, which
//! as part of a text is written in base64.

use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dictionary::{Texts, Words};
use super::rows::{Malformed, Numbers, Table};
use super::schema::Type;
use super::stream::Stream;
use crate::event::{Conn, Role, Substate};
use crate::tracker::Seed;

/// Sockets of one note.
pub(super) const PER_NOTE: usize = 16_384;

const COLUMNS: [(&str, Type); 10] = [
    ("netns", Type::U32),
    ("ifindex", Type::U32),
    ("saddr", Type::Text),
    ("sport", Type::U16),
    ("daddr", Type::Text),
    ("dport", Type::U16),
    ("cookie", Type::U64),
    ("substate", Type::Word),
    ("role", Type::Word),
    ("ends_ns", Type::U64),
];

/// The text of a note.
pub(super) fn write(seeds: &[Seed]) -> Result<String, ArrowError> {
    let fields = COLUMNS.iter().map(|(name, column)| Field::new(*name, column.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns(seeds)?)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, super::encoder::options()?)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(STANDARD.encode(writer.get_ref()))
}

fn columns(seeds: &[Seed]) -> Result<Vec<ArrayRef>, ArrowError> {
    let addresses = |of: fn(&Conn) -> &IpAddr| {
        let mut column = Texts::<IpAddr>::new();
        for seed in seeds {
            column.append(Some(of(&seed.conn)), |address| address.to_string());
        }
        column.finish()
    };
    let mut substate = Words::new(Substate::ALL.iter().map(|substate| substate.word()));
    let mut role = Words::new(Role::ALL.iter().map(|role| role.word()));
    for seed in seeds {
        substate.append(Substate::ALL.iter().position(|one| *one == seed.substate));
        role.append(Role::ALL.iter().position(|one| *one == seed.role));
    }
    Ok(vec![
        Arc::new(u32s(seeds, |seed| seed.conn.netns).finish()),
        Arc::new(u32s(seeds, |seed| seed.conn.ifindex).finish()),
        addresses(|conn| &conn.saddr)?,
        Arc::new(u16s(seeds, |seed| seed.conn.sport).finish()),
        addresses(|conn| &conn.daddr)?,
        Arc::new(u16s(seeds, |seed| seed.conn.dport).finish()),
        Arc::new(u64s(seeds, |seed| seed.cookie).finish()),
        substate.finish()?,
        role.finish()?,
        Arc::new(u64s(seeds, |seed| Some(seed.ends_ns)).finish()),
    ])
}

fn u16s(seeds: &[Seed], value: fn(&Seed) -> u16) -> PrimitiveBuilder<UInt16Type> {
    let mut column = PrimitiveBuilder::with_capacity(seeds.len());
    seeds.iter().for_each(|seed| column.append_value(value(seed)));
    column
}

fn u32s(seeds: &[Seed], value: fn(&Seed) -> u32) -> PrimitiveBuilder<UInt32Type> {
    let mut column = PrimitiveBuilder::with_capacity(seeds.len());
    seeds.iter().for_each(|seed| column.append_value(value(seed)));
    column
}

fn u64s(seeds: &[Seed], value: fn(&Seed) -> Option<u64>) -> PrimitiveBuilder<UInt64Type> {
    let mut column = PrimitiveBuilder::with_capacity(seeds.len());
    seeds.iter().for_each(|seed| column.append_option(value(seed)));
    column
}

/// The sockets that the text of a note holds.
pub(super) fn read(text: &str) -> Result<Vec<Seed>, Malformed> {
    let bytes = STANDARD.decode(text).map_err(|error| Malformed::new("seeds", error.to_string()))?;
    let broken = |stop| Malformed::new("seeds", format!("{stop:?}"));
    let mut stream = Stream::open(bytes.as_slice()).map_err(broken)?;
    let batch = stream.next().map_err(broken)?.batch;
    let [netns, ifindex] = ["netns", "ifindex"].map(|name| Numbers::<UInt32Type>::of(&batch, name));
    let [sport, dport] = ["sport", "dport"].map(|name| Numbers::<UInt16Type>::of(&batch, name));
    let [cookie, ends_ns] = ["cookie", "ends_ns"].map(|name| Numbers::<UInt64Type>::of(&batch, name));
    let (netns, ifindex, sport, dport) = (netns?, ifindex?, sport?, dport?);
    let (cookie, ends_ns) = (cookie?, ends_ns?);
    let saddr = Table::<IpAddr>::parsed(&batch, "saddr")?;
    let daddr = Table::<IpAddr>::parsed(&batch, "daddr")?;
    let substate = Table::<Substate>::parsed(&batch, "substate")?;
    let role = Table::<Role>::parsed(&batch, "role")?;
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
