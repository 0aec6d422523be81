//! Owns: the columns about how a connection was and why it ended, and about what failed.
//! Must not know: the other columns of an event.

use arrow_schema::ArrowError;

use super::flat::{self, Chunk, Flat, note};
use super::{MILLI_NS, Put, U16, U32, U64};
use crate::model::event::{AbortWhy, Errno, Event, PortVia, Reason};
use crate::recording::filling::Words;

pub(super) struct OutcomeColumns {
    age_ms: U64,
    age_rest_ns: U32,
    bytes_sent: U64,
    bytes_received: U64,
    reason: Words,
    lifetime_ms: U64,
    lifetime_rest_ns: U32,
    port_via: Words,
}

/// What only calls that failed and connections that were aborted have.
pub(super) struct FailureColumns {
    errno: Words,
    reuseaddr: Words,
    range: [U16; 2],
    why: Words,
}

pub(super) fn flatten(event: &Event, flat: &mut Flat) {
    let parts = &mut flat.parts;
    flat.age_ns = note(flat::AGE, parts, event.age_ns).unwrap_or(0);
    flat.sent = note(flat::SENT, parts, event.bytes_sent).unwrap_or(0);
    flat.received = note(flat::RECEIVED, parts, event.bytes_received).unwrap_or(0);
    flat.reason = note(flat::REASON, parts, event.reason).map_or(0, |reason| reason.index() as u8);
    flat.lifetime_ns = note(flat::LIFETIME, parts, event.lifetime_ns).unwrap_or(0);
    flat.port_via = note(flat::PORT_VIA, parts, event.port_via).map_or(0, |via| via.index() as u8);
}

impl OutcomeColumns {
    pub(super) fn new() -> Self {
        Self {
            age_ms: U64::new(),
            age_rest_ns: U32::new(),
            bytes_sent: U64::new(),
            bytes_received: U64::new(),
            reason: Words::new(Reason::ALL.iter().map(|reason| reason.word())),
            lifetime_ms: U64::new(),
            lifetime_rest_ns: U32::new(),
            port_via: Words::new(PortVia::ALL.iter().map(|via| via.word())),
        }
    }

    pub(super) fn fill(&mut self, chunk: &Chunk<'_>) {
        let (age, lifetime) = (chunk.of(flat::AGE), chunk.of(flat::LIFETIME));
        self.age_ms.fill(&age, |flat| flat.age_ns / MILLI_NS);
        self.age_rest_ns.fill(&age, |flat| (flat.age_ns % MILLI_NS) as u32);
        self.bytes_sent.fill(&chunk.of(flat::SENT), |flat| flat.sent);
        self.bytes_received.fill(&chunk.of(flat::RECEIVED), |flat| flat.received);
        self.reason.fill(&chunk.of(flat::REASON), |flat| flat.reason);
        self.lifetime_ms.fill(&lifetime, |flat| flat.lifetime_ns / MILLI_NS);
        self.lifetime_rest_ns.fill(&lifetime, |flat| (flat.lifetime_ns % MILLI_NS) as u32);
        self.port_via.fill(&chunk.of(flat::PORT_VIA), |flat| flat.port_via);
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("age_ms", self.age_ms.column(rows)?);
        put("age_rest_ns", self.age_rest_ns.column(rows)?);
        put("bytes_sent", self.bytes_sent.column(rows)?);
        put("bytes_received", self.bytes_received.column(rows)?);
        put("reason", self.reason.column(rows)?);
        put("lifetime_ms", self.lifetime_ms.column(rows)?);
        put("lifetime_rest_ns", self.lifetime_rest_ns.column(rows)?);
        put("port_via", self.port_via.column(rows)?);
        Ok(())
    }
}

impl FailureColumns {
    pub(super) fn new() -> Self {
        Self {
            errno: Words::new(Errno::ALL.iter().map(|errno| errno.word())),
            reuseaddr: Words::new(["false", "true"]),
            range: [U16::new(), U16::new()],
            why: Words::new(AbortWhy::ALL.iter().map(|why| why.word())),
        }
    }

    pub(super) fn set(&mut self, row: usize, event: &Event) {
        if let Some(errno) = event.errno {
            self.errno.set(row, errno.index());
        }
        if let Some(reuseaddr) = event.reuseaddr {
            self.reuseaddr.set(row, reuseaddr.into());
        }
        if let Some((low, high)) = event.own_range {
            let [lowest, highest] = &mut self.range;
            lowest.set(row, low);
            highest.set(row, high);
        }
        if let Some(why) = event.why {
            self.why.set(row, why.index());
        }
    }

    pub(super) fn finish(&mut self, rows: usize, put: &mut Put<'_>) -> Result<(), ArrowError> {
        put("errno", self.errno.column(rows)?);
        put("reuseaddr", self.reuseaddr.column(rows)?);
        let [low, high] = &mut self.range;
        put("range_low", low.column(rows)?);
        put("range_high", high.column(rows)?);
        put("why", self.why.column(rows)?);
        Ok(())
    }
}
