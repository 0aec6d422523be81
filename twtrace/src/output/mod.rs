//! Owns: events as lines.
//! Must not know: where events come from, where lines go.

mod json;
mod stamp;
mod text;

pub use json::Json;
pub use stamp::Stamp;
pub use text::Text;
