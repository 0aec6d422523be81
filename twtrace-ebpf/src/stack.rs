//! Owns: the kernel stack of the moment, and which known functions are on it.
//! Must not know: what that means for a TIME_WAIT socket.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_stack};
use twtrace_common::config::Text;

use crate::{
    config::setting,
    maps::{self, FRAMES},
};

/// Which of the functions that can end or re-arm a TIME_WAIT socket are on the stack: a bit each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Callers(u64);

const DESCHEDULE: u64 = 0;
const PURGE: u64 = 1;
const STATE_PROCESS: u64 = 2;
const ABORT: u64 = 3;
const RECEIVE: u64 = 4;
const EXPIRY: u64 = 5;
const UNREAD: u64 = 6;

impl Callers {
    #[inline(always)]
    fn has(self, bit: u64) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// `inet_twsk_deschedule_put`, or `inet_twsk_purge`, into which older kernels inline it: somebody ends it early.
    #[inline(always)]
    pub(crate) fn ending(self) -> bool {
        self.0 & (1 << DESCHEDULE | 1 << PURGE) != 0
    }

    /// The kernel did not hand the stack out.
    #[inline(always)]
    pub(crate) fn unread(self) -> bool {
        self.has(UNREAD)
    }

    /// `inet_twsk_purge`
    #[inline(always)]
    pub(crate) fn purge(self) -> bool {
        self.has(PURGE)
    }

    /// `tcp_timewait_state_process`
    #[inline(always)]
    pub(crate) fn state_process(self) -> bool {
        self.has(STATE_PROCESS)
    }

    /// `tcp_abort`
    #[inline(always)]
    pub(crate) fn abort(self) -> bool {
        self.has(ABORT)
    }

    /// `tcp_v4_rcv` or `tcp_v6_rcv`
    #[inline(always)]
    pub(crate) fn receive(self) -> bool {
        self.has(RECEIVE)
    }

    /// `tw_timer_handler`
    #[inline(always)]
    pub(crate) fn expiry(self) -> bool {
        self.has(EXPIRY)
    }
}

/// Reads the stack. 1 to 4 µs: only for what nothing cheaper can tell.
#[inline(always)]
pub(crate) fn callers(ctx: &impl EbpfContext) -> Callers {
    let mut found = 0;
    let Some(frames) = maps::STACK.get_ptr_mut(0) else { return Callers(1 << UNREAD) };
    // SAFETY: a live map value of this CPU; its size in bytes is given.
    let bytes = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), (FRAMES * 8) as u32, 0) };
    if bytes < 0 {
        return Callers(1 << UNREAD);
    }
    let mut i = 0;
    while i < FRAMES && (i as i64) * 8 < bytes {
        // SAFETY: inside the map value. Volatile, so that the loop is not turned around into one per function.
        let at = unsafe { (&raw const (*frames)[i]).read_volatile() };
        found |= within(at, setting!(symbols.inet_twsk_deschedule_put)) << DESCHEDULE;
        found |= within(at, setting!(symbols.inet_twsk_purge)) << PURGE;
        found |= within(at, setting!(symbols.tcp_timewait_state_process)) << STATE_PROCESS;
        found |= within(at, setting!(symbols.tcp_abort)) << ABORT;
        found |= within(at, setting!(symbols.tcp_v4_rcv)) << RECEIVE;
        found |= within(at, setting!(symbols.tcp_v6_rcv)) << RECEIVE;
        found |= within(at, setting!(symbols.tw_timer_handler)) << EXPIRY;
        i += 1;
    }
    Callers(found)
}

/// 1 if a return address lies in a function, else 0. It points behind the call, so `end` itself still belongs to a
/// function whose last instruction is a call. Without a branch: the verifier would follow both sides of each of 140.
#[inline(always)]
fn within(address: u64, text: Text) -> u64 {
    let into = address.wrapping_sub(text.start).wrapping_sub(1);
    let length = text.end.wrapping_sub(text.start);
    // The sign of `into - length` says "less" as long as `into` itself is not negative.
    (into.wrapping_sub(length) & !into) >> 63
}
