//! Owns: the proof that offsets are resolved rightly, against the BTF of real kernels cut down by `examples/btf_cut.rs` (x86-64,
//! Debian's cloud kernels and a 6.18.44), and that no bytes make the parser panic. The numbers are bpftool's, of the whole BTF.
//! Must not know: how the parser works inside.

use twtrace::kernel::btf::{self, Btf, BtfError, Kind, MemberError, ResolveError, VMLINUX, resolve};
use twtrace_common::config::{MISSING, Offsets};

const KERNELS: [(&str, &[u8]); 5] = [
    ("5.10", include_bytes!("data/btf/5.10.btf")),
    ("6.1", include_bytes!("data/btf/6.1.btf")),
    ("6.12", include_bytes!("data/btf/6.12.btf")),
    ("6.18", include_bytes!("data/btf/6.18.btf")),
    ("7.3", include_bytes!("data/btf/7.3.btf")),
];
const HEADER_LEN: usize = 24;

/// One line a field: its offset in each of [`KERNELS`]. A struct literal, so that a new field must be added here.
macro_rules! expected {
    ($($field:ident: $o510:literal $o61:literal $o612:literal $o618:literal $o73:literal),+ $(,)?) => {
        fn expected(kernel: usize) -> Offsets {
            Offsets { $($field: [$o510, $o61, $o612, $o618, $o73][kernel]),+ }
        }
    };
}

expected! {
    skc_daddr: 0 0 0 0 0,
    skc_rcv_saddr: 4 4 4 4 4,
    skc_dport: 12 12 12 12 12,
    skc_num: 14 14 14 14 14,
    skc_state: 18 18 18 18 18,
    skc_family: 16 16 16 16 16,
    skc_bound_dev_if: 20 20 20 20 20,
    skc_prot: 40 40 40 40 40,
    skc_net: 48 48 48 48 48,
    skc_v6_daddr: 56 56 56 56 56,
    skc_v6_rcv_saddr: 72 72 72 72 72,
    skc_cookie: 88 88 88 88 88,
    skc_flags: 96 96 96 96 96,
    skc_nulls_pprev: 112 112 112 112 112,
    skc_refcnt: 128 128 128 128 128,
    sk_shutdown: 626 610 571 575 591,
    sk_err: 568 544 284 284 284,
    sk_lingertime: 544 520 576 576 592,
    sk_txhash: 532 508 564 564 580,
    sk_protocol: 540 516 574 532 540,
    sk_lock_owned: 140 156 324 324 320,
    sk_socket: 640 624 288 288 288,
    skc_reuse_bit: 152 152 152 152 152,
    sk_userlocks_bit: 4292 4100 1944 1944 1944,
    icsk_bind_hash: 1056 1072 1080 1088 1120,
    bind_fastreuse: 14 14 14 14 14,
    inet_sport: 784 804 806 814 830,
    local_port_range: 4294967295 984 840 848 864,
    bytes_sent: 1448 1488 1608 1544 1616,
    bytes_retrans: 2096 2136 2208 2192 2296,
    bytes_received: 1408 1448 1784 1752 1864,
    write_seq: 1812 1852 1636 1576 1668,
    linger2: 2120 2160 2244 2228 2332,
    tw_substate: 140 140 140 140 140,
    tw_sport: 142 142 142 142 142,
    tw_timer: 160 160 160 160 160,
    timer_function: 24 24 24 24 24,
    timer_expires: 16 16 16 16 16,
    net_inum: 144 144 136 176 280,
    net_death_row: 1152 704 832 896 1152,
    dr_count: 0 0 0 0 0,
    dr_max: 72 72 72 72 72,
    socket_file: 16 16 16 16 16,
    file_count: 56 56 0 176 168,
    task_flags: 36 44 44 44 44,
    task_group_leader: 2296 2480 2496 1328 2936,
    task_comm: 2736 2976 2976 1752 3408,
    task_start_boottime: 2544 2784 2784 1560 3224,
    task_cred: 2720 2960 2960 1736 3392,
    cred_uid: 8 8 8 8 8,
    task_files: 2808 3048 3048 1824 3488,
    files_fdt: 32 32 32 32 32,
    fdt_fd: 8 8 8 8 8,
    file_private_data: 200 200 32 24 24,
    socket_sk: 24 24 24 24 24,
    proto_name: 368 408 408 392 392,
}

fn resolved(bytes: &[u8]) -> Result<btf::Resolved, ResolveError> {
    resolve(&Btf::parse(bytes.to_vec()).expect("test data is BTF"))
}

#[test]
fn every_offset_of_every_kernel() {
    for (at, (version, bytes)) in KERNELS.iter().enumerate() {
        let resolved = resolved(bytes).unwrap_or_else(|error| panic!("{version}: {error}"));
        assert_eq!(resolved.offsets, expected(at), "{version}");
        assert_eq!(resolved.missing_optional.len(), usize::from(at == 0), "{version}: local_port_range");
    }
}

#[test]
fn what_changed_from_kernel_to_kernel() {
    let expected = [
        (4, 0, false, None, "inet_twsk_hashdance"),
        (4, 1, false, Some(4032), "inet_twsk_hashdance"),
        (2, 1, false, Some(4224), "inet_twsk_hashdance_schedule"),
        (2, 1, true, Some(4160), "inet_twsk_hashdance_schedule"),
        (2, 1, true, Some(4672), "inet_twsk_hashdance_schedule"),
    ];
    for ((version, bytes), (accept_args, bias, file_ref, cookie, hashdance)) in KERNELS.iter().zip(expected) {
        let resolved = resolved(bytes).expect(version);
        assert_eq!(resolved.accept_args, accept_args, "{version}");
        assert_eq!(resolved.tw_count_bias, bias, "{version}");
        assert_eq!((resolved.file_ref_signed, resolved.net_cookie), (file_ref, cookie), "{version}");
        assert_eq!(resolved.timewait_hashdance, Some(hashdance), "{version}");
        assert!(!resolved.death_row_is_pointer, "{version}");
    }
}

#[test]
fn the_running_kernel_resolves() {
    if !std::path::Path::new(VMLINUX).exists() {
        return;
    }
    let btf = Btf::running().expect(VMLINUX);
    assert!(btf.len() > 10_000, "{btf:?}");
    resolve(&btf).expect("a supported kernel");
    assert!(btf.has_func("tcp_time_wait") && !btf.has_func("no_kernel_has_this"));
}

/// Takes each last name of a path away: a required field must be in the error, an optional one in the list. (`counter` is of any atomic.)
#[test]
fn a_missing_field_is_named() {
    let names = btf::paths()
        .filter(|path| path.contains('.'))
        .filter_map(|path| path.split('.').rfind(|name| *name != "counter"));
    let (mut required, (_, bytes)) = (0, KERNELS[3]);
    for name in names {
        let Some(renamed) = rename(bytes, name) else {
            // The older of a field's two names.
            assert!(["tw_count", "f_count"].contains(&name), "{name} is not in the test data");
            continue;
        };
        let has_name = |path: &str| path.split('.').any(|part| part == name);
        match resolved(&renamed) {
            Ok(found) => assert!(found.missing_optional.iter().any(|it| has_name(it)), "{name}: {found:?}"),
            Err(error @ ResolveError::Field { field, .. }) => {
                required += 1;
                assert!(has_name(field) && error.to_string().contains(field), "{name}: {error}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(required, 39, "a field has become optional, or the other way round");
}

#[test]
fn missing_optional_fields_cost_only_themselves() {
    let (_, bytes) = KERNELS[4];
    let resolved = resolved(&rename(bytes, "tcp_death_row").expect("there")).expect("optional");
    assert_eq!(resolved.missing_optional, ["net.ipv4.tcp_death_row"]);
    assert_eq!(resolved.offsets, Offsets { net_death_row: MISSING, ..expected(4) });
}

#[test]
fn a_missing_struct_and_a_missing_function() {
    let (_, bytes) = KERNELS[2];
    let error = resolved(&rename(bytes, "inet_timewait_sock").expect("there")).expect_err("required");
    assert!(error.to_string().contains("inet_timewait_sock.tw_substate"), "{error}");
    let none = resolved(&rename(bytes, "inet_twsk_hashdance_schedule").expect("there")).expect("optional");
    assert_eq!(none.timewait_hashdance, None);
}

/// Then the presence of `struct proto_accept_arg` tells.
#[test]
fn accept_without_a_prototype() {
    for ((version, bytes), args) in KERNELS.iter().zip([4, 4, 2, 2, 2]) {
        let accept = resolved(&rename(bytes, "inet_csk_accept").expect(version)).expect("optional");
        assert_eq!(accept.accept_args, args, "{version}");
    }
}

/// Linux 5.18 to 6.0 have `struct inet_timewait_death_row *tcp_death_row`.
#[test]
fn a_death_row_behind_a_pointer() {
    let (_, bytes) = KERNELS[1];
    let patched = retype(bytes, "tcp_death_row", id_of(bytes, |kind, _| kind == Kind::Ptr));
    let resolved = resolved(&patched).expect("fine");
    assert!(resolved.death_row_is_pointer);
    assert_eq!(resolved.offsets, expected(1));
}

#[test]
fn a_field_of_another_width_is_refused() {
    let (_, bytes) = KERNELS[0];
    let byte = id_of(bytes, |kind, name| kind == Kind::Int && name == b"unsigned char");
    let error = resolved(&retype(bytes, "sk_err", byte)).expect_err("narrower");
    assert_eq!(error, ResolveError::Width { field: "sock.sk_err", found: 1, wanted: 4 });
    let error = resolved(&retype(bytes, "comm", byte)).expect_err("narrower");
    assert_eq!(error, ResolveError::Width { field: "task_struct.comm", found: 1, wanted: 16 });
}

#[test]
fn bitfields_need_a_whole_byte() {
    let btf = Btf::parse(KERNELS[3].1.to_vec()).expect("test data");
    let tos = btf.member("inet_timewait_sock.tw_tos").expect("starts at a byte");
    assert_eq!((tos.offset, tos.bits, tos.size), (147, 8, 4));
    let transparent = btf.member("inet_timewait_sock.tw_transparent").expect("starts at a byte");
    assert_eq!((transparent.offset, transparent.bits), (144, 1));
    let path = String::from("inet_timewait_sock.tw_flowlabel");
    assert_eq!(btf.member(&path), Err(MemberError::Unaligned { path, bit_offset: 1153 }));
    // Eight bits of offset's word are the width, all others the offset.
    let far = Btf::parse(patch(KERNELS[3].1, "tw_tos", 8, (8 << 24) | 0x00ab_cde8)).expect("still BTF");
    let tos = far.member("inet_timewait_sock.tw_tos").expect("starts at a byte");
    assert_eq!((tos.offset, tos.bits), (0x00ab_cde8 / 8, 8));
}

/// A required field that has become a bitfield serves if it fills a byte as before.
#[test]
fn a_bitfield_is_as_wide_as_its_bits() {
    let (_, bytes) = KERNELS[3];
    let int = id_of(bytes, |kind, name| kind == Kind::Int && name == b"unsigned int");
    let bytes = retype(bytes, "tw_substate", int);
    let whole = resolved(&patch(&bytes, "tw_substate", 8, (8 << 24) | (140 * 8))).expect("a whole byte");
    assert_eq!(whole.offsets, expected(3));
    let part = resolved(&patch(&bytes, "tw_substate", 8, (7 << 24) | (140 * 8))).expect_err("seven bits");
    assert_eq!(part, ResolveError::Width { field: "inet_timewait_sock.tw_substate", found: 0, wanted: 1 });
}

#[test]
fn paths_go_through_members_and_anonymous_ones_but_not_through_pointers() {
    let btf = Btf::parse(KERNELS[3].1.to_vec()).expect("test data");
    let offset = |path| btf.member(path).map(|member| member.offset);
    assert_eq!(offset("sock.__sk_common.skc_daddr"), Ok(0));
    assert_eq!(offset("inet_timewait_sock.__tw_common.skc_nulls_node.pprev"), Ok(112));
    assert_eq!(offset("sock.skc_daddr"), Err(MemberError::NoMember("sock.skc_daddr".into())));
    let pointer = "sock.sk_socket.file";
    assert_eq!(offset(pointer), Err(MemberError::NoMember(pointer.into())));
    assert_eq!(offset("no_such.member"), Err(MemberError::NoStruct("no_such".into())));
    for empty in ["", ".", "sock_common.", "sock_common..net"] {
        assert_eq!(offset(empty), Err(MemberError::NoMember(empty.into())));
    }
    assert_eq!(btf.func_params("inet_csk_accept"), Some(2));
    assert_eq!(btf.func_params("inet_csk_accep"), None);
}

/// Two structs of one name: what only one has is found, what both have at different places is refused.
#[test]
fn namesakes() {
    let (_, bytes) = KERNELS[3];
    let mut patched = bytes.to_vec();
    let at = word_positions(bytes, name_offset(bytes, "timer_list").expect("there"))
        .find(|at| word(bytes, at + 4) >> 24 == Kind::Struct as u32)
        .expect("struct timer_list");
    let task = name_offset(bytes, "task_struct").expect("there");
    patched[at..at + 4].copy_from_slice(&task.to_le_bytes());
    let btf = Btf::parse(patched).expect("still BTF");
    assert_eq!(btf.member("task_struct.expires").map(|member| member.offset), Ok(16));
    let ambiguous = btf.member("task_struct.flags").expect_err("44 or 32");
    assert!(matches!(ambiguous, MemberError::Ambiguous { .. }), "{ambiguous}");
    assert!(matches!(resolve(&btf), Err(ResolveError::Field { field: "timer_list.function", .. })));
}

#[test]
fn other_files_are_told_apart() {
    let (_, bytes) = KERNELS[0];
    let edit = |at: usize, byte: u8| {
        let mut edited = bytes.to_vec();
        edited[at] = byte;
        Btf::parse(edited).expect_err("damaged")
    };
    assert!(matches!(Btf::parse(vec![0x9f, 0xeb]), Err(BtfError::Short(2))));
    let mut swapped = bytes.to_vec();
    swapped.swap(0, 1);
    assert!(matches!(Btf::parse(swapped), Err(BtfError::BigEndian)));
    assert!(matches!(Btf::parse(b"\x7fELF and so on, for a while".to_vec()), Err(BtfError::Magic(0x457f))));
    assert!(matches!(edit(2, 2), BtfError::Version(2)));
    assert!(matches!(edit(bytes.len() - 1, b'x'), BtfError::Strings));
    assert!(matches!(edit(HEADER_LEN + 7, 20), BtfError::Kind { id: 1, kind: 20 }));
    assert!(matches!(edit(HEADER_LEN + 7, 0), BtfError::Kind { id: 1, kind: 0 }));
    let types = Btf::parse(bytes.to_vec()).expect("test data").len();
    assert!(matches!(edit(12, bytes[12] - 4), BtfError::Type(id) if id == types));
    let missing = Btf::load("/nonexistent/btf".as_ref()).expect_err("no such file").to_string();
    assert!(missing.contains("/nonexistent/btf") && missing.contains("CONFIG_DEBUG_INFO_BTF"), "{missing}");
}

#[test]
fn cut_off_btf_is_an_error() {
    let (_, bytes) = KERNELS[4];
    for len in (0..64).chain((64..bytes.len()).step_by(61)).chain(bytes.len() - 64..bytes.len()) {
        assert!(Btf::parse(bytes[..len].to_vec()).is_err(), "{len} bytes");
    }
}

/// Bits flipped and words replaced all over; most results parse, and then every question must come back.
#[test]
fn damaged_btf_never_panics() {
    let (_, bytes) = KERNELS[0];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut usable = 0;
    for _ in 0..1009 {
        let mut damaged = bytes.to_vec();
        for _ in 0..=random.below(23) {
            let at = random.below(damaged.len() - 4);
            match random.below(3) {
                0 => damaged[at] ^= 1 << random.below(8),
                1 => damaged[at] = random.below(256) as u8,
                // A type id or a vlen that is plausible: cycles, wrong kinds.
                _ => damaged[at & !3..][..4].copy_from_slice(&(random.below(400) as u32).to_le_bytes()),
            }
        }
        if let Ok(btf) = Btf::parse(damaged) {
            usable += 1;
            let _ = resolve(&btf);
        }
    }
    assert!(usable > 100, "only {usable} got past the parser");
}

/// Every anonymous member of `sock_common` is made to be a `sock_common` again, and a typedef to be itself.
#[test]
fn cycles_come_to_an_end() {
    let (_, bytes) = KERNELS[3];
    let common = id_of(bytes, |kind, name| kind == Kind::Struct && name == b"sock_common");
    let btf = Btf::parse(bytes.to_vec()).expect("test data");
    let ty = btf.get(common).expect("there");
    let start = ty.tail.as_ptr().addr() - btf.get(1).expect("first").tail.as_ptr().addr() + HEADER_LEN + 12;
    let mut patched = bytes.to_vec();
    let mut cycles = 0;
    for at in (start..start + ty.tail.len()).step_by(12) {
        if word(bytes, at) == 0 {
            patched[at + 4..at + 8].copy_from_slice(&common.to_le_bytes());
            cycles += 1;
        }
    }
    assert!(cycles > 3, "{cycles} anonymous members");
    let looped = Btf::parse(patched).expect("still BTF");
    assert!(matches!(looped.member("sock_common.nowhere"), Err(MemberError::NoMember(_))));
    assert_eq!(looped.member("sock_common.skc_prot").map(|member| member.offset), Ok(40));

    let typedef = id_of(bytes, |kind, name| kind == Kind::Typedef && name == b"possible_net_t");
    let error = resolved(&patch(bytes, "possible_net_t", 8, typedef)).expect_err("no such net");
    assert!(matches!(error, ResolveError::Field { field: "sock_common.skc_net.net", .. }), "{error}");
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Where in the string section a whole name is.
fn name_offset(bytes: &[u8], name: &str) -> Option<u32> {
    let strings = HEADER_LEN + word(bytes, 16) as usize;
    let pattern = [b"\0", name.as_bytes(), b"\0"].concat();
    let at = bytes[strings..].windows(pattern.len()).position(|window| window == pattern)?;
    Some(at as u32 + 1)
}

/// Takes a name away everywhere.
fn rename(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let at = HEADER_LEN + word(bytes, 16) as usize + name_offset(bytes, name)? as usize;
    let mut renamed = bytes.to_vec();
    renamed[at] = b'?';
    Some(renamed)
}

/// Where in the type section a word has this value.
fn word_positions(bytes: &[u8], value: u32) -> impl Iterator<Item = usize> {
    let end = HEADER_LEN + word(bytes, 12) as usize;
    (HEADER_LEN..end).step_by(4).filter(move |&at| word(bytes, at) == value)
}

/// Gives the first member of a name another type.
fn retype(bytes: &[u8], member: &str, type_id: u32) -> Vec<u8> {
    patch(bytes, member, 4, type_id)
}

/// Overwrites a word of the first member of a name (at 4 its type, at 8 its offset) or type (at 8 what it refers to).
fn patch(bytes: &[u8], name: &str, field: usize, value: u32) -> Vec<u8> {
    let name = name_offset(bytes, name).expect("the name is there");
    let at = field + word_positions(bytes, name).next().expect("the name is used");
    let mut patched = bytes.to_vec();
    patched[at..][..4].copy_from_slice(&value.to_le_bytes());
    patched
}

fn id_of(bytes: &[u8], wanted: impl Fn(Kind, &[u8]) -> bool) -> u32 {
    let btf = Btf::parse(bytes.to_vec()).expect("test data is BTF");
    (1..=btf.len())
        .find(|&id| btf.get(id).is_some_and(|ty| wanted(ty.kind, ty.name)))
        .expect("the type is there")
}

/// xorshift64: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
