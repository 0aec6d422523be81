//! Owns: the tables that remember something of a connection: arrays of small sets, found by a key.
//! Must not know: what is remembered.
//!
//! A look-up in an ARRAY is a multiplication and a bounds check, a tenth of what a hash map costs to fill and to empty
//! again. A set that is full lets go of an entry that was left behind, or else of its oldest: who holds many connections half closed
//! drives out his own first.
//!
//! Two CPUs may want a place in the same set at the same time. Fetching atomics are not to be had on 5.10, so a set is taken by
//! adding to a counter and reading it back: of two that add at the same time at most one reads 1. Who does not get the set goes
//! without. A reader takes no lock: it copies and then looks whether the key is still there; who takes a place wipes the key
//! first ([`mem::in_order`] keeps it first).

use core::ptr::NonNull;

use aya_ebpf::maps::Array;

use crate::mem;

/// Places in a set; a power of two.
pub(crate) const WAYS: usize = 4;

/// One place.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Slot<T> {
    /// 0: free.
    key: u64,
    /// Jiffies when it was taken.
    stamp: u64,
    /// What is remembered.
    pub(crate) value: T,
}

/// One set.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Set<T> {
    taken: u64,
    slots: [Slot<T>; WAYS],
}

/// A place that was taken, still without a key: fill it, then [`publish`].
pub(crate) struct Claim<T> {
    pub(crate) slot: *mut Slot<T>,
    set: *mut Set<T>,
    /// Jiffies when the entry was made that had to leave it; 0: none had to.
    pub(crate) evicted: u64,
}

#[inline(always)]
fn spread(key: u64, sets: u32) -> u32 {
    ((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32) & (sets - 1)
}

#[inline(always)]
fn set_of<T>(map: &Array<Set<T>>, sets: u32, key: u64) -> Option<*mut Set<T>> {
    map.get_ptr_mut(spread(key, sets))
}

/// Adds to a word that others add to as well.
///
/// # Safety
/// `word` is in a live map value, 8-byte aligned.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, value: u64) {
    // In assembly, because `core` has no atomics for BPF; without a fetch, because 5.10 does not know fetching atomics.
    // SAFETY: by the caller: a live map value, 8-byte aligned.
    unsafe {
        core::arch::asm!("lock *(u64 *)({word} + 0) += {value}", word = in(reg) word, value = in(reg) value)
    };
}

#[inline(always)]
unsafe fn lock<T>(set: *mut Set<T>) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let taken = &raw mut (*set).taken;
        add(taken, 1);
        if taken.read_volatile() == 1 {
            mem::in_order();
            return true;
        }
        add(taken, u64::MAX);
        false
    }
}

#[inline(always)]
unsafe fn unlock<T>(set: *mut Set<T>) {
    mem::in_order();
    // SAFETY: by the caller, who has locked it.
    unsafe { add(&raw mut (*set).taken, u64::MAX) };
}

/// `way`, but the verifier does not know any more which of them it is: it follows what comes behind once, not once for each place.
#[inline(always)]
fn any(way: usize, unknown: u64) -> usize {
    // With none in between, the compiler would take off again what was added.
    let sum = mem::opaque((way as u64).wrapping_add(unknown));
    sum.wrapping_sub(unknown) as usize & (WAYS - 1)
}

/// The place of `key`, or `None`. In one word, NULL for `None`: of an `Option` in two, the verifier would see the second half
/// read where nothing was written.
#[inline(always)]
pub(crate) fn find<T>(map: &Array<Set<T>>, sets: u32, key: u64) -> Option<NonNull<Slot<T>>> {
    if key == 0 {
        return None;
    }
    let set = set_of(map, sets, key)?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: a live map value, and a place inside it.
        unsafe {
            let slot = &raw mut (*set).slots[way];
            if (&raw const (*slot).key).read_volatile() == key {
                mem::in_order();
                return NonNull::new(&raw mut (*set).slots[any(way, key)]);
            }
        }
        way += 1;
    }
    None
}

/// Whether the place still belongs to `key`: to be asked after its value was copied.
#[inline(always)]
pub(crate) fn holds<T>(slot: NonNull<Slot<T>>, key: u64) -> bool {
    mem::in_order();
    // SAFETY: a live map value.
    unsafe { (&raw const (*slot.as_ptr()).key).read_volatile() == key }
}

/// A place for `key`, the one that it has already if it has one. `is_left`: whether a value, which has this key, is of no use any more; asked
/// only where the set is full. `None`: another CPU works on the set.
#[inline(always)]
pub(crate) fn claim<T>(
    map: &Array<Set<T>>,
    sets: u32,
    key: u64,
    is_left: impl Fn(&T, u64) -> bool,
) -> Option<Claim<T>> {
    let set = set_of(map, sets, key)?;
    // SAFETY: a live map value; `way` stays below WAYS.
    unsafe {
        if !lock(set) {
            return None;
        }
        let mut best = FULL;
        let mut way = 0;
        while way < WAYS {
            let held = (&raw const (*set).slots[way].key).read_volatile();
            // A place of its own wins over a free one, a free one over the oldest.
            if held == key {
                best = way;
                break;
            }
            if held == 0 {
                best = way;
            }
            way += 1;
        }
        let mut evicted = 0;
        if best == FULL {
            best = left_behind(set, is_left);
        }
        if best == FULL {
            (best, evicted) = oldest(set);
        }
        let best = &raw mut (*set).slots[any(best, key)];
        (&raw mut (*best).key).write_volatile(0);
        mem::in_order();
        Some(Claim { slot: best, set, evicted })
    }
}

/// No place.
const FULL: usize = WAYS;

/// The first place whose entry is of no use any more, or none.
#[inline(always)]
unsafe fn left_behind<T>(set: *mut Set<T>, is_left: impl Fn(&T, u64) -> bool) -> usize {
    let mut way = 0;
    while way < WAYS {
        // SAFETY: by the caller: a live map value; `way` stays below WAYS.
        let slot = unsafe { &(*set).slots[way] };
        if is_left(&slot.value, slot.key) {
            break;
        }
        way += 1;
    }
    way
}

/// The place whose entry is oldest, and when that was made.
#[inline(always)]
unsafe fn oldest<T>(set: *mut Set<T>) -> (usize, u64) {
    let (mut best, mut oldest) = (0, u64::MAX);
    let mut way = 0;
    while way < WAYS {
        // SAFETY: by the caller: a live map value; `way` stays below WAYS.
        let stamp = unsafe { (*set).slots[way].stamp };
        if stamp < oldest {
            (best, oldest) = (way, stamp);
        }
        way += 1;
    }
    (best, oldest)
}

/// Makes a filled place findable.
///
/// # Safety
/// `claim` comes from [`claim`].
#[inline(always)]
pub(crate) unsafe fn publish<T>(claim: Claim<T>, key: u64, stamp: u64) {
    // SAFETY: by the caller.
    unsafe {
        (*claim.slot).stamp = stamp;
        mem::in_order();
        (&raw mut (*claim.slot).key).write_volatile(key);
        unlock(claim.set);
    }
}

/// Frees the place of `key`. Where another CPU works on the set it stays until it is the oldest.
#[inline(always)]
pub(crate) fn remove<T>(map: &Array<Set<T>>, sets: u32, slot: NonNull<Slot<T>>, key: u64) {
    let Some(set) = set_of(map, sets, key) else { return };
    // SAFETY: live map values.
    unsafe {
        if lock(set) {
            if holds(slot, key) {
                (&raw mut (*slot.as_ptr()).key).write_volatile(0);
            }
            unlock(set);
        }
    }
}
