//! Owns: BTF that says no more than under which ids a few types are.
//! Must not know: which types anybody wants.
//!
//! A library that looks ids up by name copies all types first, most of which have members, and compares a name with those of tens of thousands
//! of functions: 20 ms, and 2 ms a program. Of this there is little to copy.

use super::raw::{Btf, Kind};

/// `BTF_MAGIC`, version 1, no flags; then the length of this header (`struct btf_header`, include/uapi/linux/btf.h, 5.10 to 7.3).
const HEAD: [u8; 8] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
/// A forward declaration of something without a name: the kind that says least.
const NOTHING: [u32; 3] = [0, (Kind::Fwd as u32) << 24, 0];

impl Btf {
    /// BTF with the same ids, in which nothing is left but the names of these functions and typedefs, where they are there: of several of one
    /// name, the first.
    pub fn outline<'a>(
        &self,
        functions: impl IntoIterator<Item = &'a str>,
        typedefs: impl IntoIterator<Item = &'a str>,
    ) -> Vec<u8> {
        let functions =
            functions.into_iter().filter_map(|name| Some((self.func_named(name)?, Kind::Func, name)));
        let typedefs =
            typedefs.into_iter().filter_map(|name| Some((self.typedef_named(name)?, Kind::Typedef, name)));
        let mut types = NOTHING.map(u32::to_le_bytes).as_flattened().repeat(self.len() as usize);
        let mut strings = vec![0];
        for (id, kind, name) in functions.chain(typedefs) {
            let named = [strings.len() as u32, (kind as u32) << 24, 0].map(u32::to_le_bytes);
            let at = (id as usize - 1) * NOTHING.len() * 4;
            types[at..][..NOTHING.len() * 4].copy_from_slice(named.as_flattened());
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        // Where the types begin behind the header, how long they are, and the same of the strings.
        let sections = [0, types.len() as u32, types.len() as u32, strings.len() as u32];
        [&HEAD[..], sections.map(u32::to_le_bytes).as_flattened(), &types, &strings].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_has_the_ids_that_it_had_and_nothing_else_a_name() {
        let Ok(whole) = Btf::running() else { return };
        let (functions, typedefs) =
            (["tcp_time_wait", "inet_bind", "no_such_function"], ["u32", "btf_trace_timer_start"]);
        let outline = Btf::parse(whole.outline(functions, typedefs)).unwrap();
        assert_eq!(outline.len(), whole.len());
        for name in functions {
            assert_eq!(outline.func_named(name), whole.func_named(name), "{name}");
        }
        for name in typedefs {
            assert_eq!(outline.typedef_named(name), whole.typedef_named(name), "{name}");
        }
        assert!(outline.func_named("tcp_time_wait").is_some() && outline.typedef_named("u32").is_some());
        let named = (1..=outline.len()).filter_map(|id| outline.get(id)).filter(|one| !one.name.is_empty());
        assert_eq!(named.count(), 4);
    }
}
