//! Owns: the list of kernel fields and functions that twtrace needs, and what it means that one is missing.
//! Must not know: the encoding of BTF, what the kernel side does with an offset.

use twtrace_common::config::{Config, Offsets};

use super::{Btf, Kind, Member, MemberError};

/// Functions whose prototype or presence is asked for.
pub const FUNCTIONS: [&str; 3] = [ACCEPT, HASHDANCE_SCHEDULE, HASHDANCE];

const ACCEPT: &str = "inet_csk_accept";
/// The hashdance of 6.11 and later, which arms the timer itself (net/ipv4/inet_timewait_sock.c, 6.12 and 7.3).
pub const HASHDANCE_SCHEDULE: &str = "inet_twsk_hashdance_schedule";
const HASHDANCE: &str = "inet_twsk_hashdance";
/// Born in the commit that took inet_csk_accept() (net/ipv4/inet_connection_sock.c, 5.10 to 7.3) from 4 parameters to 2
/// (kernel commit 92ef0fd55ac8, 6.10).
const ACCEPT_ARG: &str = "proto_accept_arg";

/// As SO_NETNS_COOKIE tells it; an atomic before 5.12 (include/net/net_namespace.h, 5.10 and 6.1).
const NET_COOKIE: &str = "net.net_cookie";

const TW_REFCOUNT: &str = "inet_timewait_death_row.tw_refcount.refs.counter";
const TW_COUNT: &str = "inet_timewait_death_row.tw_count.counter";
const F_REF: &str = "file.f_ref.refcnt.counter";
const F_COUNT: &str = "file.f_count.counter";

/// What the kernel side will read there. A field that has become narrower or wider would be read wrongly in silence.
#[derive(Clone, Copy, Debug)]
enum Width {
    /// So many bytes.
    Exactly(u32),
    /// An array of which the first so many bytes are read.
    AtLeast(u32),
    /// Only its place counts.
    Any,
    /// A bitfield of so many bits; its place is counted in bits.
    Bits(u32),
}

struct Field {
    /// The member, or its names through time, newest first.
    paths: &'static [&'static str],
    width: Width,
    required: bool,
    slot: fn(&mut Offsets) -> &mut u32,
}

macro_rules! fields {
    ($($need:ident $slot:ident: $width:expr, $($path:expr),+;)+) => {
        &[$(Field {
            paths: &[$($path),+],
            width: $width,
            required: fields!(@$need),
            slot: |offsets| &mut offsets.$slot,
        }),+]
    };
    (@required) => { true };
    (@optional) => { false };
}

use Width::{Any, AtLeast, Bits, Exactly};

#[rustfmt::skip]
const FIELDS: &[Field] = fields! {
    required skc_daddr: Exactly(4), "sock_common.skc_daddr";
    required skc_rcv_saddr: Exactly(4), "sock_common.skc_rcv_saddr";
    required skc_dport: Exactly(2), "sock_common.skc_dport";
    required skc_num: Exactly(2), "sock_common.skc_num";
    required skc_state: Exactly(1), "sock_common.skc_state";
    required skc_family: Exactly(2), "sock_common.skc_family";
    required skc_bound_dev_if: Exactly(4), "sock_common.skc_bound_dev_if";
    required skc_prot: Exactly(8), "sock_common.skc_prot";
    required skc_net: Exactly(8), "sock_common.skc_net.net";
    required skc_v6_daddr: Exactly(16), "sock_common.skc_v6_daddr";
    required skc_v6_rcv_saddr: Exactly(16), "sock_common.skc_v6_rcv_saddr";
    required skc_cookie: Exactly(8), "sock_common.skc_cookie.counter";
    required skc_flags: Exactly(8), "sock_common.skc_flags";
    required skc_nulls_pprev: Exactly(8), "sock_common.skc_nulls_node.pprev";
    required skc_refcnt: Exactly(4), "sock_common.skc_refcnt.refs.counter";
    required sk_shutdown: Exactly(1), "sock.sk_shutdown";
    required sk_err: Exactly(4), "sock.sk_err";
    required sk_lingertime: Exactly(8), "sock.sk_lingertime";
    required sk_txhash: Exactly(4), "sock.sk_txhash";
    required sk_protocol: Exactly(2), "sock.sk_protocol";
    required sk_lock_owned: Exactly(4), "sock.sk_lock.owned";
    required sk_socket: Exactly(8), "sock.sk_socket";
    optional skc_reuse_bit: Bits(4), "sock_common.skc_reuse";
    optional sk_userlocks_bit: Bits(4), "sock.sk_userlocks";
    optional icsk_bind_hash: Exactly(8), "inet_connection_sock.icsk_bind_hash";
    optional bind_fastreuse: Exactly(1), "inet_bind_bucket.fastreuse";
    required inet_sport: Exactly(2), "inet_sock.inet_sport";
    optional local_port_range: Exactly(4), "inet_sock.local_port_range";
    optional bytes_sent: Exactly(8), "tcp_sock.bytes_sent";
    optional bytes_retrans: Exactly(8), "tcp_sock.bytes_retrans";
    optional bytes_received: Exactly(8), "tcp_sock.bytes_received";
    required write_seq: Exactly(4), "tcp_sock.write_seq";
    required linger2: Exactly(4), "tcp_sock.linger2";
    required tw_substate: Exactly(1), "inet_timewait_sock.tw_substate";
    required tw_sport: Exactly(2), "inet_timewait_sock.tw_sport";
    required tw_timer: Any, "inet_timewait_sock.tw_timer";
    required timer_function: Exactly(8), "timer_list.function";
    required timer_expires: Exactly(8), "timer_list.expires";
    required net_inum: Exactly(4), "net.ns.inum";
    optional net_death_row: Any, "net.ipv4.tcp_death_row";
    optional dr_count: Exactly(4), TW_REFCOUNT, TW_COUNT;
    optional dr_max: Exactly(4), "inet_timewait_death_row.sysctl_max_tw_buckets";
    required socket_file: Exactly(8), "socket.file";
    required file_count: Exactly(8), F_REF, F_COUNT;
    required task_flags: Exactly(4), "task_struct.flags";
    required task_group_leader: Exactly(8), "task_struct.group_leader";
    required task_comm: AtLeast(16), "task_struct.comm";
    required task_start_boottime: Exactly(8), "task_struct.start_boottime";
    optional task_cred: Exactly(8), "task_struct.cred";
    optional cred_uid: Exactly(4), "cred.uid.val";
    optional task_files: Exactly(8), "task_struct.files";
    optional files_fdt: Exactly(8), "files_struct.fdt";
    optional fdt_fd: Exactly(8), "fdtable.fd";
    optional file_private_data: Exactly(8), "file.private_data";
    optional socket_sk: Exactly(8), "socket.sk";
    required proto_name: AtLeast(32), "proto.name";
};

/// Every struct and dotted path that is looked up, for a tool that cuts BTF down to what twtrace needs.
pub fn paths() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().flat_map(|field| field.paths).copied().chain([ACCEPT_ARG])
}

/// What the running kernel looks like, in the words of [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Byte offsets; [`MISSING`](twtrace_common::config::MISSING) for optional fields that this kernel does not have.
    pub offsets: Offsets,
    /// See [`Config::accept_args`].
    pub accept_args: u32,
    /// See [`Config::tw_count_bias`].
    pub tw_count_bias: u32,
    /// See [`Config::death_row_is_pointer`].
    pub death_row_is_pointer: bool,
    /// See [`Config::file_ref_signed`].
    pub file_ref_signed: bool,
    /// Where a network namespace has its cookie, which no other one has, in `struct net` (u64); `None` where it has none.
    pub net_cookie: Option<u32>,
    /// The function that ties a full socket to its TIME_WAIT socket; `None` where it was inlined.
    pub timewait_hashdance: Option<&'static str>,
    /// The optional fields that are missing, by dotted path (the newest name).
    pub missing_optional: Vec<&'static str>,
}

impl Resolved {
    /// Writes the answers into a configuration; what BTF does not know stays as it is.
    pub fn fill(&self, config: &mut Config) {
        config.offsets = self.offsets;
        config.accept_args = self.accept_args;
        config.tw_count_bias = self.tw_count_bias;
        config.death_row_is_pointer = self.death_row_is_pointer.into();
        config.file_ref_signed = self.file_ref_signed.into();
    }
}

/// Why a kernel cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A field that twtrace cannot do without has no offset.
    #[error(
        "the kernel field {field} cannot be found ({why}); twtrace supports Linux 5.8 and later built with CONFIG_NET_NS and CONFIG_IPV6, and a kernel this new may need a newer twtrace"
    )]
    Field {
        /// Its dotted path.
        field: &'static str,
        /// What the look-up said.
        why: MemberError,
    },
    /// A field has another size than the kernel side would read.
    #[error("the kernel field {field} has {found} bytes, twtrace reads {wanted}; a newer twtrace is needed")]
    Width {
        /// Its dotted path.
        field: &'static str,
        /// Bytes it has in this kernel (0: a bitfield).
        found: u32,
        /// Bytes that are read.
        wanted: u32,
    },
    /// A function has a prototype that nobody has seen yet.
    #[error(
        "the kernel function {function} takes {params} parameters, twtrace knows {known}; a newer twtrace is needed"
    )]
    Prototype {
        /// The function.
        function: &'static str,
        /// Parameters it has in this kernel.
        params: u32,
        /// The numbers that are understood.
        known: &'static str,
    },
}

/// Looks up all that the kernel side needs.
///
/// # Errors
/// The first required field that is missing or of another size; see [`ResolveError`].
pub fn resolve(btf: &Btf) -> Result<Resolved, ResolveError> {
    let mut offsets: Offsets =
        twtrace_common::from_bytes(&[0xff; size_of::<Offsets>()]).expect("the array has that size");
    let mut roots = Roots { btf, known: Vec::new() };
    let mut missing_optional = Vec::new();
    for field in FIELDS {
        match roots.locate(field) {
            Ok(member) => *(field.slot)(&mut offsets) = member.offset,
            Err(error) if field.required => return Err(error),
            Err(_) => missing_optional.push(field.paths[0]),
        }
    }
    let death_row = roots.member("net.ipv4.tcp_death_row");
    let cookie =
        roots.member(NET_COOKIE).ok().filter(|member| member.size == 8 && member.kind == Some(Kind::Int));
    Ok(Resolved {
        offsets,
        accept_args: accept_args(btf)?,
        tw_count_bias: roots.member(TW_REFCOUNT).is_ok().into(),
        death_row_is_pointer: death_row.is_ok_and(|member| member.kind == Some(Kind::Ptr)),
        file_ref_signed: roots.member(F_REF).is_ok(),
        net_cookie: cookie.map(|member| member.offset),
        timewait_hashdance: [HASHDANCE_SCHEDULE, HASHDANCE].into_iter().find(|name| btf.has_func(name)),
        missing_optional,
    })
}

fn accept_args(btf: &Btf) -> Result<u32, ResolveError> {
    match btf.func_params(ACCEPT) {
        Some(params @ (2 | 4)) => Ok(params),
        Some(params) => Err(ResolveError::Prototype { function: ACCEPT, params, known: "2 and 4" }),
        // Without the function in BTF only its kprobe is left, which reads registers: the era decides.
        None => Ok(if btf.member(ACCEPT_ARG).is_ok() { 2 } else { 4 }),
    }
}

/// Remembers which ids the structs at the heads of paths have: finding one means a walk over all structs.
struct Roots<'a> {
    btf: &'a Btf,
    known: Vec<(&'static str, Vec<u32>)>,
}

impl Roots<'_> {
    /// Under the newest of the field's names that this kernel has.
    fn locate(&mut self, field: &Field) -> Result<Member, ResolveError> {
        let mut missing = None;
        for &path in field.paths {
            match (self.member(path), field.width) {
                (Err(MemberError::Unaligned { bit_offset, .. }), Width::Bits(_)) => {
                    return Ok(Member { offset: bit_offset, size: 0, bits: 0, kind: None });
                }
                (Ok(member), Width::Bits(wanted)) => {
                    let member = check_bits(path, wanted, member)?;
                    return Ok(Member { offset: member.offset * 8, ..member });
                }
                (Ok(member), width) => return check_width(path, width, member),
                (Err(why), _) => missing = Some(ResolveError::Field { field: field.paths[0], why }),
            }
        }
        Err(missing.expect("the table gives every field a path"))
    }

    fn member(&mut self, path: &'static str) -> Result<Member, MemberError> {
        let root = path.split('.').next().unwrap_or_default();
        let at = self.known.iter().position(|(name, _)| *name == root).unwrap_or_else(|| {
            self.known.push((root, self.btf.structs_named(root)));
            self.known.len() - 1
        });
        self.btf.member_of(&self.known[at].1, path)
    }
}

/// A bitfield that starts at a whole byte, or what was made a number of its own.
fn check_bits(field: &'static str, wanted: u32, member: Member) -> Result<Member, ResolveError> {
    let found = if member.bits == 0 { member.size * 8 } else { member.bits };
    let wrong = ResolveError::Width { field, found: found / 8, wanted: 1 };
    if found >= wanted { Ok(member) } else { Err(wrong) }
}

fn check_width(field: &'static str, width: Width, member: Member) -> Result<Member, ResolveError> {
    let found = match member.bits {
        0 => member.size,
        bits if bits % 8 == 0 => bits / 8,
        _ => 0,
    };
    let (fits, wanted) = match width {
        Width::Exactly(wanted) => (found == wanted, wanted),
        Width::AtLeast(wanted) => (found >= wanted, wanted),
        Width::Any | Width::Bits(_) => (true, 0),
    };
    if fits { Ok(member) } else { Err(ResolveError::Width { field, found, wanted }) }
}
