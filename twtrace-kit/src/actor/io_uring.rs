//! Owns: an io_uring of the calling process, for one call at a time, by system calls alone.
//! Must not know: who asks for what.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use socket2::SockAddr;

/// Operations, offsets and flags of include/uapi/linux/io_uring.h, 6.12.
const OP_ACCEPT: u8 = 13;
const OP_BIND: u8 = 56;
const OFF_SQ_RING: i64 = 0;
const OFF_CQ_RING: i64 = 0x0800_0000;
const OFF_SQES: i64 = 0x1000_0000;
const ENTER_GETEVENTS: u32 = 1;
/// One page holds each of the rings of a few entries.
const LENGTH: usize = 4096;

/// `io_sqring_offsets` and `io_cqring_offsets`, as far as one call at a time needs them: the same in both, up to the sixth.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    fifth: u32,
    /// Of the second ring: its entries.
    cqes: u32,
    /// Of the first ring: its array.
    array: u32,
    eighth: u32,
    address: u64,
}

/// `io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Params {
    numbers: [u32; 10],
    submitted: Offsets,
    completed: Offsets,
}

/// `io_uring_sqe`, as far as these operations need it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    second_address: u64,
    address: u64,
    length: u32,
    flags_of_op: u32,
    rest: [u64; 4],
}

const _: () = assert!(size_of::<Entry>() == 64 && size_of::<Params>() == 120);

/// Whether the kernel lets this process have one.
pub fn can_be() -> bool {
    setup(&mut Params::default()).is_ok()
}

fn setup(params: &mut Params) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads and writes `params`, which is as large as it takes it for.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::from_mut(params)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// accept() by a ring; gives the new descriptor.
///
/// # Errors
/// Of the kernel, also for what the operation came to.
pub fn accept(listener: RawFd) -> Result<OwnedFd> {
    let fd = call(Entry { opcode: OP_ACCEPT, fd: listener, ..Entry::default() })?;
    // SAFETY: made for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bind() by a ring.
///
/// # Errors
/// As [`accept`]; EINVAL where the kernel has no such operation (before 6.11).
pub fn bind(socket: RawFd, to: SocketAddr) -> Result<()> {
    let to = SockAddr::from(to);
    let address = to.as_ptr().addr() as u64;
    let entry =
        Entry { opcode: OP_BIND, fd: socket, address, second_address: to.len().into(), ..Entry::default() };
    call(entry).map(drop)
}

fn call(entry: Entry) -> Result<i32> {
    let mut params = Params::default();
    let ring = setup(&mut params).context("io_uring_setup")?;
    let map = |offset: i64| -> Result<*mut u8> {
        let (kinds, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping; it stays until the process ends, which is soon.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, kinds, flags, ring.as_raw_fd(), offset) };
        ensure!(at != libc::MAP_FAILED, "mapping a ring: {}", io::Error::last_os_error());
        Ok(at.cast())
    };
    let (submitted, completed, entries) = (map(OFF_SQ_RING)?, map(OFF_CQ_RING)?, map(OFF_SQES)?);
    // SAFETY: the kernel said where these lie in the pages mapped above, and does not touch them before the call below.
    unsafe {
        entries.cast::<Entry>().write(entry);
        submitted.add(params.submitted.array as usize).cast::<u32>().write(0);
        let tail = submitted.add(params.submitted.tail as usize).cast::<AtomicU32>();
        (*tail).store(1, Ordering::Release);
    }
    // SAFETY: numbers, and no signal mask.
    let done = unsafe {
        let none = std::ptr::null::<libc::sigset_t>();
        libc::syscall(libc::SYS_io_uring_enter, ring.as_raw_fd(), 1, 1, ENTER_GETEVENTS, none, 0)
    };
    ensure!(done == 1, "io_uring_enter: {done}, {}", io::Error::last_os_error());
    // SAFETY: as above; the call came back with one completion: user data, then what it came to.
    let result = unsafe {
        let tail = completed.add(params.completed.tail as usize).cast::<AtomicU32>();
        ensure!((*tail).load(Ordering::Acquire) == 1, "no completion");
        completed.add(params.completed.cqes as usize + 8).cast::<i32>().read()
    };
    if result < 0 { Err(io::Error::from_raw_os_error(-result).into()) } else { Ok(result) }
}
