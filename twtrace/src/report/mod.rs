//! Owns: what a recording comes to: counted column by column, as a model that text, JSON, the page and `diff` show.
//! Must not know: how recordings are made, the kernel, the command line.

mod build;
mod columns;
mod facts;
mod fold;
pub mod html;
pub mod json;
pub mod model;
mod read;
pub mod text;
pub mod view;

use build::MOST_ROWS;
use fold::MOST_GROUPS;
pub use model::{By, Report};
pub use read::{Error, Options, read};

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
