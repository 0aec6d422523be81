//! Owns: what the running kernel's type information (BTF) says: where a field lies, whether a function is there and
//! how many parameters it has. `raw` reads the bytes, `lookup` answers questions, `resolve` asks all of twtrace's,
//! `outline` makes less of it.
//! Must not know: aya, how the answers get into the kernel, kallsyms.
//!
//! The format is Documentation/bpf/btf.rst of the kernel, kinds up to `BTF_KIND_ENUM64`. Nothing here
//! panics or loops for ever, whatever the bytes: BTF may also come from a file that somebody handed in.

mod lookup;
mod outline;
mod raw;
mod resolve;

pub use lookup::{Member, MemberError};
pub use raw::{Btf, BtfError, Kind, RawMember, Type};
pub use resolve::{FUNCTIONS, HASHDANCE_SCHEDULE, ResolveError, Resolved, paths, resolve};

/// Where the running kernel shows its own BTF (CONFIG_DEBUG_INFO_BTF, Linux 5.4 and later).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
