//! BPF programs that only return, wherever a process has some of its own: what it costs to call any program there.
//!
//! Owns: telling where programs are attached, and attaching there. Must not know: whose programs they are, and what they do.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};

use super::{Held, Info, call, descriptors, info, info_of};

/// Commands of bpf(2) (include/uapi/linux/bpf.h, 6.12).
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
const RAW_TRACEPOINT: u32 = 17;
/// `BPF_PROG_TYPE_TRACING`.
const TRACING: u32 = 26;

/// A program that a process has attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program's id.
    pub program: u32,
    /// The program's name.
    pub name: String,
    /// Where it is attached.
    pub attach_point: AttachPoint,
}

/// Where a program is attached, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// A tracepoint with types, by name.
    Tracepoint(String),
    /// A function's entry or exit: `expected_attach_type` and the function's id in BTF.
    Function(u32, u32),
    /// In a way for which there is no program that only returns: what it is, as far as the kernel says.
    Other(String),
}

/// Where a process has programs attached. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// Where there is no such process, or the kernel does not say what its programs are.
pub fn hooks(pid: u32) -> Result<Vec<Hook>> {
    let links = descriptors(pid)?;
    let attached = links.iter().filter_map(attached);
    attached
        .map(|(program, attach_point)| Ok(Hook { program, name: info(program)?.name, attach_point }))
        .collect()
}

/// The program of a link, and where it is attached.
fn attached(link: &Held) -> Option<(u32, AttachPoint)> {
    let number = |name: &str| link.field(name)?.parse().ok();
    let named = ["tp_name", "name", "func"].into_iter().find_map(|name| link.field(name));
    let name = || named.unwrap_or_default().to_owned();
    let attach_point = match (link.field("link_type")?, number("attach_type"), number("target_btf_id")) {
        ("raw_tracepoint", ..) => AttachPoint::Tracepoint(name()),
        ("tracing", Some(kind), Some(function)) => AttachPoint::Function(kind, function),
        _ => AttachPoint::Other(name()),
    };
    Some((number("prog_id")?, attach_point))
}

/// A program that only returns, in place. It goes when this is dropped.
#[derive(Debug)]
pub struct Returning {
    /// The tracepoint where it is, or the name of the program whose function it shares.
    pub target: String,
    program: OwnedFd,
    _link: OwnedFd,
}

impl Returning {
    /// Attaches one to each place that is a tracepoint with types or a function's entry or exit.
    ///
    /// # Errors
    /// Where there is no such place, or the kernel refuses.
    pub fn beside(hooks: &[Hook]) -> Result<Vec<Self>> {
        ensure!(!hooks.is_empty(), "no programs are attached to put empty ones beside");
        let mut all = Vec::new();
        for Hook { name, attach_point, .. } in hooks {
            let attached = match attach_point {
                AttachPoint::Tracepoint(name) => Self::at_tracepoint(name),
                AttachPoint::Function(kind, id) => Self::at_function(*kind, *id, name),
                AttachPoint::Other(_) => continue,
            };
            all.push(attached.with_context(|| format!("an empty program beside {name}, {attach_point:?}"))?);
        }
        ensure!(
            !all.is_empty(),
            "{} programs, all attached in ways for which there is no empty one",
            hooks.len()
        );
        Ok(all)
    }

    /// Its arguments have no types, for which nobody asks who only returns.
    fn at_tracepoint(name: &str) -> Result<Self> {
        let target = CString::new(name)?;
        let program = load(RAW_TRACEPOINT, 0, 0).context("BPF_PROG_LOAD")?;
        Self::open(program, target.as_ptr() as u64, name)
    }

    fn at_function(kind: u32, btf_id: u32, target: &str) -> Result<Self> {
        let program = load(TRACING, kind, btf_id).context("BPF_PROG_LOAD")?;
        // No name: the program knows where it belongs.
        Self::open(program, 0, target)
    }

    fn open(program: OwnedFd, name: u64, target: &str) -> Result<Self> {
        #[repr(C)]
        struct Open {
            name: u64,
            program: u32,
            padding: u32,
        }
        let mut open = Open { name, program: program.as_raw_fd().unsigned_abs(), padding: 0 };
        let link = call(RAW_TRACEPOINT_OPEN, &mut open).context("BPF_RAW_TRACEPOINT_OPEN")?;
        Ok(Self { target: target.to_owned(), program, _link: link })
    }

    /// What the kernel says about it.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn info(&self) -> Result<Info> {
        info_of(&self.program)
    }
}

/// The part of `union bpf_attr` that loading needs, up to `attach_btf_id`.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

fn load(prog_type: u32, kind: u32, btf_id: u32) -> Result<OwnedFd> {
    /// `r0 = 0`, `exit` (Documentation/bpf/standardization/instruction-set.rst).
    const RETURN: [u64; 2] = [0xb7, 0x95];
    let license = CString::new("GPL")?;
    let mut attributes = Load {
        prog_type,
        insn_cnt: 2,
        insns: RETURN.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *b"floor\0\0\0\0\0\0\0\0\0\0\0",
        expected_attach_type: kind,
        attach_btf_id: btf_id,
        ..Load::default()
    };
    call(PROG_LOAD, &mut attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_from_other_descriptors_and_by_kind() {
        let at = |fdinfo: &str| attached(&Held::from(fdinfo));
        let tracepoint = at("pos:\t0\nlink_type:\traw_tracepoint\nprog_id:\t7\ntp_name:\ttimer_start\n");
        assert_eq!(tracepoint, Some((7, AttachPoint::Tracepoint("timer_start".to_owned()))));
        let function = at("link_type:\ttracing\nprog_id:\t8\nattach_type:\t24\ntarget_btf_id:\t4711\n");
        assert_eq!(function, Some((8, AttachPoint::Function(24, 4711))));
        let other = at("link_type:\tperf\nprog_id:\t9\ntp_name:\tsys_exit_bind\n");
        assert_eq!(other, Some((9, AttachPoint::Other("sys_exit_bind".to_owned()))));
        assert_eq!(at("prog_type:\t26\nprog_id:\t7\n"), None);
    }

    #[test]
    fn where_no_empty_program_goes_there_is_no_floor() {
        let attach_point = AttachPoint::Other("sys_exit_bind".to_owned());
        let hook = Hook { program: 7, name: "tp_exit_bind".to_owned(), attach_point };
        let error = Returning::beside(&[hook]).unwrap_err().to_string();
        assert!(error.starts_with("1 programs, "), "{error}");
    }

    #[test]
    fn the_layout_is_the_kernels() {
        // `union bpf_attr`, include/uapi/linux/bpf.h, 6.12.
        assert_eq!(std::mem::offset_of!(Load, prog_name), 48);
        assert_eq!(std::mem::offset_of!(Load, expected_attach_type), 68);
        assert_eq!(std::mem::offset_of!(Load, func_info), 80);
        assert_eq!(std::mem::offset_of!(Load, attach_btf_id), 108);
        assert_eq!(size_of::<Load>(), 112);
    }
}
