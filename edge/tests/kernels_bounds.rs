//! Kernels touch no memory but that of their slices and of their own buffers. Every allocation of this test ends
//! where a page begins that may not be touched, or begins where one ends: a byte too far, and SIGSEGV ends the test.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]
mod kernels_support;

use goldcrest_edge::kernels::{
    Activations, AttentionInput, AttentionScratch, Epilogue, FloatLinear, Kernels, Linear, Norm, Rows,
    Weights,
};
use kernels_support::{Random, available};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::AsRawFd;

/// The largest page size of all supported processors.
const PAGE: usize = 64 << 10;

/// Allocates whole pages between closed ones.
struct Guarded;

#[global_allocator]
static GUARDED: Guarded = Guarded;

thread_local! {
    /// Whether allocations of this thread end at a closed page, rather than begin at one.
    static AT_END: Cell<bool> = const { Cell::new(true) };
}

fn map(at: *mut u8, bytes: usize, fixed: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
    // SAFETY: new pages, or those of an allocation that is gone.
    unsafe { libc::mmap(at.cast(), bytes, libc::PROT_NONE, flags, -1, 0) }.cast()
}

// SAFETY: the open pages hold one allocation, which is aligned, as pages are.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PAGE {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let open = layout.size().next_multiple_of(PAGE);
        // a page on either side, and one because the system may use smaller pages
        let closed = map(std::ptr::null_mut(), open + 3 * PAGE, 0);
        let start = closed.map_addr(|at| at.next_multiple_of(PAGE) + PAGE);
        // SAFETY: these are some of the new pages.
        if unsafe { libc::mprotect(start.cast(), open, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return std::ptr::null_mut();
        }
        let unused = (open - layout.size()) / layout.align() * layout.align();
        start.wrapping_add(if AT_END.get() { unused } else { 0 })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if layout.align() > PAGE {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(at, layout) };
        }
        // closed for good, which finds late uses
        map(at.map_addr(|at| at / PAGE * PAGE), layout.size().next_multiple_of(PAGE), libc::MAP_FIXED);
    }
}

/// Runs `work` on every instruction set, without and with weights fetched ahead, and with both kinds of allocation.
fn guarded(work: impl Fn(Kernels)) {
    for at_end in [true, false] {
        AT_END.set(at_end);
        for kernels in available() {
            work(kernels);
            let weights = Weights::new(&[1; 64 * 48], 64, 48).unwrap();
            work(kernels.fetching(&Linear::pack(kernels, weights, &[1.0], &[]).unwrap()));
        }
    }
}

#[test]
fn neighbours_are_closed() {
    let (_reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the system checks the address.
    let readable = |at: *const u8| unsafe { libc::write(writer.as_raw_fd(), at.cast(), 1) == 1 };
    for size in [1, 1000, PAGE, 3 * PAGE + 1] {
        for at_end in [true, false] {
            AT_END.set(at_end);
            let range = vec![1u8; size].as_ptr_range();
            assert!(!readable(range.start), "late");
            let bytes = vec![1u8; size];
            let range = bytes.as_ptr_range();
            let (before, last) = (range.start.wrapping_sub(1), range.end.wrapping_sub(1));
            assert!(readable(range.start) && readable(last));
            assert!(!readable(if at_end { range.end } else { before }));
        }
    }
}

#[test]
fn linear() {
    for rows in (1..=18).chain([31, 33, 48]) {
        for inputs in [1, 4, 15, 16, 63, 64, 65] {
            for outputs in [1, 16, 17, 47, 48, 49] {
                let mut random = Random(rows as u64);
                let (x, w) = (random.floats(rows * inputs), random.weights(inputs * outputs));
                let bias = random.floats(outputs);
                guarded(|kernels| {
                    let (x, w, bias) = (x.clone(), w.clone(), bias.clone());
                    let weights = Weights::new(&w, inputs, outputs).unwrap();
                    let layer = Linear::pack(kernels, weights, &[0.01], &bias).unwrap();
                    let mut q = Activations::new(kernels, rows, inputs);
                    kernels.quantize_rows(&x, inputs, &mut q);
                    let mut out = vec![0.0; rows * outputs];
                    kernels.linear(&layer, &q, Epilogue::None, &mut out);
                    kernels.linear(&layer, &q, Epilogue::Gelu, &mut out);
                });
            }
        }
    }
}

#[test]
fn float_linear() {
    for rows in 1..=9 {
        for (inputs, outputs) in [(1, 1), (3, 15), (16, 16), (17, 17), (33, 50)] {
            guarded(|kernels| {
                let mut random = Random(rows as u64);
                let (x, w) = (random.floats(rows * inputs), random.floats(inputs * outputs));
                let layer =
                    FloatLinear::pack(w.into_iter(), inputs, outputs, &random.floats(outputs)).unwrap();
                let mut out = vec![0.0; rows * outputs];
                kernels.float_linear(&layer, &x, Epilogue::Gelu, &mut out);
            });
        }
    }
}

#[test]
fn rows() {
    for width in (1..=70).chain([127, 128, 129, 384]) {
        for rows in [1, 3] {
            guarded(|kernels| {
                let mut random = Random(width as u64);
                let (mut x, y) = (random.floats(rows * width), random.floats(rows * width));
                let (gamma, beta) = (random.floats(width), random.floats(width));
                let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
                let mut q = Activations::new(kernels, rows, width);
                kernels.layer_norm(&mut x, Some(&y), &norm, Some(&mut q));
                kernels.layer_norm(&mut x, None, &norm, None);
                kernels.dequantize_row(&random.weights(width), 0.01, &mut random.floats(width));
                kernels.add(&mut x, &y);
                for f in [Kernels::exp, Kernels::gelu, Kernels::tanh, Kernels::sigmoid, Kernels::softmax] {
                    f(kernels, &mut x);
                }
            });
        }
    }
}

#[test]
fn attention() {
    for keys in [1, 2, 4, 7, 15, 16, 17, 32, 33, 50] {
        for queries in (1..=9).chain([17]) {
            for (heads, head_size) in [(1, 1), (2, 7), (3, 16), (1, 17), (2, 32), (1, 33), (1, 128)] {
                let width = heads * head_size;
                // in matrices of their own, and in a matrix that they share
                for stride in [width, width + 5, 3 * width] {
                    guarded(|kernels| {
                        let matrix = |rows: usize| vec![0.5; (rows - 1) * stride + width];
                        let (q, k, v) = (matrix(queries), matrix(keys), matrix(keys));
                        let input = AttentionInput {
                            queries: Rows { data: &q, stride },
                            keys: Rows { data: &k, stride },
                            values: Rows { data: &v, stride },
                            query_count: queries,
                            key_count: keys,
                            heads,
                            head_size,
                            scale: 0.3,
                        };
                        let mut out = vec![0.0; queries * width];
                        kernels.attention(&input, &mut AttentionScratch::new(keys, head_size), &mut out);
                    });
                }
            }
        }
    }
}
