//! Owns: a file system of the kernel's that is mounted nowhere: only who has the descriptor can look into it.
//! Must not know: what is looked for in it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::PathBuf;

/// A mount that goes with its descriptor.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Detached {
    /// Mounts a file system of this type, such as `cgroup2` (fsopen(2), since 5.2).
    ///
    /// # Errors
    /// Of the kernel: it takes CAP_SYS_ADMIN.
    pub fn mount(kind: &CStr) -> io::Result<Self> {
        let done =
            |result: libc::c_long| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
        const FSOPEN_CLOEXEC: libc::c_uint = 1;
        const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
        const FSMOUNT_CLOEXEC: libc::c_uint = 1;
        // SAFETY: a string that ends with a NUL, and a flag.
        let context = done(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
        // SAFETY: a descriptor that was just opened and that nothing else owns.
        let context = unsafe { File::from_raw_fd(context as i32) };
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: this command takes neither key nor value.
        done(unsafe {
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0)
        })?;
        // SAFETY: numbers only.
        let mount =
            done(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })?;
        // SAFETY: a descriptor that was just opened and that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(mount as i32) }))
    }

    /// Its root, for this process and as long as this lives.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}
