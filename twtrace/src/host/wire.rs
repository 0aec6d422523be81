//! Owns: asking servers over HTTP: one connection that is kept and made again when it is gone, answers of bounded size and time, and the
//! unary calls of gRPC.
//! Must not know: what is asked, who asks.
//!
//! gRPC's framing of one message (a byte, a length, status in trailers) is written here; a client crate for it would bring streams, balancing
//! and name resolution that nothing here needs.

mod channel;
mod destination;
mod grpc;
mod retry;

pub use channel::{Answer, Channel, Failure};
pub use destination::{Protocol, ServerAddress, trust};
pub use grpc::{Call, Refusal};
pub use tokio_rustls::rustls::ClientConfig;
