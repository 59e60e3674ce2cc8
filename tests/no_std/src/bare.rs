//! What std would have brought: an allocator, a panic handler, and the names that the linker asks
//! for because the shipped `alloc` was built to unwind.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicUsize, Ordering};

#[link(name = "c")]
unsafe extern "C" {
    fn puts(text: *const c_char) -> c_int;
    fn abort() -> !;
}

/// Prints a line.
pub fn print(text: &CStr) {
    // SAFETY: a C string, and `puts` keeps nothing of it.
    unsafe { puts(text.as_ptr()) };
}

const HEAP: usize = 4 * 1024 * 1024;

/// Hands out memory from one block, and takes none back: enough for a proof.
struct Bump {
    heap: UnsafeCell<[u8; HEAP]>,
    used: AtomicUsize,
}

// SAFETY: each byte is handed out once.
unsafe impl Sync for Bump {}

// SAFETY: what is returned is inside the block, aligned, and handed out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() + layout.align();
        let start = self.used.fetch_add(size, Ordering::Relaxed);
        if start + size > HEAP {
            return core::ptr::null_mut();
        }
        let base = self.heap.get().cast::<u8>();
        // SAFETY: `start` is inside the block.
        let free = unsafe { base.add(start) };
        // SAFETY: there is room for the alignment.
        unsafe { free.add(free.align_offset(layout.align())) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump =
    Bump { heap: UnsafeCell::new([0; HEAP]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    print(c"panic");
    // SAFETY: it ends the process.
    unsafe { abort() }
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}
