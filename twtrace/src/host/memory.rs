//! Owns: memory in large pieces, in huge pages where the kernel gives some (transparent_hugepage/enabled: `madvise` or `always`).
//! Must not know: what lies in it.
//!
//! Each event is about another of some 100,000 sockets, so each walks the page tables anew for the piece in which these lie; in a
//! virtual machine that is a walk of a walk.

use std::alloc::{GlobalAlloc, Layout, System};

/// The allocator of the program; the system's, but for large pieces.
#[derive(Debug)]
pub struct HugePages;

/// In so many bytes there is one whole huge page at least, wherever they begin.
const LARGE: usize = 2 * HUGE_PAGE;
/// Of x86_64 and of arm64 with pages of 4 KiB; larger ones are as well off with it.
const HUGE_PAGE: usize = 2 << 20;

// SAFETY: every call goes to the system's allocator as it came, and what that returns is returned; the kernel is told how to map it, which
// changes nothing that could be read.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        in_huge_pages(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        in_huge_pages(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        in_huge_pages(unsafe { System.realloc(at, layout, size) }, size)
    }
}

/// Asks for huge pages for all of a piece but its ends.
#[inline]
fn in_huge_pages(at: *mut u8, size: usize) -> *mut u8 {
    if size >= LARGE && !at.is_null() {
        let before = at.align_offset(HUGE_PAGE);
        let bytes = (size - before) / HUGE_PAGE * HUGE_PAGE;
        // SAFETY: it is a part of what was just allocated; where the kernel has no huge pages it says so, and nothing changes.
        unsafe { libc::madvise(at.add(before).cast(), bytes, libc::MADV_HUGEPAGE) };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the kernel was asked for huge pages at an address (proc_pid_smaps(5), `VmFlags`).
    fn is_asked_for(at: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_here = false;
        maps.lines().any(|line| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let ends = range.map(|(from, to)| [from, to].map(|end| usize::from_str_radix(end, 16)));
            if let Some([Ok(from), Ok(to)]) = ends {
                is_here = (from..to).contains(&at);
            }
            is_here && line.starts_with("VmFlags:") && line.split_whitespace().any(|flag| flag == "hg")
        })
    }

    #[test]
    fn large_pieces_are_in_huge_pages_however_they_came_about() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return eprintln!("skipped: this kernel has no transparent huge pages");
        }
        let small = Layout::from_size_align(64 << 10, 64).unwrap();
        let large = Layout::from_size_align(LARGE, 64).unwrap();
        let middle = |at: *mut u8| at as usize + LARGE / 2;
        // SAFETY: what is given back is what was got, with its layout; nothing is read or written.
        unsafe {
            let pieces = [HugePages.alloc(large), HugePages.alloc_zeroed(large)];
            let grown = HugePages.realloc(HugePages.alloc(small), small, LARGE);
            let shrunk = HugePages.realloc(HugePages.alloc(large), large, small.size());
            assert!(pieces.iter().chain([&grown]).all(|at| is_asked_for(middle(*at))));
            pieces.into_iter().chain([grown]).for_each(|at| HugePages.dealloc(at, large));
            HugePages.dealloc(shrunk, small);
        }
        // Nothing there that could be asked for.
        assert!(in_huge_pages(std::ptr::null_mut(), LARGE).is_null());
    }
}
