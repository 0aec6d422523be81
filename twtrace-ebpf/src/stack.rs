//! Owns: the kernel stack of the moment, and which known functions are on it.
//! Must not know: what that means for a TIME_WAIT socket.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_stack};
use twtrace_common::config::Text;

use crate::{
    config::setting,
    maps::{self, FRAMES},
};

/// Which of the functions that can end or re-arm a TIME_WAIT socket are on the stack.
#[derive(Clone, Copy, Default)]
pub(crate) struct Callers {
    /// `inet_twsk_deschedule_put`
    pub(crate) deschedule: bool,
    /// `inet_twsk_purge`
    pub(crate) purge: bool,
    /// `tcp_timewait_state_process`
    pub(crate) state_process: bool,
    /// `tcp_abort`
    pub(crate) abort: bool,
    /// `tcp_v4_rcv` or `tcp_v6_rcv`
    pub(crate) receive: bool,
    /// `tw_timer_handler`
    pub(crate) expiry: bool,
}

/// Reads the stack. 1 to 4 µs: only for what nothing cheaper can tell.
#[inline(always)]
pub(crate) fn callers(ctx: &impl EbpfContext) -> Callers {
    let mut found = Callers::default();
    let Some(frames) = maps::STACK.get_ptr_mut(0) else { return found };
    // SAFETY: a live map value of this CPU; its size in bytes is given.
    let bytes = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), (FRAMES * 8) as u32, 0) };
    if bytes <= 0 {
        return found;
    }
    let mut i = 0;
    while i < FRAMES && i * 8 < bytes as usize {
        // SAFETY: inside the map value.
        let at = unsafe { (*frames)[i] };
        found.deschedule |= within(at, setting!(symbols.inet_twsk_deschedule_put));
        found.purge |= within(at, setting!(symbols.inet_twsk_purge));
        found.state_process |= within(at, setting!(symbols.tcp_timewait_state_process));
        found.abort |= within(at, setting!(symbols.tcp_abort));
        found.receive |= within(at, setting!(symbols.tcp_v4_rcv)) || within(at, setting!(symbols.tcp_v6_rcv));
        found.expiry |= within(at, setting!(symbols.tw_timer_handler));
        i += 1;
    }
    found
}

/// Whether a return address lies in a function. It points behind the call, so `end` itself still belongs to a
/// function whose last instruction is a call.
#[inline(always)]
fn within(address: u64, text: Text) -> bool {
    address > text.start && address <= text.end
}
