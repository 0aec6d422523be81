//! Owns: cutting a kernel's BTF down to the types that `twtrace::kernel::btf::resolve` looks at, for `tests/data/btf`.
//! Must not know: which fields those are; the library lists them.
//!
//! `cargo run --example btf_cut -- VMLINUX_BTF OUT`, where VMLINUX_BTF is `/sys/kernel/btf/vmlinux` of the kernel or
//! section `.BTF` of its uncompressed vmlinux (`llvm-objcopy --dump-section .BTF=OUT VMLINUX /dev/null`).
//!
//! The structs on the way to a wanted field keep all their members, so that a look-up has as many wrong ones to pass as
//! in the real thing. Everything else keeps its size and loses its inside, and a pointer points to void. The result is
//! valid BTF with the kernel's own offsets: `bpftool btf dump file OUT` lists them.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;

use twtrace::kernel::btf::{Btf, FUNCTIONS, Kind, RawMember, Type, paths};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = &args[..] else { return Err("usage: btf_cut VMLINUX_BTF OUT".into()) };
    let btf = Btf::load(Path::new(input))?;
    let mut cutter = Cutter::new(&btf);
    for path in paths() {
        cutter.want(path);
    }
    for id in cutter.whole.clone() {
        cutter.keep(id);
    }
    for id in 1..=btf.len() {
        let is_wanted = |ty: Type<'_>| FUNCTIONS.iter().any(|name| name.as_bytes() == ty.name);
        if btf.get(id).is_some_and(|ty| ty.kind == Kind::Func && is_wanted(ty)) {
            cutter.keep(id);
        }
    }
    let cut = cutter.finish();
    eprintln!("{output}: {} bytes, {} types", cut.len(), Btf::parse(cut.clone())?.len());
    Ok(std::fs::write(output, cut)?)
}

struct Cutter<'a> {
    btf: &'a Btf,
    /// Structs that keep their members.
    whole: BTreeSet<u32>,
    /// New ids by old ones.
    ids: HashMap<u32, u32>,
    /// One entry a new type.
    types: Vec<Vec<u8>>,
    strings: Vec<u8>,
    string_at: HashMap<Vec<u8>, u32>,
}

impl<'a> Cutter<'a> {
    fn new(btf: &'a Btf) -> Self {
        let string_at = HashMap::from([(Vec::new(), 0)]);
        let ids = HashMap::from([(0, 0)]);
        Cutter { btf, whole: BTreeSet::new(), ids, types: Vec::new(), strings: vec![0], string_at }
    }

    /// Marks every struct that a dotted path goes through.
    fn want(&mut self, path: &str) {
        let mut names = path.split('.').map(str::as_bytes);
        let root = names.next().unwrap_or_default();
        let is_root = |ty: Type<'_>| matches!(ty.kind, Kind::Struct | Kind::Union) && ty.name == root;
        let mut here: Vec<u32> =
            (1..=self.btf.len()).filter(|&id| self.btf.get(id).is_some_and(is_root)).collect();
        self.whole.extend(&here);
        for name in names {
            here = here.iter().flat_map(|&id| self.step(id, name)).collect();
        }
    }

    /// Marks a struct with its anonymous ones, and says which types its members of a name have.
    fn step(&mut self, id: u32, name: &[u8]) -> Vec<u32> {
        let btf = self.btf;
        let Some(ty) = btf.get(id) else { return Vec::new() };
        match ty.kind {
            Kind::Struct | Kind::Union => self.whole.insert(id),
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::TypeTag => {
                return self.step(ty.size_or_type, name);
            }
            _ => return Vec::new(),
        };
        let mut found = Vec::new();
        for member in btf.members(&ty) {
            if member.name == name {
                found.push(member.type_id);
            } else if member.name.is_empty() {
                found.extend(self.step(member.type_id, name));
            }
        }
        found
    }

    /// The new id of a type, which is written down the first time it is asked for.
    fn keep(&mut self, id: u32) -> u32 {
        if let Some(&new) = self.ids.get(&id) {
            return new;
        }
        let btf = self.btf;
        let Some(ty) = btf.get(id) else { return 0 };
        self.types.push(Vec::new());
        let new = self.types.len() as u32;
        self.ids.insert(id, new);
        let bytes = match ty.kind {
            Kind::Struct | Kind::Union if self.whole.contains(&id) => self.whole_struct(&ty),
            Kind::Struct | Kind::Union => self.head(&Type { kind_flag: false, ..ty }, 0, ty.size_or_type),
            Kind::Enum | Kind::Enum64 => self.enumeration(&ty, new),
            Kind::Ptr => self.head(&ty, 0, 0),
            Kind::Int | Kind::Float | Kind::Fwd => {
                [self.head(&ty, 0, ty.size_or_type), ty.tail.to_vec()].concat()
            }
            Kind::Array => self.array(&ty),
            Kind::FuncProto => self.proto(&ty),
            _ => {
                let target = self.keep(ty.size_or_type);
                self.head(&ty, if ty.kind == Kind::Func { ty.vlen } else { 0 }, target)
            }
        };
        self.types[new as usize - 1] = bytes;
        new
    }

    /// `struct btf_type`: name, info, size or type.
    fn head(&mut self, ty: &Type<'_>, vlen: u32, size_or_type: u32) -> Vec<u8> {
        let info = u32::from(ty.kind_flag) << 31 | (ty.kind as u32) << 24 | vlen;
        words(&[self.string(ty.name), info, size_or_type])
    }

    /// One made-up value of 0 stands for all: an enum without any would be a mere declaration, without a size.
    fn enumeration(&mut self, ty: &Type<'_>, id: u32) -> Vec<u8> {
        let value = self.string(format!("CUT_{id}").as_bytes());
        let value = words(&[value, 0, 0][..if ty.kind == Kind::Enum { 2 } else { 3 }]);
        [self.head(ty, 1, ty.size_or_type), value].concat()
    }

    fn whole_struct(&mut self, ty: &Type<'_>) -> Vec<u8> {
        let btf = self.btf;
        let mut bytes = self.head(ty, ty.vlen, ty.size_or_type);
        for RawMember { name, type_id, bit_offset, bits } in btf.members(ty) {
            bytes.extend(words(&[self.string(name), self.keep(type_id), bits << 24 | bit_offset]));
        }
        bytes
    }

    /// Element type, index type, number of elements.
    fn array(&mut self, ty: &Type<'_>) -> Vec<u8> {
        let word = |at| u32::from_le_bytes(ty.tail[at..at + 4].try_into().expect("four bytes"));
        let (element, index) = (self.keep(word(0)), self.keep(word(4)));
        [self.head(ty, 0, 0), words(&[element, index, word(8)])].concat()
    }

    /// Parameters keep their number and lose their names and types.
    fn proto(&mut self, ty: &Type<'_>) -> Vec<u8> {
        [self.head(ty, ty.vlen, 0), vec![0; ty.tail.len()]].concat()
    }

    fn string(&mut self, text: &[u8]) -> u32 {
        *self.string_at.entry(text.to_vec()).or_insert_with(|| {
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(text);
            self.strings.push(0);
            at
        })
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.concat();
        let (types_len, strings_len) = (types.len() as u32, self.strings.len() as u32);
        let magic_version_flags = 0x0001_eb9f;
        let header = words(&[magic_version_flags, 24, 0, types_len, types_len, strings_len]);
        [header, types, self.strings].concat()
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
