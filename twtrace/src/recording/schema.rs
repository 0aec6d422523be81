//! Owns: the columns of a recording: their names, types and order.
//! Must not know: how they are filled or read.
//!
//! Names and order are the interface's. The columns after [`INTERFACE_COLUMNS`] are what it takes, besides, to make the
//! same `Event`s of the rows again.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One of few words that are known beforehand: `dictionary<int8, utf8>`.
    Word,
    /// A text that comes again and again: `dictionary<int32, utf8>`.
    Text,
    /// Nanoseconds since 1970, UTC.
    Time,
    /// `uint16`
    U16,
    /// `uint32`
    U32,
    /// `uint64`
    U64,
}

impl Type {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
        match self {
            Self::Word => dictionary(DataType::Int8),
            Self::Text => dictionary(DataType::Int32),
            Self::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
        }
    }
}

/// How many of [`COLUMNS`] are the interface's; they come first.
pub const INTERFACE_COLUMNS: usize = 40;

/// Every column, in order. `event`, `time` and `mono_ns` are never null.
pub const COLUMNS: &[(&str, Type)] = &[
    ("event", Type::Word),
    ("time", Type::Time),
    ("mono_ns", Type::U64),
    ("netns", Type::U32),
    ("family", Type::Word),
    ("saddr", Type::Text),
    ("sport", Type::U16),
    ("daddr", Type::Text),
    ("dport", Type::U16),
    ("role", Type::Word),
    ("substate", Type::Word),
    ("timeout_ms", Type::U32),
    ("cookie", Type::U64),
    ("pid", Type::U32),
    ("tid", Type::U32),
    ("comm", Type::Text),
    ("uid", Type::U32),
    ("cgroup_id", Type::U64),
    ("exe", Type::Text),
    ("cgroup", Type::Text),
    ("container", Type::Text),
    ("owner_via", Type::Word),
    ("opener_pid", Type::U32),
    ("opener_comm", Type::Text),
    ("age_ms", Type::U64),
    ("bytes_sent", Type::U64),
    ("bytes_received", Type::U64),
    ("reason", Type::Word),
    ("lifetime_ms", Type::U64),
    ("errno", Type::Word),
    ("port_via", Type::Word),
    ("reuseaddr", Type::Word),
    ("why", Type::Word),
    ("count", Type::U64),
    ("container_name", Type::Text),
    ("image", Type::Text),
    ("pod", Type::Text),
    ("pod_namespace", Type::Text),
    ("range_low", Type::U16),
    ("range_high", Type::U16),
    // Interface of the socket, 0 for none; null where there is no connection.
    ("ifindex", Type::U32),
    // When the owner and the opener started, CLOCK_BOOTTIME in nanoseconds.
    ("start_ns", Type::U64),
    ("opener_start_ns", Type::U64),
    // What `age_ms` and `lifetime_ms` leave of the nanoseconds.
    ("age_rest_ns", Type::U32),
    ("lifetime_rest_ns", Type::U32),
    // The container's full id, or its name, and the uid of its Kubernetes pod.
    ("container_id", Type::Text),
    ("pod_uid", Type::Text),
    // What `count` is made of, and the two kinds of loss that are no events.
    ("lost_created", Type::U64),
    ("lost_ended", Type::U64),
    ("lost_overflow", Type::U64),
    ("lost_connect_failed", Type::U64),
    ("lost_bind_failed", Type::U64),
    ("lost_owners", Type::U64),
    ("lost_missed_runs", Type::U64),
    // Since format 2.
    ("lost_missed", Type::U64),
    ("lost_aborted", Type::U64),
    ("lost_syn_refused", Type::U64),
];

/// The columns that `count` is made of, in the order of [`Loss::parts`]; what is left of it could not be written, which has none.
///
/// [`Loss::parts`]: crate::model::event::Loss::parts
pub const LOST: [&str; 10] = [
    "lost_created",
    "lost_ended",
    "lost_overflow",
    "lost_connect_failed",
    "lost_bind_failed",
    "lost_aborted",
    "lost_syn_refused",
    "lost_owners",
    "lost_missed_runs",
    "lost_missed",
];

/// The columns as Arrow has them, without metadata.
pub fn schema() -> SchemaRef {
    let never_null = ["event", "time", "mono_ns"];
    let fields =
        COLUMNS.iter().map(|(name, column)| Field::new(*name, column.arrow(), !never_null.contains(name)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
