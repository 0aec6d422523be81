//! Owns: the version that every JSON object carries which is not an event, and how such an object becomes a line.
//! Must not know: any object.

use std::io::{self, Write};

use serde::Serialize;

/// The version of keys and their meaning, in JSON objects and in recordings. Within one version keys are only added: CONTRIBUTING.md has
/// the policy, docs/schema the schemas.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    object: &'a T,
}

/// Appends `object`, with its version, and a newline to `out`. It must be one that becomes a JSON object.
pub(crate) fn object_line(object: &impl Serialize, out: &mut Vec<u8>) {
    // A Vec takes everything, and every key is a string.
    let _ = write_object_line(object, out);
}

/// As [`object_line`], for what is too large to be whole in memory.
///
/// # Errors
/// Of writing.
pub(crate) fn write_object_line(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Versioned { schema_version: SCHEMA_VERSION, object })?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_first() {
        let mut out = b"before\n".to_vec();
        object_line(&serde_json::json!({ "b": 1, "a": null }), &mut out);
        assert_eq!(out, b"before\n{\"schema_version\":1,\"a\":null,\"b\":1}\n");
    }
}
