//! Owns: `serve`: one live trace as metrics over HTTP, and a recording beside it.
//! Must not know: flags, hooks.
//!
//! The trace's own thread counts ([`tally`]) and makes a [`picture`] when one is wanted; a thread of its own answers ([`http`]), and makes
//! [`metrics`] of a picture, which are written in the format that is wanted ([`exposition`]).

mod access;
mod answers;
mod board;
mod busiest;
mod exposition;
mod families;
mod http;
mod metrics;
mod negotiation;
mod otlp;
mod owners;
mod patience;
mod picture;
mod ranking;
mod recording;
mod refusals;
mod shared;
mod tally;
mod tls;
mod view;
mod watch;

pub use access::{Token, is_of_this_machine};
pub use board::Board;
pub use http::Server;
pub use otlp::{Endpoint, Exporter, Headers, Transport};
pub use recording::Recording;
pub use shared::Shared;
pub use tls::{Tls, TlsFiles};
pub use view::Service;
