//! Owns: events as lines, and ways out that no reader can block.
//! Must not know: where events come from.

mod json;
mod stamp;
mod text;
mod writer;

pub use json::Json;
pub use stamp::Stamp;
pub use text::Text;
pub use writer::{Units, Writer};
