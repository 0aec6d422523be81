//! Owns: questions about types by name: a member by dotted path, a function and its parameters.
//! Must not know: which names twtrace needs, the encoding beyond what `raw` offers.

use super::raw::{Btf, Kind, RawMember, word};

/// Bytes of a pointer: the kernels that twtrace supports are 64-bit.
const POINTER_LEN: u32 = 8;
/// How long a chain of typedefs, qualifiers and nested types may be. The kernel's own limit is 32
/// (`MAX_RESOLVE_DEPTH`, kernel/bpf/btf.c, 5.10 to 7.3); only damaged BTF has longer ones, and only that has cycles.
const MAX_DEPTH: u32 = 32;
/// Members looked at before a question is given up. The biggest kernel structs have some hundreds; anonymous structs
/// that contain each other, in damaged BTF, would have no end.
const MAX_VISITS: u32 = 1 << 16;

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the struct that the path begins with.
    pub offset: u32,
    /// Bytes that its type takes (of a bitfield: the type it is declared with); 0 where that is not known.
    pub size: u32,
    /// Width in bits of a bitfield, 0 of anything else.
    pub bits: u32,
    /// Its kind, typedefs and qualifiers taken away; `None` is void, which only damaged BTF has.
    pub kind: Option<Kind>,
}

/// Why a member has no offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No struct or union has the name that the path begins with.
    #[error("struct {0} is not in this kernel's BTF")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("{0} is not in this kernel's BTF")]
    NoMember(String),
    /// A bitfield that does not start at a whole byte has no byte offset.
    #[error("{path} is a bitfield that starts at bit {bit_offset}, not at a whole byte")]
    Unaligned {
        /// The member.
        path: String,
        /// Bits from the start of the struct.
        bit_offset: u32,
    },
    /// Several structs of that name have the member, at different places.
    #[error("{path} is at byte {first} of one struct of that name and at byte {second} of another")]
    Ambiguous {
        /// The member.
        path: String,
        /// One offset.
        first: u32,
        /// The other offset.
        second: u32,
    },
}

impl Btf {
    /// Finds a member by dotted path, e.g. `sock.sk_lock.owned`: first the struct's name, then members. Anonymous
    /// structs and unions on the way are looked through, as C does; pointers are not followed. A struct's name alone
    /// stands for the whole struct.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub fn member(&self, path: &str) -> Result<Member, MemberError> {
        let root = path.split('.').next().unwrap_or_default();
        self.member_of(&self.structs_named(root), path)
    }

    /// As [`Btf::member`], with the ids of the structs that the path may begin with.
    pub(super) fn member_of(&self, roots: &[u32], path: &str) -> Result<Member, MemberError> {
        let mut found: Option<Member> = None;
        let mut error = None;
        for &root in roots {
            match (self.member_in(root, path), found) {
                (Ok(member), None) => found = Some(member),
                (Ok(member), Some(first)) if member.offset != first.offset => {
                    return Err(MemberError::Ambiguous {
                        path: path.to_owned(),
                        first: first.offset,
                        second: member.offset,
                    });
                }
                (Ok(_), Some(_)) => {}
                (Err(why), _) => error = Some(why),
            }
        }
        let root = || path.split('.').next().unwrap_or_default().to_owned();
        found.ok_or_else(|| error.unwrap_or_else(|| MemberError::NoStruct(root())))
    }

    fn member_in(&self, root: u32, path: &str) -> Result<Member, MemberError> {
        let none = || MemberError::NoMember(path.to_owned());
        // No name at all would match whatever is anonymous.
        if path.split('.').any(str::is_empty) {
            return Err(none());
        }
        let mut type_id = root;
        let mut bit_offset: u32 = 0;
        let mut bits = 0;
        let mut visits = MAX_VISITS;
        for name in path.split('.').skip(1) {
            let member = self.find(type_id, name.as_bytes(), MAX_DEPTH, &mut visits).ok_or_else(none)?;
            bit_offset = bit_offset.checked_add(member.bit_offset).ok_or_else(none)?;
            (type_id, bits) = (member.type_id, member.bits);
        }
        if !bit_offset.is_multiple_of(8) {
            return Err(MemberError::Unaligned { path: path.to_owned(), bit_offset });
        }
        let kind = self.get(self.strip(type_id)).map(|ty| ty.kind);
        Ok(Member { offset: bit_offset / 8, size: self.size_of(type_id).unwrap_or(0), bits, kind })
    }

    /// A member of a struct or union, or of the anonymous ones in it; its offset counts from `type_id`'s start.
    fn find(&self, type_id: u32, name: &[u8], depth: u32, visits: &mut u32) -> Option<RawMember<'_>> {
        let ty = self.get(self.strip(type_id))?;
        for member in self.members(&ty) {
            *visits = visits.checked_sub(1)?;
            if member.name == name {
                return Some(member);
            }
            if member.name.is_empty()
                && depth > 0
                && let Some(inner) = self.find(member.type_id, name, depth - 1, visits)
            {
                let bit_offset = member.bit_offset.checked_add(inner.bit_offset)?;
                return Some(RawMember { bit_offset, ..inner });
            }
        }
        None
    }

    /// The id behind typedefs, qualifiers and type tags; 0 where the chain has no end.
    fn strip(&self, mut type_id: u32) -> u32 {
        for _ in 0..MAX_DEPTH {
            match self.get(type_id) {
                Some(ty)
                    if matches!(
                        ty.kind,
                        Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag
                    ) =>
                {
                    type_id = ty.size_or_type;
                }
                _ => return type_id,
            }
        }
        0
    }

    /// Bytes that a value of a type takes; `None` for void, functions and what damaged BTF says.
    pub fn size_of(&self, type_id: u32) -> Option<u32> {
        let (mut type_id, mut count) = (type_id, 1u32);
        for _ in 0..MAX_DEPTH {
            type_id = self.strip(type_id);
            let ty = self.get(type_id)?;
            return match ty.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    ty.size_or_type.checked_mul(count)
                }
                Kind::Ptr => POINTER_LEN.checked_mul(count),
                Kind::Array => {
                    count = count.checked_mul(word(ty.tail, 8)?)?;
                    type_id = word(ty.tail, 0)?;
                    continue;
                }
                _ => None,
            };
        }
        None
    }

    /// Whether the kernel has a function of this name that tracing can attach to: pahole leaves out what was inlined
    /// everywhere or has lost parameters to optimisation.
    pub fn has_func(&self, name: &str) -> bool {
        self.func_named(name).is_some()
    }

    /// How many parameters a function takes; in a tracing program its return value is the argument of this index.
    /// `None` where the kernel has no such function.
    pub fn func_params(&self, name: &str) -> Option<u32> {
        let func = self.get(self.func_named(name)?)?;
        let proto = self.get(func.size_or_type)?;
        (proto.kind == Kind::FuncProto).then_some(proto.vlen)
    }
}
