//! Owns: telling an OpenTelemetry endpoint the same metrics as a scrape gets, and the doctor's findings as log records: the thread that does so.
//! Must not know: flags, the trace.
//!
//! It asks the board for a picture every so often, makes messages of it ([`points`], [`findings`]), and keeps them ([`queue`]) until the endpoint
//! ([`endpoint`]) has taken them ([`verdict`]), with [`headers`]. What it cannot keep is counted ([`Fate`](super::shared::Fate)).

mod attributes;
mod endpoint;
mod findings;
mod headers;
mod names;
mod points;
mod queue;
mod thread;
mod verdict;

pub use endpoint::{Endpoint, Transport};
pub use headers::Headers;
pub use thread::Exporter;
