//! Owns: the promise about the tracker's memory: bounded, and untouched by an event once the tracker is known.
//! Must not know: how the tracker does it.

mod steady;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use steady::Steady;
use twtrace::engine::{By, Tracker};

/// What one thread has allocated.
#[derive(Clone, Copy, Default)]
struct Use {
    bytes: isize,
    peak: isize,
    calls: u64,
}

thread_local! {
    static USE: Cell<Use> = const { Cell::new(Use { bytes: 0, peak: 0, calls: 0 }) };
}

struct Counting;

fn note(bytes: isize, calls: u64) {
    // Gone while a thread ends: then nobody asks any more.
    let _ = USE.try_with(|cell| {
        let mut now = cell.get();
        now.bytes += bytes;
        now.peak = now.peak.max(now.bytes);
        now.calls += calls;
        cell.set(now);
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a Cell of this thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize, 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may both be there for a moment.
        note(size as isize, 1);
        note(-(layout.size() as isize), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_full_world_stays_under_100_mb() {
    let script = Steady::new(10_007, 131_072);
    let before = USE.get();
    USE.set(Use { peak: before.bytes, ..before });
    let mut tracker = script.tracker();
    script.run(&mut tracker, 0, 2 * 131_072);
    assert_eq!((tracker.live(), tracker.dropped().rows), (131_072, 0));
    let tracker_mb = (USE.get().peak - before.bytes) as f64 / 1e6;
    let snapshot = tracker.snapshot(By::ALL);
    assert_eq!(snapshot.processes.len(), 10_007);
    let all_mb = (USE.get().peak - before.bytes) as f64 / 1e6;
    eprintln!("tracker {tracker_mb:.1} MB at its peak, with a snapshot of everything {all_mb:.1} MB");
    assert!(all_mb < 100.0, "{all_mb:.1} MB");
}

#[test]
fn an_event_in_a_known_world_allocates_nothing() {
    let script = Steady::new(11, 5_003);
    let mut tracker = Tracker::new();
    script.run(&mut tracker, 0, 40_009);
    let before = USE.get().calls;
    script.run(&mut tracker, 40_009, 45_013);
    let calls = USE.get().calls - before;
    assert_eq!(calls, 0, "in 10,008 events");
}
