//! Owns: from a file descriptor of the current task to its socket, for hooks that see system calls only.
//! Must not know: which system call.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use twtrace_common::{
    config::MISSING,
    wire::{self, Words},
};

use crate::{
    config::setting,
    mem::{Mem, Probed},
    sock::{self, Conn},
};

/// Where the address of a refused bind() stands.
pub(crate) enum SockAddr {
    /// In the caller's memory: bind().
    User(u64),
    /// In the socket: listen().
    OfSocket,
}

/// The `struct sock` behind file descriptor `number`, 0 where it cannot be found.
#[inline(always)]
pub(crate) fn socket(number: u64) -> u64 {
    if setting!(offsets.task_files) == MISSING
        || setting!(offsets.files_fdt) == MISSING
        || setting!(offsets.fdt_fd) == MISSING
        || setting!(offsets.file_private_data) == MISSING
        || setting!(offsets.socket_sk) == MISSING
    {
        return 0;
    }
    // SAFETY: every pointer is followed with the helper, which reads zero where one is bad. The descriptor was just
    // returned to, or used by, this task.
    unsafe {
        let files: u64 = Probed::load(bpf_get_current_task() as *const u8, setting!(offsets.task_files));
        let table: u64 = Probed::load(files as *const u8, setting!(offsets.files_fdt));
        let slots: u64 = Probed::load(table as *const u8, setting!(offsets.fdt_fd));
        let file: u64 = Probed::load((slots as *const u8).wrapping_add((number as usize) * 8), 0);
        let socket: u64 = Probed::load(file as *const u8, setting!(offsets.file_private_data));
        Probed::load(socket as *const u8, setting!(offsets.socket_sk))
    }
}

/// The TCP connection that connect() through `number` to the address at `address` was refused before a SYN was sent: with a
/// sequence number one was sent, and what became of it is told by the socket's state.
#[inline(always)]
pub(crate) fn refused_connect(number: u64, address: u64) -> Option<(Conn, u32)> {
    let sk = socket(number) as *const u8;
    // SAFETY: read with the helper.
    unsafe {
        if sk.is_null()
            || Probed::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP
            || Probed::load::<u32>(sk, setting!(offsets.write_seq)) != 0
        {
            return None;
        }
        let mut conn = sock::of_sk::<Probed>(sk);
        let port_via = sock::port_before::<Probed>(sk, conn.tuple.sport);
        asked(address).towards(&mut conn);
        Some((conn, port_via))
    }
}

/// The TCP socket behind `number` with the address it asked for, whether it has SO_REUSEADDR, and its own range of ports.
#[inline(always)]
pub(crate) fn refused_bind(number: u64, address: SockAddr) -> Option<(Conn, Option<bool>, u32)> {
    let sk = socket(number) as *const u8;
    // SAFETY: read with the helper.
    let (mut conn, reuseaddr, own_range) = unsafe {
        if sk.is_null() || Probed::load::<u16>(sk, setting!(offsets.sk_protocol)) != sock::IPPROTO_TCP {
            return None;
        }
        (sock::of_sk::<Probed>(sk), sock::reuses_address::<Probed>(sk), sock::own_range(sk))
    };
    if let SockAddr::User(address) = address {
        let asked = asked(address);
        (conn.tuple.sport, conn.tuple.saddr) = (asked.port, asked.address);
    }
    Some((conn, reuseaddr, own_range))
}

/// Reads `struct sockaddr_in` or `sockaddr_in6` from the caller's memory: family, port (network order), address.
#[inline(always)]
fn asked(address: u64) -> Asked {
    let mut bytes = [0u8; 24];
    // SAFETY: our buffer; a fault leaves zeroes. A sockaddr_in has 16 bytes only: then the second read serves.
    unsafe {
        if bpf_probe_read_user(bytes.as_mut_ptr().cast(), 24, address as *const _) != 0 {
            bpf_probe_read_user(bytes.as_mut_ptr().cast(), 16, address as *const _);
        }
    }
    Asked::of(bytes)
}

/// What a call asked for.
pub(crate) struct Asked {
    pub(crate) port: u16,
    pub(crate) address: Words,
    pub(crate) family: u8,
}

impl Asked {
    /// From a `struct sockaddr` in the kernel's memory.
    ///
    /// # Safety
    /// `address` points to one.
    #[inline(always)]
    pub(crate) unsafe fn of_kernel(address: *const u8) -> Self {
        // SAFETY: by the caller; the call has copied it into a `struct sockaddr_storage`, which is longer.
        Self::of(unsafe { Probed::load(address, 0) })
    }

    /// As the other end of `conn`.
    #[inline(always)]
    pub(crate) fn towards(&self, conn: &mut Conn) {
        conn.tuple.dport = self.port;
        conn.tuple.daddr = self.address;
        conn.tuple.family = self.family;
    }

    #[inline(always)]
    fn of(bytes: [u8; 24]) -> Self {
        let [f0, f1, p0, p1, a, b, c, d, v6 @ ..] = bytes;
        let port = u16::from_be_bytes([p0, p1]);
        if u16::from_ne_bytes([f0, f1]) == sock::AF_INET6 {
            let address = wire::words_of_bytes(v6);
            Self { port, address, family: if sock::is_mapped(address) { 4 } else { 6 } }
        } else {
            Self { port, address: sock::mapped(u32::from_ne_bytes([a, b, c, d])), family: 4 }
        }
    }
}
