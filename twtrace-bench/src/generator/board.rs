//! Memory that all processes of a generator share: what each client is to do and has done, and how long each connect() took.
//!
//! Owns: its layout, and waiting on it. Must not know: sockets.
//!
//! Times: writers never wait: a writer claims a slot and fills it. The reader takes the slots in order and stops at one that is claimed but
//! not filled yet.

use std::num::NonZero;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Slots for times; more than there can be connections under way.
const SLOTS: u32 = 4096;

/// Indexes of the counters; the slots come after them, then two words a client: connections made, connections to make.
const CLAIMED: usize = 0;
const CLOSED: usize = 1;
const ERRNO: usize = 2;
const FIRST_SLOT: usize = 3;

/// See the head of the file. Copies name the same memory, which lives as long as the process.
#[derive(Clone, Copy)]
pub(super) struct Board {
    words: &'static [AtomicU32],
}

impl Board {
    /// Makes one; processes forked from now on share it.
    pub(super) fn new(clients: u32) -> Result<Self> {
        let words = FIRST_SLOT + SLOTS as usize + 2 * clients as usize;
        let length = NonZero::new(words * size_of::<AtomicU32>()).context("no room")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }
            .context("no shared memory for the generator")?;
        // SAFETY: the mapping is page-aligned, has room for `words` words, all zero, is never unmapped, and is only accessed through
        // atomics, by this process and by those that it forks.
        let words = unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU32>(), words) };
        Ok(Self { words })
    }

    /// A client's connect() took so long, in nanoseconds.
    pub(super) fn connected(&self, client: u32, took_ns: u64) {
        // 0 stands for "not filled yet". A connect() of more than 4 s is told as one of 4 s.
        let took = u32::try_from(took_ns.max(1)).unwrap_or(u32::MAX);
        let slot = self.words[CLAIMED].fetch_add(1, Ordering::Relaxed) % SLOTS;
        self.words[FIRST_SLOT + slot as usize].store(took, Ordering::Release);
        self.made(client).fetch_add(1, Ordering::Relaxed);
    }

    /// A client closed its end.
    pub(super) fn closed(&self) {
        self.words[CLOSED].fetch_add(1, Ordering::Release);
    }

    /// A client cannot go on.
    pub(super) fn fail(&self, errno: i32) {
        self.words[ERRNO].store(errno.unsigned_abs(), Ordering::Release);
    }

    /// Why a client cannot go on; `None` while all can.
    pub(super) fn errno(&self) -> Option<i32> {
        Some(self.words[ERRNO].load(Ordering::Acquire).cast_signed()).filter(|errno| *errno != 0)
    }

    /// Ends that clients have closed since the start; wraps.
    pub(super) fn closed_in_all(&self) -> u32 {
        self.words[CLOSED].load(Ordering::Acquire)
    }

    /// Connections of one client since the start; wraps.
    pub(super) fn made(&self, client: u32) -> &AtomicU32 {
        &self.words[FIRST_SLOT + SLOTS as usize + 2 * client as usize]
    }

    fn work_of(&self, client: u32) -> &AtomicU32 {
        &self.words[FIRST_SLOT + SLOTS as usize + 2 * client as usize + 1]
    }

    /// Tells a client to make so many connections, and wakes it.
    pub(super) fn give(&self, client: u32, count: u32) {
        let word = self.work_of(client);
        word.fetch_add(count, Ordering::Release);
        futex(word, libc::FUTEX_WAKE, 1);
    }

    /// Waits until a client has something to do, and takes it: how many connections to make.
    pub(super) fn take_work(&self, client: u32) -> u32 {
        let word = self.work_of(client);
        loop {
            match word.swap(0, Ordering::Acquire) {
                // Returns at once if it is not 0 any more.
                0 => futex(word, libc::FUTEX_WAIT, 0),
                count => return count,
            }
        }
    }

    /// Hands over the times that came in since `read`, which counts them on.
    pub(super) fn take(&self, read: &mut u32, mut each: impl FnMut(u64)) {
        while *read != self.words[CLAIMED].load(Ordering::Acquire) {
            let slot = FIRST_SLOT + (*read % SLOTS) as usize;
            match self.words[slot].swap(0, Ordering::AcqRel) {
                0 => return,
                took => each(took.into()),
            }
            *read = read.wrapping_add(1);
        }
    }
}

/// futex(2) on a word that processes share. Who waits asks again, so it does not matter why it returned.
fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let no_timeout = std::ptr::null::<libc::timespec>();
    // SAFETY: the word lives as long as the process, and both operations take these arguments.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use twtrace_kit::wait::{PATIENCE, until_true};

    #[test]
    fn times_come_in_order_and_once_even_around_the_end() {
        let board = Board::new(3).unwrap();
        let (mut read, mut sum) = (0, 0);
        for round in 0..5 {
            for took in 0..1009 {
                board.connected(2, took);
            }
            let mut taken = Vec::new();
            board.take(&mut read, |took| taken.push(took));
            assert_eq!((taken.len(), taken[0], taken[1008]), (1009, 1, 1008), "round {round}");
            sum += taken.len();
        }
        board.take(&mut read, |_| sum += 1);
        assert_eq!((sum, board.made(2).load(Ordering::Relaxed)), (5045, 5045));
        assert_eq!(board.made(1).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_slot_that_is_claimed_but_empty_is_waited_for() {
        let board = Board::new(1).unwrap();
        board.words[CLAIMED].store(2, Ordering::Relaxed);
        board.words[FIRST_SLOT + 1].store(7, Ordering::Relaxed);
        let (mut read, mut taken) = (0, Vec::new());
        board.take(&mut read, |took| taken.push(took));
        assert_eq!((read, taken.len()), (0, 0));
        board.words[FIRST_SLOT].store(5, Ordering::Relaxed);
        board.take(&mut read, |took| taken.push(took));
        assert_eq!((read, taken), (2, vec![5, 7]));
    }

    #[test]
    fn work_is_waited_for_and_taken_once() {
        let board = Board::new(2).unwrap();
        let worker = std::thread::spawn(move || board.take_work(1) + board.take_work(1));
        board.give(0, 100);
        board.give(1, 7);
        until_true("the first to be taken", PATIENCE, || Ok(board.work_of(1).load(Ordering::Relaxed) == 0))
            .unwrap();
        board.give(1, 11);
        assert_eq!(worker.join().unwrap(), 18);
        assert_eq!(board.take_work(0), 100);
    }

    #[test]
    fn a_failure_is_seen() {
        let board = Board::new(1).unwrap();
        assert_eq!(board.errno(), None);
        board.fail(libc::EADDRNOTAVAIL);
        assert_eq!(board.errno(), Some(libc::EADDRNOTAVAIL));
    }
}
