//! Owns: asking the kernel where functions lie, by a BPF program that runs when it is told to and is gone afterwards.
//! Must not know: which functions, what for.
//!
//! For all of `/proc/kallsyms` the kernel prints 120,000 lines and more, which took a quarter of what a start takes. A program of type SYSCALL
//! may ask for one name: bpf_kallsyms_lookup_name() (kernel/bpf/syscall.c, 5.16 to 7.3), a search in halves since 6.2
//! (kallsyms_lookup_name(), kernel/kallsyms.c). bpf_snprintf() (kernel/bpf/helpers.c, 5.13 to 7.3) says how long a function is: `%pS` prints
//! `name+0x0/0x20`, up to the next symbol (sprint_symbol(), kernel/kallsyms.c).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use twtrace_common::config::Text;

use crate::kernel::bpf;

/// Bytes of a name, the zero behind it included.
const NAME_LEN: usize = 32;
/// Bytes of what the kernel prints of an address, likewise.
const TEXT_LEN: usize = 128;

/// What the program is given, and gives back.
#[repr(C)]
struct Question {
    /// The function's name, zeros behind it.
    name: [u8; NAME_LEN],
    /// Bytes of the name, one zero included.
    name_len: u64,
    /// Where it is.
    address: u64,
    /// What `%pS` prints of that.
    text: [u8; TEXT_LEN],
}

/// Finds all of these functions. `None` where the kernel cannot be asked, or does not know one of them by just this name; the first of
/// namesakes, those of the kernel's core before those of modules.
pub(super) fn find<const N: usize>(names: [&str; N]) -> Option<[Text; N]> {
    let asked = LoadedProgram::load().ok()?;
    let mut found = [Text::default(); N];
    for (name, found) in names.iter().zip(&mut found) {
        *found = asked.find(name)?;
    }
    Some(found)
}

/// The program, loaded.
struct LoadedProgram(OwnedFd);

impl LoadedProgram {
    fn load() -> io::Result<Self> {
        const BPF_PROG_TYPE_SYSCALL: u32 = 31;
        const BPF_F_SLEEPABLE: u32 = 1 << 4;
        let format = format_map()?;
        bpf::load(BPF_PROG_TYPE_SYSCALL, &code(format.as_raw_fd()), BPF_F_SLEEPABLE).map(Self)
    }

    fn find(&self, name: &str) -> Option<Text> {
        let mut question = Question {
            name: [0; NAME_LEN],
            name_len: name.len() as u64 + 1,
            address: 0,
            text: [0; TEXT_LEN],
        };
        question.name[..NAME_LEN - 1].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        // The beginning of `union bpf_attr` for BPF_PROG_TEST_RUN, up to `ctx_out` (include/uapi/linux/bpf.h, 5.14 to 7.3).
        #[repr(C)]
        struct Run {
            program: u32,
            returned: u32,
            data: [u32; 2],
            data_at: [u64; 2],
            repeat: [u32; 2],
            context_in_len: u32,
            context_out_len: u32,
            context_in: u64,
            context_out: u64,
        }
        let mut run = Run {
            program: self.0.as_raw_fd().unsigned_abs(),
            returned: 0,
            data: [0; 2],
            data_at: [0; 2],
            repeat: [0; 2],
            context_in_len: size_of::<Question>() as u32,
            context_out_len: 0,
            // A program of this type has its context written back to where it came from (bpf_prog_test_run_syscall(), net/bpf/test_run.c).
            context_in: &raw mut question as u64,
            context_out: 0,
        };
        const BPF_PROG_TEST_RUN: libc::c_int = 10;
        // SAFETY: the context is as long as said, ours alone, and made of bytes and numbers that may have any value.
        unsafe { bpf::call(BPF_PROG_TEST_RUN, &mut run).ok()? };
        if run.returned != 0 {
            return None;
        }
        let len = function_len(&question.text)?;
        Some(Text { start: question.address, end: question.address.checked_add(len)? })
    }
}

/// Of `tcp_v6_rcv+0x0/0x13b0 [ipv6]`, with zeros behind it, how long the function is.
fn function_len(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()?;
    let (_, len) = text.split_once("+0x0/0x")?;
    let digits = len.split(' ').next()?;
    u64::from_str_radix(digits, 16).ok().filter(|len| *len != 0)
}

/// A map that cannot be written any more, with the format in it: bpf_snprintf() takes none from elsewhere.
fn format_map() -> io::Result<OwnedFd> {
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    const BPF_F_RDONLY_PROG: u32 = 1 << 7;
    const BPF_MAP_CREATE: libc::c_int = 0;
    const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
    const BPF_MAP_FREEZE: libc::c_int = 22;
    /// `map_type`, `key_size`, `value_size`, `max_entries`, `map_flags`.
    const CREATE: [u32; 5] = [BPF_MAP_TYPE_ARRAY, 4, FORMAT.len() as u32, 1, BPF_F_RDONLY_PROG];
    static FORMAT: [u8; 8] = *b"%pS\0\0\0\0\0";
    static KEY: u32 = 0;
    #[repr(C)]
    struct Element {
        map: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut create = CREATE;
    // SAFETY: nothing is pointed to.
    let map = unsafe { bpf::open(BPF_MAP_CREATE, &mut create)? };
    let mut number = map.as_raw_fd().unsigned_abs();
    let mut element =
        Element { map: number.into(), key: &raw const KEY as u64, value: FORMAT.as_ptr() as u64, flags: 0 };
    // SAFETY: key and value are as long as the map was made for, and live for good.
    unsafe { bpf::call(BPF_MAP_UPDATE_ELEM, &mut element)? };
    // SAFETY: nothing is pointed to.
    unsafe { bpf::call(BPF_MAP_FREEZE, &mut number)? };
    Ok(map)
}

/// The program, for a map with the format. It fails with what the kernel says to the name.
fn code(format: i32) -> Vec<u64> {
    const NAME: i16 = -(NAME_LEN as i16);
    const ADDRESS: i16 = NAME - 8;
    const TEXT: i16 = ADDRESS - TEXT_LEN as i16;
    const LOOKUP_NAME: i32 = 179;
    const SNPRINTF: i32 = 165;
    let mut code = vec![set(6, 1)];
    // Helpers take text from the stack: of the context they cannot tell how long it is (before 6.1).
    for at in (0..NAME_LEN as i16).step_by(8) {
        code.extend([load(2, 6, at), store(10, NAME + at, 2)]);
    }
    code.extend([load(2, 6, NAME_LEN as i16), set_to(0, 1)]);
    let check = code.len();
    code.extend([0, 0]);
    code.extend([set(1, 10), add(1, NAME.into()), set_to(3, 0)]);
    code.extend([set(4, 10), add(4, ADDRESS.into()), clear(ADDRESS), call(LOOKUP_NAME)]);
    let answered = code.len();
    code.push(0);
    code.extend([load(7, 10, ADDRESS), store(6, NAME_LEN as i16 + 8, 7)]);
    code.extend((TEXT..ADDRESS).step_by(8).map(clear));
    code.extend([set(1, 10), add(1, TEXT.into()), set_to(2, TEXT_LEN as i32)]);
    code.extend(map_value(3, format));
    code.extend([set(4, 10), add(4, ADDRESS.into()), set_to(5, 8), call(SNPRINTF)]);
    for at in (0..TEXT_LEN as i16).step_by(8) {
        code.extend([load(2, 10, TEXT + at), store(6, NAME_LEN as i16 + 16 + at, 2)]);
    }
    code.push(set_to(0, 0));
    let end = code.len();
    code.push(EXIT);
    code[check] = jump_if_equal(2, 0, end - check - 1);
    code[check + 1] = jump_if_above(2, NAME_LEN as i32, end - check - 2);
    code[answered] = jump_unless_equal(0, 0, end - answered - 1);
    code
}

/// Instructions, as `struct bpf_insn` has them on little-endian machines (include/uapi/linux/bpf.h, 5.10 to 7.3); `offset` and `value` are signed.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(to | from << 4) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

const EXIT: u64 = 0x95;

fn set(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

fn set_to(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

fn add(to: u8, value: i32) -> u64 {
    instruction(0x07, to, 0, 0, value)
}

fn load(to: u8, from: u8, at: i16) -> u64 {
    instruction(0x79, to, from, at, 0)
}

fn store(to: u8, at: i16, from: u8) -> u64 {
    instruction(0x7b, to, from, at, 0)
}

/// Eight bytes of the stack.
fn clear(at: i16) -> u64 {
    instruction(0x7a, 10, 0, at, 0)
}

fn call(helper: i32) -> u64 {
    instruction(0x85, 0, 0, 0, helper)
}

fn jump_if_equal(of: u8, value: i32, over: usize) -> u64 {
    instruction(0x15, of, 0, over as i16, value)
}

fn jump_unless_equal(of: u8, value: i32, over: usize) -> u64 {
    instruction(0x55, of, 0, over as i16, value)
}

/// Unsigned.
fn jump_if_above(of: u8, value: i32, over: usize) -> u64 {
    instruction(0x25, of, 0, over as i16, value)
}

/// The address of the first value of a map (`BPF_PSEUDO_MAP_VALUE`).
fn map_value(to: u8, map: i32) -> [u64; 2] {
    [instruction(0x18, to, 2, 0, map), 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_prints_says_how_long_a_function_is() {
        let len = |text: &str| function_len(&[text.as_bytes(), &[0; 3]].concat());
        assert_eq!(len("tw_timer_handler+0x0/0x20"), Some(0x20));
        assert_eq!(len("tcp_v6_rcv+0x0/0x13b0 [ipv6]"), Some(0x13b0));
        assert_eq!(len("tcp_v6_rcv+0x0/0x13b0 [ipv6 0123abcd]"), Some(0x13b0));
        // An address inside of a function, one that is none, and what is cut off.
        for other in
            ["tcp_abort+0x10/0x1e0", "0xffffffff82005d70", "tcp_abort+0x0/0x", "tcp_abort+0x0/0x0", ""]
        {
            assert_eq!(len(other), None, "{other}");
        }
    }

    #[test]
    fn names_that_are_too_long_are_not_asked_for() {
        let Ok(asked) = LoadedProgram::load() else { return };
        // Where addresses are hidden there is no answer to anything.
        let Some(_) = asked.find("tcp_v4_rcv") else { return };
        for name in ["", &"x".repeat(NAME_LEN - 1), &"x".repeat(NAME_LEN), &"x".repeat(NAME_LEN * 3)] {
            assert_eq!(asked.find(name), None, "{name}");
        }
    }
}
