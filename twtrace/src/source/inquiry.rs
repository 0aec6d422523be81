//! Owns: how a running trace tells another twtrace on the machine whose the live sockets are.
//! Must not know: how events are traced, what is made of the answer.
//!
//! Each trace listens on a UNIX socket in /run/twtrace, which only its own user may enter. Whoever connects gets a recording of the
//! sockets that live, and says nothing: there is nothing that a client could ask for or set off. The socket goes with the
//! trace; what a killed one leaves behind is nobody's answer and is swept away by the next.

mod answer;
mod ask;
mod server;

pub use ask::{Answers, ask};
pub use server::{Question, Server};

/// Where traces listen.
pub const DIR: &str = "/run/twtrace";

#[cfg(test)]
mod tests;
