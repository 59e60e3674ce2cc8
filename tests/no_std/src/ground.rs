//! The ground that std would be: memory, a panic handler, output, and the symbols that the shipped
//! `alloc` asks for.
//!
//! The only place with `unsafe`, together with [`crate::lock`].

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use dace_core::Lock;

use crate::lock::Spin;

#[link(name = "c")]
unsafe extern "C" {
    fn write(fd: i32, bytes: *const u8, len: usize) -> isize;
    fn _exit(code: i32) -> !;
}

/// A file descriptor to print to.
pub(crate) struct Output(pub(crate) i32);

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: pointer and length are those of `text`, which outlives the call.
        let written = unsafe { write(self.0, text.as_ptr(), text.len()) };
        if usize::try_from(written) == Ok(text.len()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    // Nobody is left to tell if this fails.
    let _ = writeln!(Output(2), "{info}");
    // SAFETY: takes a number, and does not return.
    unsafe { _exit(101) }
}

/// The shipped `alloc` is built to unwind, and names these two. With `panic = "abort"` nobody calls
/// them.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds here")
}

/// A heap in a static: blocks are powers of two, cut off the arena once, and kept in one free list
/// per size afterwards.
struct Heap {
    arena: UnsafeCell<Arena>,
    free: Spin<Free>,
    live: AtomicUsize,
}

#[repr(align(4096))]
struct Arena([u8; ARENA]);

struct Free {
    cut: usize,
    lists: [*mut u8; usize::BITS as usize],
}

const ARENA: usize = 4 << 20;
/// A free block holds the pointer to the next.
const SMALLEST: usize = size_of::<*mut u8>();
const LARGEST_ALIGN: usize = align_of::<Arena>();

// SAFETY: a block is owned by whoever got it, and everything else is behind the lock.
unsafe impl Sync for Heap {}
// SAFETY: the pointers lead into the arena, which is a static.
unsafe impl Send for Free {}

#[global_allocator]
static HEAP: Heap = Heap {
    arena: UnsafeCell::new(Arena([0; ARENA])),
    free: Spin::new_const(Free {
        cut: 0,
        lists: [ptr::null_mut(); usize::BITS as usize],
    }),
    live: AtomicUsize::new(0),
};

/// Blocks that are in use.
pub(crate) fn live_blocks() -> usize {
    HEAP.live.load(Ordering::Relaxed)
}

fn block_size(layout: Layout) -> Option<usize> {
    layout
        .size()
        .max(layout.align())
        .max(SMALLEST)
        .checked_next_power_of_two()
}

// SAFETY: blocks are at least as large and as aligned as asked for, and given to one owner at a time.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = block_size(layout) else {
            return ptr::null_mut();
        };
        if layout.align() > LARGEST_ALIGN {
            return ptr::null_mut();
        }
        let block = self.free.with(|free| {
            let list = &mut free.lists[size.trailing_zeros() as usize];
            if !list.is_null() {
                let block = *list;
                // SAFETY: `dealloc` wrote the next pointer there, and nobody had the block since.
                *list = unsafe { block.cast::<*mut u8>().read() };
                return block;
            }
            let start = free.cut.next_multiple_of(size.min(LARGEST_ALIGN));
            let Some(end) = start.checked_add(size).filter(|end| *end <= ARENA) else {
                return ptr::null_mut();
            };
            free.cut = end;
            // SAFETY: the arena is a static, and `start` lies inside it.
            unsafe { (&raw mut (*self.arena.get()).0).cast::<u8>().add(start) }
        });
        if !block.is_null() {
            self.live.fetch_add(1, Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(size) = block_size(layout) else {
            return;
        };
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.free.with(|free| {
            let list = &mut free.lists[size.trailing_zeros() as usize];
            // SAFETY: the block is free, large enough for a pointer, and aligned to its size.
            unsafe { block.cast::<*mut u8>().write(*list) };
            *list = block;
        });
    }
}
