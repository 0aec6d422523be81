//! Owns: the BTF encoding: header, the index of where each type begins, names, and views of single types.
//! Must not know: which types anybody wants.

use std::path::Path;

/// `BTF_MAGIC` as it lies in little-endian memory.
const MAGIC: u16 = 0xeb9f;
/// Bytes of the header that every version has: magic to str_len.
const HEADER_LEN: usize = 24;
/// Bytes of `struct btf_type` before what its kind appends.
const TYPE_LEN: usize = 12;
/// Bytes of one `struct btf_member`.
const MEMBER_LEN: usize = 12;
/// The kernel's own limit to a name (`KSYM_NAME_LEN`, include/linux/kallsyms.h, 6.1 to 7.3): damaged BTF may have
/// megabytes without a NUL.
const MAX_NAME_LEN: usize = 512;

/// Why bytes are not BTF that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is not there or not readable.
    #[error(
        "cannot read {path}: {source}; a kernel shows its BTF there when built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Fewer bytes than a header has.
    #[error("BTF of {0} bytes is shorter than its own header ({HEADER_LEN} bytes)")]
    Short(usize),
    /// BTF of a machine of the other byte order.
    #[error("this BTF is big-endian; twtrace reads little-endian BTF only")]
    BigEndian,
    /// Not BTF at all.
    #[error(
        "this is not raw BTF: it begins with {0:#06x} instead of 0xeb9f; of a vmlinux, extract the section .BTF"
    )]
    Magic(u16),
    /// A later format.
    #[error("BTF version {0} is not known, only 1 is; a newer twtrace may read it")]
    Version(u8),
    /// A section that reaches beyond the bytes.
    #[error("BTF is cut off: its {section} section ends at byte {end} of {len}")]
    Section {
        /// `type` or `string`.
        section: &'static str,
        /// Where the header says that it ends.
        end: u64,
        /// Bytes there are.
        len: usize,
    },
    /// The string section does not begin and end with NUL.
    #[error("the string section of this BTF does not begin and end with a NUL: it is damaged")]
    Strings,
    /// A kind whose length is unknown, so that nothing behind it can be found.
    #[error(
        "BTF type {id} is of kind {kind}, known are 1 to 19; the BTF is damaged or a newer twtrace is needed"
    )]
    Kind {
        /// The type's id.
        id: u32,
        /// Its kind.
        kind: u32,
    },
    /// The last type reaches beyond the type section.
    #[error("BTF type {0} reaches beyond the type section: the BTF is damaged")]
    Type(u32),
}

/// `BTF_KIND_*` (include/uapi/linux/btf.h, 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the kernel's and say it all")]
pub enum Kind {
    Int = 1,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

const KINDS: [Kind; 19] = [
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::Datasec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

impl Kind {
    fn from_raw(raw: u32) -> Option<Self> {
        KINDS.get((raw as usize).checked_sub(1)?).copied()
    }

    /// Bytes that follow `struct btf_type`.
    fn tail_len(self, vlen: u32) -> usize {
        let vlen = vlen as usize;
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => vlen * MEMBER_LEN,
            Kind::Enum | Kind::FuncProto => vlen * 8,
            _ => 0,
        }
    }
}

/// Raw BTF with an index of its types. Names are compared where they lie: no map of them is ever built, because all
/// questions together touch some twenty of more than 100,000 types.
pub struct Btf {
    data: Vec<u8>,
    /// Where in `data` each type begins; `starts[0]` is type id 1.
    starts: Vec<u32>,
    /// Ids of structs and unions.
    structs: Vec<u32>,
    /// Ids of functions.
    funcs: Vec<u32>,
    /// Ids of typedefs.
    typedefs: Vec<u32>,
    strings: std::ops::Range<usize>,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Btf({} types, {} bytes)", self.starts.len(), self.data.len())
    }
}

/// One type.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name, empty where it has none.
    pub name: &'a [u8],
    /// Members, parameters or values it has.
    pub vlen: u32,
    /// `kind_flag`: in a struct or union, that member offsets hold bitfield sizes too.
    pub kind_flag: bool,
    /// Size in bytes, or the id of the type it refers to, as the kind has it.
    pub size_or_type: u32,
    /// What follows the fixed part, as it lies in the BTF.
    pub tail: &'a [u8],
}

/// A member of a struct or union as it is written down.
#[derive(Clone, Copy, Debug)]
pub struct RawMember<'a> {
    /// Its name, empty where it has none.
    pub name: &'a [u8],
    /// Id of its type.
    pub type_id: u32,
    /// Offset in bits from the start of the struct.
    pub bit_offset: u32,
    /// Width in bits of a bitfield, 0 of anything else.
    pub bits: u32,
}

impl Btf {
    /// The running kernel's BTF.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn running() -> Result<Self, BtfError> {
        Self::load(Path::new(super::VMLINUX))
    }

    /// Raw BTF from a file.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn load(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path)
            .map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(data)
    }

    /// Raw BTF from memory; one pass over the types.
    ///
    /// # Errors
    /// See [`BtfError`]; any bytes may be given.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        if data.len() < HEADER_LEN {
            return Err(BtfError::Short(data.len()));
        }
        match u16::from_le_bytes([data[0], data[1]]) {
            MAGIC => {}
            magic if magic == MAGIC.swap_bytes() => return Err(BtfError::BigEndian),
            magic => return Err(BtfError::Magic(magic)),
        }
        if data[2] != 1 {
            return Err(BtfError::Version(data[2]));
        }
        let types = section(&data, "type", 8)?;
        let strings = section(&data, "string", 16)?;
        if data[strings.clone()].first() != Some(&0) || data[strings.clone()].last() != Some(&0) {
            return Err(BtfError::Strings);
        }
        let [starts, structs, funcs, typedefs] = [const { Vec::new() }; 4];
        let mut btf = Btf { data, starts, structs, funcs, typedefs, strings };
        btf.index(types)?;
        Ok(btf)
    }

    fn index(&mut self, types: std::ops::Range<usize>) -> Result<(), BtfError> {
        // The average type of a vmlinux takes 25 bytes: one allocation instead of a dozen.
        self.starts.reserve(types.len() / 24);
        let mut at = types.start;
        while at < types.end {
            let id = self.starts.len() as u32 + 1;
            let info = word(&self.data[..types.end], at + 4).ok_or(BtfError::Type(id))?;
            let (kind, vlen) = split(info);
            let kind = Kind::from_raw(kind).ok_or(BtfError::Kind { id, kind })?;
            let end = at + TYPE_LEN + kind.tail_len(vlen);
            if end > types.end {
                return Err(BtfError::Type(id));
            }
            self.starts.push(at as u32);
            match kind {
                Kind::Struct | Kind::Union => self.structs.push(id),
                Kind::Func => self.funcs.push(id),
                Kind::Typedef => self.typedefs.push(id),
                _ => {}
            }
            at = end;
        }
        Ok(())
    }

    /// How many types there are; ids go from 1 to this, 0 is void.
    pub fn len(&self) -> u32 {
        self.starts.len() as u32
    }

    /// No type at all.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The type of an id; `None` for void and for ids that are not there.
    pub fn get(&self, id: u32) -> Option<Type<'_>> {
        let at = *self.starts.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(&self.data, at + 4)?;
        let (kind, vlen) = split(info);
        let kind = Kind::from_raw(kind)?;
        let tail = self.data.get(at + TYPE_LEN..at + TYPE_LEN + kind.tail_len(vlen))?;
        Some(Type {
            kind,
            name: self.name(word(&self.data, at)?),
            vlen,
            kind_flag: info >> 31 != 0,
            size_or_type: word(&self.data, at + 8)?,
            tail,
        })
    }

    /// Members of a struct or union; of anything else none.
    pub fn members<'a>(&'a self, ty: &Type<'a>) -> impl Iterator<Item = RawMember<'a>> + use<'a> {
        let has = matches!(ty.kind, Kind::Struct | Kind::Union);
        let kind_flag = ty.kind_flag;
        let tail = if has { ty.tail } else { &[] };
        tail.chunks_exact(MEMBER_LEN).filter_map(move |raw| {
            let offset = word(raw, 8)?;
            let (bit_offset, bits) =
                if kind_flag { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            Some(RawMember { name: self.name(word(raw, 0)?), type_id: word(raw, 4)?, bit_offset, bits })
        })
    }

    /// Ids of the structs and unions of this name. More than one happens: two drivers may use a name for different
    /// things.
    pub(super) fn structs_named(&self, name: &str) -> Vec<u32> {
        self.named(&self.structs, name).collect()
    }

    /// Id of the first function of this name.
    pub(in crate::kernel) fn func_named(&self, name: &str) -> Option<u32> {
        self.named(&self.funcs, name).next()
    }

    /// Id of the first typedef of this name.
    pub(super) fn typedef_named(&self, name: &str) -> Option<u32> {
        self.named(&self.typedefs, name).next()
    }

    fn named<'a>(&'a self, ids: &'a [u32], name: &'a str) -> impl Iterator<Item = u32> + 'a {
        ids.iter().copied().filter(move |&id| {
            let at = self.starts[id as usize - 1] as usize;
            word(&self.data, at).is_some_and(|offset| self.name_is(offset, name.as_bytes()))
        })
    }

    fn name_is(&self, offset: u32, name: &[u8]) -> bool {
        let strings = &self.data[self.strings.clone()];
        strings.get(offset as usize..).is_some_and(|rest| {
            rest.len() > name.len() && rest[name.len()] == 0 && &rest[..name.len()] == name
        })
    }

    /// The string at an offset, at most [`MAX_NAME_LEN`] bytes of it; empty where the offset lies outside.
    fn name(&self, offset: u32) -> &[u8] {
        let strings = &self.data[self.strings.clone()];
        let rest = strings.get(offset as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(MAX_NAME_LEN)];
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// Kind and vlen of an `info` word. The format gives them 5 and 16 bits with unused ones above; older kernels insist
/// that these are zero, so reading them along costs nothing and lets garbage be seen as an unknown kind.
fn split(info: u32) -> (u32, u32) {
    (info >> 24 & 0x7f, info & 0x00ff_ffff)
}

/// The little-endian word at a byte offset.
pub(super) fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// A section whose offset and length stand at `field` of the header; offsets count from the header's end.
fn section(data: &[u8], name: &'static str, field: usize) -> Result<std::ops::Range<usize>, BtfError> {
    let read = |at| u64::from(word(data, at).unwrap_or(u32::MAX));
    let start = read(4) + read(field);
    let end = start + read(field + 4);
    if end > data.len() as u64 {
        return Err(BtfError::Section { section: name, end, len: data.len() });
    }
    Ok(start as usize..end as usize)
}
