//! Owns: the kernel stack of the moment, and which known functions are on it.
//! Must not know: what that means for a TIME_WAIT socket.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_stack,
    macros::map,
    maps::{Array, PerCpuArray},
};
use twtrace_common::config::Text;

use crate::{
    config::setting,
    maps::{self, FRAMES},
    mem, table,
};

/// Which of the functions that can end or re-arm a TIME_WAIT socket are on the stack: a bit each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Callers(u64);

/// `inet_twsk_deschedule_put`
const DESCHEDULE: u64 = 0;
/// `inet_twsk_purge`
pub(crate) const PURGE: u64 = 1;
/// `tcp_timewait_state_process`
pub(crate) const STATE_PROCESS: u64 = 2;
/// `tcp_abort`
pub(crate) const ABORT: u64 = 3;
/// `tcp_v4_rcv` or `tcp_v6_rcv`
pub(crate) const RECEIVE: u64 = 4;
/// `tw_timer_handler`
pub(crate) const EXPIRY: u64 = 5;
/// The kernel did not hand the stack out.
pub(crate) const UNREAD: u64 = 6;

impl Callers {
    /// Whether this one is on the stack.
    #[inline(always)]
    pub(crate) fn has(self, bit: u64) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// `inet_twsk_deschedule_put`, or `inet_twsk_purge`, into which older kernels inline it: somebody ends it early.
    #[inline(always)]
    pub(crate) fn ending(self) -> bool {
        self.0 & (1 << DESCHEDULE | 1 << PURGE) != 0
    }
}

/// Bits of those who decide why a TIME_WAIT socket ends: the nearest of them does.
const DECIDING: u64 = 1 << PURGE | 1 << STATE_PROCESS | 1 << ABORT | 1 << RECEIVE | 1 << EXPIRY;

/// Words of the stack that are looked at above a hook's own.
const WORDS: usize = 32;
/// Ways to a hook that are remembered: an RST and a SYN that end one, a packet that re-arms one, for IPv4 and IPv6.
const PATHS: usize = 6;

/// Places for [`FRAMES`] addresses; a power of two, so that a mask keeps an index inside.
const SLOTS: usize = FRAMES.next_power_of_two();

/// Who is on the stack when it looks like this: each return address, from the inside up to who decides, at its place above the base.
/// The frame of a function has one size at one place of its code. So where the innermost address is the same the next one lies at
/// the same place, and where all are the same they are the same callers: nothing that earlier calls left behind can pass for one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// 1: somebody has it.
    taken: u64,
    /// 1: it is filled.
    ready: u64,
    /// What [`Callers`] it stands for.
    found: u64,
    /// Words above the base.
    at: [u64; SLOTS],
    address: [u64; SLOTS],
}

/// What has been learned so far.
#[map]
static KNOWN: Array<[Path; PATHS]> = Array::with_max_entries(1, 0);

/// The words above this CPU's hook.
#[map]
static ABOVE: PerCpuArray<[u64; WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// The nearest callers. `base`: an address in the hook's own frame, above which its callers' frames lie; `skip`: how many of the
/// stack's innermost frames lie below it. On arm64, where a function's return address lies in a register when it is entered and the kernel's
/// stack begins with the caller's caller, a `base` with one frame below is that address.
#[inline(always)]
pub(crate) fn callers(ctx: &impl EbpfContext, base: *const u8, skip: usize) -> Callers {
    let (Some(above), Some(known)) = (ABOVE.get_ptr_mut(0), KNOWN.get_ptr_mut(0)) else {
        return Callers(1 << UNREAD);
    };
    // SAFETY: live map values, the first of this CPU; whatever the address, the helper reads or says that it cannot.
    unsafe {
        #[cfg(not(feature = "aarch64"))]
        let is_read = {
            let bytes = size_of::<[u64; WORDS]>() as u32;
            aya_ebpf::helpers::generated::bpf_probe_read_kernel(above.cast(), bytes, base.cast()) == 0
        };
        // On arm64 return addresses on the stack are signed (pointer authentication), and never look like those that the kernel hands out:
        // there no way can be remembered.
        #[cfg(feature = "aarch64")]
        let is_read = false;
        let (above, known) = (&*above, &mut *known);
        if is_read {
            let mut path = 0;
            while path < PATHS {
                if known[path].ready != 0 && matches(&known[path], above) {
                    return Callers(known[path].found);
                }
                path += 1;
            }
        }
        let Some(frames) = maps::STACK.get_ptr_mut(0) else { return Callers(1 << UNREAD) };
        // 1 to 4 us: only for what nothing cheaper can tell.
        let length = bpf_get_stack(ctx.as_ptr(), frames.cast(), (FRAMES * 8) as u32, 0);
        if length < 0 {
            return Callers(1 << UNREAD);
        }
        #[cfg(feature = "aarch64")]
        if skip == 1 {
            // In the place of the function itself, which is none of those that are looked for.
            (*frames)[0] = base as u64;
        }
        let (found, count) = nearest(&*frames, length);
        if is_read && found & DECIDING != 0 {
            learn(known, above, &*frames, skip, count, found);
        }
        Callers(found)
    }
}

/// Without a branch for each word: the verifier would follow both sides.
#[inline(always)]
fn matches(path: &Path, above: &[u64; WORDS]) -> bool {
    let mut wrong = 0;
    let mut i = 0;
    while i < FRAMES {
        wrong |= above[path.at[i] as usize & (WORDS - 1)] ^ path.address[i];
        i += 1;
    }
    wrong == 0
}

/// Who is on the stack up to the first who decides, and how many frames that are.
#[inline(always)]
fn nearest(frames: &[u64; SLOTS], length: i64) -> (u64, u64) {
    let (mut found, mut count, mut open) = (0, 0, u64::MAX);
    let mut i = 0;
    while i < FRAMES {
        // Volatile, so that the loop is not turned around into one per function.
        // SAFETY: inside the map value.
        let at = unsafe { (&raw const frames[i]).read_volatile() };
        let mut here = within(at, setting!(symbols.inet_twsk_deschedule_put)) << DESCHEDULE;
        here |= within(at, setting!(symbols.inet_twsk_purge)) << PURGE;
        here |= within(at, setting!(symbols.tcp_timewait_state_process)) << STATE_PROCESS;
        here |= within(at, setting!(symbols.tcp_abort)) << ABORT;
        here |= within(at, setting!(symbols.tcp_v4_rcv)) << RECEIVE;
        here |= within(at, setting!(symbols.tcp_v6_rcv)) << RECEIVE;
        here |= within(at, setting!(symbols.tw_timer_handler)) << EXPIRY;
        // What lies behind the stack's end is of another one.
        open &= ones_if_less(i as u64 * 8, length as u64);
        found |= here & open;
        count += open & 1;
        // All ones as long as nobody has decided.
        open &= ones_if_less(here & DECIDING, 1);
        i += 1;
    }
    (found, count)
}

/// All ones if `a` is below `b`, both below 2^63, else zero. Without a branch.
#[inline(always)]
fn ones_if_less(a: u64, b: u64) -> u64 {
    // The compiler must not see through it, or it makes a branch of it, of which the verifier follows both sides: some fifty of them were
    // nine tenths of what it did.
    mem::opaque((a.wrapping_sub(b) as i64 >> 63) as u64)
}

/// Remembers where the `count` addresses in `frames` lie in `above`, if all do and there is room.
#[inline(always)]
unsafe fn learn(
    known: &mut [Path; PATHS],
    above: &[u64; WORDS],
    frames: &[u64; SLOTS],
    skip: usize,
    count: u64,
    found: u64,
) {
    // Without a branch for each: the verifier would follow all that comes behind once for every free one.
    let mut free = PATHS as u64;
    let mut path = PATHS;
    while path > 0 {
        path -= 1;
        let is_free = ones_if_less(known[path].taken, 1);
        free = path as u64 & is_free | free & !is_free;
    }
    let free = free as usize;
    if free >= PATHS {
        return;
    }
    let way = &mut known[free];
    // SAFETY: a live map value. Of two that add at the same time at most one reads 1, and it is never given back.
    let is_ours = unsafe {
        table::add(&raw mut way.taken, 1);
        (&raw const way.taken).read_volatile() == 1
    };
    if is_ours && locate(way, above, frames, skip, count) {
        way.found = found;
        mem::in_order();
        // SAFETY: a live map value.
        unsafe { (&raw mut way.ready).write_volatile(1) };
    }
}

/// Fills in where each address lies; what is behind the last repeats the first. Says whether all were found.
#[inline(always)]
fn locate(way: &mut Path, above: &[u64; WORDS], frames: &[u64; SLOTS], skip: usize, count: u64) -> bool {
    let mut next = skip as u64;
    let mut word = 0;
    while word < WORDS {
        let differs = frames[next as usize & (SLOTS - 1)] ^ above[word];
        // Zero only if no bit differs.
        let other = (differs | differs >> 32) & 0xffff_ffff;
        let is_it = ones_if_less(other, 1) & ones_if_less(next, count) & 1;
        let into = (next as usize).wrapping_sub(skip) & (SLOTS - 1);
        way.at[into] = word as u64;
        way.address[into] = above[word];
        next += is_it;
        word += 1;
    }
    let mut i = 1;
    while i < SLOTS {
        let is_spare = !ones_if_less((i + skip) as u64, count);
        way.at[i] ^= (way.at[i] ^ way.at[0]) & is_spare;
        way.address[i] ^= (way.address[i] ^ way.address[0]) & is_spare;
        i += 1;
    }
    next == count && count > skip as u64
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
