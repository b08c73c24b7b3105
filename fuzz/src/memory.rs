//! How much memory a call takes at most: the size of what comes from outside must bound it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's; the numbers beside it touch no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed).wrapping_add(layout.size());
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Octets that one node of a parsed document takes, and one octet of a value that grows most when it is
/// written out; and what any call takes.
const PER_OCTET: usize = 400;
const BASE: usize = 256 * 1024;

/// Runs `call` on an input of `length` octets and sees that it takes no more memory than that allows.
pub fn bounded<T>(length: usize, call: impl FnOnce() -> T) -> T {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = call();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    assert!(taken <= BASE + PER_OCTET * length, "{taken} octets of memory for an input of {length}");
    result
}
