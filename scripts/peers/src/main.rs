//! `peers rten MODEL.onnx` answers each line `TOKENS MILLISECONDS` on stdin with the median time of one text in
//! microseconds; `peers rten-count MODEL.onnx` runs `TOKENS TEXTS` instead, and measures nothing; `peers ort-count
//! LIBRARY MODEL.onnx` (feature `ort`) does so with an ONNX Runtime; `peers peak BYTES` prints what the core can do at most:
//! products a second, and bytes a second of reading so many of them over and over.

use rten::{ModelOptions, RunOptions, ThreadPool, ValueOrView};
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rten", model] => serve(model, false),
        ["rten-count", model] => serve(model, true),
        #[cfg(feature = "ort")]
        ["ort-count", library, model] => ort_count(library, model),
        ["peak", bytes] => {
            println!("{}", peak::json(bytes.parse()?));
            Ok(())
        }
        _ => Err("usage: peers rten MODEL.onnx | peers rten-count MODEL.onnx | peers peak BYTES".into()),
    }
}

/// Runs as many texts of so many tokens as each line asks for.
#[cfg(feature = "ort")]
fn ort_count(library: &str, model: &str) -> Result<(), Box<dyn Error>> {
    use ort::session::{Session, SessionInputValue};
    use ort::value::Tensor;

    let environment = ort::init_from(library)?.build()?;
    let builder = Session::builder(&environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
    let mut session = { builder }.commit_from_file(model)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split_whitespace();
        let (Some(tokens), Some(texts)) = (fields.next(), fields.next()) else { continue };
        let (tokens, texts) = (tokens.parse::<usize>()?, texts.parse::<usize>()?);
        let values = |f: &dyn Fn(i64) -> i64| (0..tokens as i64).map(f).collect::<Vec<i64>>();
        let data = [values(&|i| 1000 + 37 * i), values(&|_| 1), values(&|_| 0)];
        let names = ["input_ids", "attention_mask", "token_type_ids"];
        for _ in 0..texts {
            let mut inputs = Vec::new();
            for (name, values) in names.iter().zip(&data) {
                let tensor = Tensor::from_array(([1, tokens], values.clone()))?;
                inputs.push((*name, SessionInputValue::from(tensor)));
            }
            session.run(inputs)?;
        }
    }
    Ok(())
}

fn serve(path: &str, count: bool) -> Result<(), Box<dyn Error>> {
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(path)?;
    let mut run = RunOptions::default();
    run.thread_pool = Some(Arc::new(ThreadPool::with_num_threads(1)));
    let output = model.output_ids()[0];
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let inputs: Vec<_> = names.iter().map(|name| model.node_id(name)).collect::<Result<_, _>>()?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split_whitespace();
        let (Some(tokens), Some(milliseconds)) = (fields.next(), fields.next()) else { continue };
        let (tokens, amount) = (tokens.parse::<usize>()?, milliseconds.parse::<u64>()?);
        let (least, length) = if count { (amount as usize, Duration::ZERO) } else { (5, Duration::from_millis(amount)) };
        let values = |f: &dyn Fn(usize) -> i32| (0..tokens).map(f).collect::<Vec<i32>>();
        let data = [values(&|i| 1000 + 37 * i as i32), values(&|_| 1), values(&|_| 0)];
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < least || begin.elapsed() < length {
            let start = Instant::now();
            let given: Vec<(_, ValueOrView)> = inputs
                .iter()
                .zip(&data)
                .map(|(id, values)| (*id, rten::Value::from_shape(&[1, tokens], values.clone()).unwrap().into()))
                .collect();
            model.run(given, &[output], Some(run.clone()))?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        println!("{}", times[times.len() / 2]);
        std::io::stdout().flush()?;
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_op_in_unsafe_fn)] // each body is one loop of intrinsics
mod peak {
    use std::arch::x86_64::*;
    use std::time::Instant;

    const ROUNDS: u64 = 20_000_000;

    /// The best of several tries: products (a multiplication and an addition) and bytes a second.
    pub fn json(bytes: usize) -> String {
        let best = |f: &dyn Fn() -> f64| (0..5).map(|_| f()).fold(0.0, f64::max);
        let (mut vnni, mut f32_wide) = (0.0, 0.0);
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512f") {
            // SAFETY: the features were asked for
            vnni = best(&|| unsafe { int8() });
            f32_wide = best(&|| unsafe { floats() });
        }
        let avx2 = if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let memory = Pages::new(bytes);
            // SAFETY: these features were asked for, too
            unsafe { (best(&|| int16()), best(&|| floats_avx2()), best(&|| read(memory.blocks()))) }
        } else {
            (0.0, 0.0, 0.0)
        };
        format!(
            r#"{{"avx512_vnni_int8": {vnni}, "avx512_f32": {f32_wide}, "avx2_int16": {}, "avx2_f32": {}, "bytes": {}}}"#,
            avx2.0, avx2.1, avx2.2
        )
    }

    /// Memory in large pages where Linux gives them.
    struct Pages {
        memory: Vec<u8>,
        bytes: usize,
    }

    impl Pages {
        const SIZE: usize = 2 << 20;

        fn new(bytes: usize) -> Pages {
            unsafe extern "C" {
                fn madvise(address: *mut u8, length: usize, advice: i32) -> i32;
            }
            const MADV_HUGEPAGE: i32 = 14;
            let mut memory: Vec<u8> = Vec::with_capacity(bytes.next_multiple_of(Self::SIZE) + Self::SIZE);
            let begin = memory.as_ptr().align_offset(Self::SIZE);
            // SAFETY: the pages lie within what was allocated; the call only advises.
            unsafe { madvise(memory.as_mut_ptr().add(begin), bytes.next_multiple_of(Self::SIZE), MADV_HUGEPAGE) };
            memory.resize(begin + bytes, 1);
            Pages { memory, bytes }
        }

        fn blocks(&self) -> &[__m256i] {
            let bytes = &self.memory[self.memory.len() - self.bytes..];
            // SAFETY: any bits are a value.
            unsafe { bytes.align_to().1 }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn read(blocks: &[__m256i]) -> f64 {
        let mut s = [_mm256_setzero_si256(); 8];
        let times = (1 << 30) / size_of_val(blocks) + 1;
        let begin = Instant::now();
        for _ in 0..times {
            for blocks in blocks.chunks_exact(8) {
                for (sum, block) in s.iter_mut().zip(blocks) {
                    *sum = _mm256_xor_si256(*sum, *block);
                }
            }
            std::hint::black_box(&mut s);
        }
        (times * size_of_val(blocks)) as f64 / begin.elapsed().as_secs_f64()
    }

    /// Ten independent sums, kept in registers: the optimiser must neither merge them nor compute them ahead.
    macro_rules! registers {
        ($register:ident, $type:ty, $zero:expr, $step:expr, $products:expr) => {{
            let step = $step;
            let mut s: [$type; 10] = [$zero; 10];
            let begin = Instant::now();
            for _ in 0..ROUNDS / 10 {
                for sum in &mut s {
                    *sum = step(*sum);
                    // an empty statement that may change the register
                    std::arch::asm!("/* {0} */", inout($register) *sum);
                }
            }
            std::hint::black_box(s);
            (ROUNDS * $products) as f64 / begin.elapsed().as_secs_f64()
        }};
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn int8() -> f64 {
        let (a, b) = (_mm512_set1_epi8(std::hint::black_box(3)), _mm512_set1_epi8(std::hint::black_box(5)));
        registers!(zmm_reg, __m512i, _mm512_setzero_si512(), |s| _mm512_dpbusd_epi32(s, a, b), 64)
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn floats() -> f64 {
        let (a, b) = (_mm512_set1_ps(std::hint::black_box(0.5)), _mm512_set1_ps(std::hint::black_box(0.25)));
        registers!(zmm_reg, __m512, _mm512_setzero_ps(), |s| _mm512_fmadd_ps(a, b, s), 16)
    }

    #[target_feature(enable = "avx2")]
    unsafe fn int16() -> f64 {
        let (a, b) = (_mm256_set1_epi16(std::hint::black_box(3)), _mm256_set1_epi16(std::hint::black_box(5)));
        let step = |s: __m256i| {
            let mut product = a;
            // opaque, or the product would be computed once
            std::arch::asm!("/* {0} */", inout(ymm_reg) product);
            _mm256_add_epi32(s, _mm256_madd_epi16(product, b))
        };
        registers!(ymm_reg, __m256i, _mm256_setzero_si256(), step, 16)
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn floats_avx2() -> f64 {
        let (a, b) = (_mm256_set1_ps(std::hint::black_box(0.5)), _mm256_set1_ps(std::hint::black_box(0.25)));
        registers!(ymm_reg, __m256, _mm256_setzero_ps(), |s| _mm256_fmadd_ps(a, b, s), 8)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod peak {
    pub fn json(_bytes: usize) -> String {
        "{}".into()
    }
}
