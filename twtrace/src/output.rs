//! Owns: events as lines, and ways out that no reader can block.
//! Must not know: where events come from.

mod json;
pub mod notes;
pub mod paint;
pub mod room;
mod stamp;
mod text;
mod versioned;
mod writer;

pub use json::Json;
pub use stamp::Stamp;
pub use text::Text;
pub use versioned::SCHEMA_VERSION;
pub(crate) use versioned::{object_line, write_object_line};
pub use writer::{READING, Units, Writer, is_watched};

/// Writes to stdout what a command has to say. Notes stand before what they are about, not in the middle of it.
///
/// # Errors
/// Of writing.
pub fn print(text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    notes::settle();
    std::io::stdout().lock().write_all(text)
}
