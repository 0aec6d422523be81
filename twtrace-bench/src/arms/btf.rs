//! What the running kernel's type information (BTF) calls its functions, and which typedef has which id.
//!
//! Owns: as much of the format as that takes (Documentation/bpf/btf.rst). Must not know: who attaches where.

use anyhow::{Context as _, Result};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// `BTF_MAGIC` as it lies in little-endian memory.
const MAGIC: [u8; 2] = [0x9f, 0xeb];
/// `BTF_KIND_TYPEDEF` (include/uapi/linux/btf.h).
const TYPEDEF: u32 = 8;

/// The names of all types.
pub(super) struct Btf {
    data: Vec<u8>,
    /// The kind of each type, and where in `data` its name begins; the first is of id 1.
    types: Vec<(u32, usize)>,
}

impl Btf {
    /// The running kernel's.
    pub(super) fn running() -> Result<Self> {
        let data = std::fs::read(VMLINUX).context(VMLINUX)?;
        Self::parse(data).with_context(|| format!("{VMLINUX} is no BTF of a format that is known"))
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
        let number = |at: usize| usize::try_from(word(at)?).ok();
        if !data.starts_with(&MAGIC) {
            return None;
        }
        // `struct btf_header`: its length, then where types and strings lie after it, each with its length.
        let (header, first, length, strings) = (number(4)?, number(8)?, number(12)?, number(16)?);
        let (mut at, mut types) = (header + first, Vec::new());
        while at < header + first + length {
            // `struct btf_type`: name, kind with the number of what follows, size or type.
            let (name, info) = (number(at)?, word(at + 4)?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            types.push((kind, header + strings + name));
            at += 12 + following(kind, count)?;
        }
        Some(Self { data, types })
    }

    /// The name of the type with this id.
    pub(super) fn name(&self, id: u32) -> Option<String> {
        let (_, at) = self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        Some(String::from_utf8_lossy(self.text(*at)).into_owned())
    }

    /// The id of a typedef.
    pub(super) fn typedef(&self, name: &str) -> Option<u32> {
        let is_it = |(kind, at): &(u32, usize)| *kind == TYPEDEF && self.text(*at) == name.as_bytes();
        u32::try_from(self.types.iter().position(is_it)? + 1).ok()
    }

    fn text(&self, at: usize) -> &[u8] {
        let rest = self.data.get(at..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Bytes that follow a type of `count` members, parameters or values; `None` of a kind that is not known.
fn following(kind: u32, count: usize) -> Option<usize> {
    match kind {
        // Int, var, decl_tag.
        1 | 14 | 17 => Some(4),
        // Array.
        3 => Some(12),
        // Struct, union, datasec, enum64.
        4 | 5 | 15 | 19 => Some(12 * count),
        // Enum, func_proto.
        6 | 13 => Some(8 * count),
        // Ptr, fwd, typedef, volatile, const, restrict, func, float, type_tag.
        2 | 7..=12 | 16 | 18 => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct of two members, a typedef and a function, and the names `a`, `btf_trace_b`, `c`.
    fn sample() -> Vec<u8> {
        let strings = b"\0a\0btf_trace_b\0c\0";
        let types = [[1, 4 << 24 | 2, 8].to_vec(), vec![0; 6], vec![3, 8 << 24, 1], vec![15, 12 << 24, 0]];
        let types: Vec<u32> = types.concat();
        let length = u32::try_from(types.len() * 4).unwrap();
        let words = [24, 0, length, length, u32::try_from(strings.len()).unwrap()];
        let bytes = words.iter().chain(&types).flat_map(|word| word.to_le_bytes());
        [0x9f, 0xeb, 1, 0].into_iter().chain(bytes).chain(*strings).collect()
    }

    #[test]
    fn types_are_found_past_what_others_have() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!((btf.typedef("btf_trace_b"), btf.typedef("c")), (Some(2), None));
        assert_eq!((btf.name(3), btf.name(4), btf.name(0)), (Some("c".to_owned()), None, None));
    }

    #[test]
    fn what_cannot_be_walked_through_is_no_btf() {
        let mut unknown = sample();
        unknown[24 + 7] = 31;
        assert!(Btf::parse(unknown).is_none() && Btf::parse(vec![0; 99]).is_none());
        assert!((0..70).all(|length| Btf::parse(sample()[..length].to_vec()).is_none()));
    }
}
