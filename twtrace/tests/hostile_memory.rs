//! What a recording that tells only different things costs in memory: so much, however long it is.
//!
//! Owns: the measurement. Must not know: how readers keep it.

mod hostile;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hostile::Hostile;
use twtrace::model::filter::Filter;
use twtrace::present::report::{By, Options};
use twtrace::recording::{Ended, Recording};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts bytes, of all threads.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let now = NOW.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(now - layout.size(), Ordering::Relaxed);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of all threads are counted, so there is one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The most bytes that some work had at a time, beyond what there was before.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn what_differs_in_every_row_has_an_end() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = || Recording::open(file.path()).unwrap();
    for kind in [Hostile::Everything, Hostile::Namespaces] {
        kind.write(80_021, &mut File::create(file.path()).unwrap()).unwrap();
        let bytes = file.path().metadata().unwrap().len() as usize;
        let report = peak(|| {
            let options = Options { by: By::ALL.to_vec(), ..Options::default() };
            assert_eq!(
                twtrace::present::report::read(open(), &options).unwrap().total.counts.created,
                80_021
            );
        });
        let doctor =
            peak(|| drop(twtrace::present::report::facts(open(), &Filter::default(), None).unwrap()));
        eprintln!("{kind:?}: {bytes} bytes; report {report}, doctor {doctor}");
        for most in [report, doctor] {
            assert!(most < (320 << 20) + bytes, "{kind:?}: {most} bytes for a file of {bytes}");
        }
    }
}

/// What packs to a few kB is unpacked to 60 MB, once for each column.
#[test]
fn dictionaries_have_an_end_together_and_those_that_nobody_wants_are_not_unpacked() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = || Recording::open(file.path()).unwrap();
    let report = || {
        let options = Options { by: By::ALL.to_vec(), ..Options::default() };
        twtrace::present::report::read(open(), &options).unwrap()
    };
    Hostile::Columns.write(97, &mut File::create(file.path()).unwrap()).unwrap();
    let mut created = 0;
    let most = peak(|| created = report().total.counts.created);
    assert_eq!(created, 97, "columns of a later version are passed over");
    assert!(most < 64 << 20, "{most} bytes for columns that nobody knows");
    let mut events = 0;
    let most = peak(|| events = open().events().count());
    assert!(events == 97 && most < 64 << 20, "{events} events, {most} bytes");

    Hostile::Dictionaries.write(97, &mut File::create(file.path()).unwrap()).unwrap();
    let mut ended = None;
    let most = peak(|| ended = Some(open().end()));
    assert!(most < 320 << 20, "{most} bytes for all dictionaries");
    let Some(Ended::Missing { why }) = ended else { panic!("{ended:?}") };
    assert!(why.contains("bytes together, of which 134217728 at most are read"), "{why}");
    let mut numbers = open();
    numbers.only(&["event", "mono_ns"]);
    let mut rows = 0;
    let most = peak(|| rows = numbers.batches().map(|batch| batch.num_rows()).sum());
    assert!(rows == 97 && most < 64 << 20, "{rows} rows, {most} bytes");
}
