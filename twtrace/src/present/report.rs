//! Owns: what a recording comes to: counted column by column, as a model that text, JSON, the page and `diff` show.
//! Must not know: how recordings are made, the kernel, the command line.

mod build;
mod chain;
mod columns;
mod count;
mod hosts;
pub mod html;
pub mod json;
pub mod model;
mod namings;
mod read;
mod stages;
mod strips;
pub mod text;
mod timeline;
pub mod view;

pub use chain::Part;
pub use hosts::{Group, by_host, read_hosts};
pub use model::{By, Report};
pub use read::{Error, Options, facts, read};

/// Rows that a table has at most; those of the least figures are one row of others together, so that sums stay exact.
const MOST_ROWS: usize = 16_384;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod tests;
