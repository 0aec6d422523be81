//! Owns: the list of all scenarios.
//! Must not know: how they are run.

mod order;

use anyhow::Result;

use crate::world::World;

/// How a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Beside others, under one twtrace for all.
    Shared,
    /// As [`Kind::Shared`], but after all others: its namespace goes away, and the kernel gives the inode out again.
    SharedLast,
    /// It runs twtrace itself.
    Own,
    /// As [`Kind::Own`], takes long, and is run only when named.
    Heavy,
}

/// One situation and its exact outcome.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// How it is run.
    pub kind: Kind,
    /// Makes it happen and says what must be told.
    pub act: fn(&mut World) -> Result<()>,
}

const fn shared(name: &'static str, act: fn(&mut World) -> Result<()>) -> Scenario {
    Scenario { name, kind: Kind::Shared, act }
}

/// All scenarios, in the order in which they run.
pub const ALL: &[Scenario] = &[
    shared("client_closes_first", order::client_closes_first),
    shared("server_closes_first", order::server_closes_first),
];
