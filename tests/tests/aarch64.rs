//! The device binary for ARM, under qemu-user, gives the answers of the x86-64 one.
//!
//! Binaries: `$GOLDCREST_AARCH64` (paths, separated by colons), otherwise what `scripts/cross-build.sh` left in the
//! target folder. Bundles: the one embedded, all of `models/`, and a tiny one made here. Every binary meets every
//! bundle on a Cortex-A53 and an A76 with all messages, on an A72 and on `max` with some of them
//! (all of them when GOLDCREST_FULL is set).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use goldcrest_tests::{
    Record, binary, bundles, compare, messages, records, report, root, run_ok, skip, target_dir, tiny_run,
};

/// The numeric contract wants `true`.
const BIT_EQUAL: bool = false;
/// Allowed difference of a logit while it is `false`.
const TOLERANCE: f32 = 1e-4;

/// Without dot product: A53, A72. With it: A76. `max` has i8mm and SVE too.
/// Each with the share of the messages that it sees: every n-th.
const CPUS: [(&str, usize); 4] = [("cortex-a53", 1), ("cortex-a76", 1), ("cortex-a72", 8), ("max", 8)];
const GLIBC: &str = "/usr/aarch64-linux-gnu";
const LIMIT: Duration = Duration::from_secs(1200);

#[test]
fn answers_as_on_x86_64() {
    let arm = arm_binaries();
    if arm.is_empty() {
        return skip("there is no aarch64 binary: scripts/cross-build.sh");
    }
    if Command::new("qemu-aarch64").arg("--version").output().is_err() {
        return skip("qemu-aarch64 is missing: apt-get install qemu-user");
    }
    let tiny = tiny_run("aarch64");
    let models: Vec<Option<PathBuf>> =
        [None, Some(tiny.bundle)].into_iter().chain(bundles().into_iter().map(Some)).collect();
    let mut failures = Vec::new();
    for model in &models {
        let model = model.as_deref();
        let name = model.map_or("embedded model", |path| path.file_name().unwrap().to_str().unwrap());
        for (cpu, share) in CPUS {
            let share = if env::var_os("GOLDCREST_FULL").is_some() { 1 } else { share };
            let input = every(share, &messages());
            let expected = classify(Command::new(binary("goldcrest-edge")), model, &input);
            for file in &arm {
                let start = Instant::now();
                let mut qemu = Command::new("qemu-aarch64");
                qemu.args(["-L", GLIBC, "-cpu", cpu]).arg(file);
                let got = classify(qemu, model, &input);
                let place = format!("{name}, {}, {cpu}", libc_of(file));
                match compare(&expected, &got) {
                    Err(why) => failures.push(format!("{place}: {why}")),
                    Ok(d) => {
                        report(&format!(
                            "{place}: {} messages, {} of {} logits differ, {} bits, largest difference {:e} ({:.1} s)",
                            got.len(),
                            d.logits_differing,
                            d.logits,
                            d.bits,
                            d.largest,
                            start.elapsed().as_secs_f32()
                        ));
                        if d.logits == 0 {
                            failures.push(format!("{place}: no message was answered"));
                        }
                        if if BIT_EQUAL { d.bits > 0 } else { d.largest > TOLERANCE } {
                            failures.push(format!("{place}: {d:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn arm_binaries() -> Vec<PathBuf> {
    if let Some(paths) = env::var_os("GOLDCREST_AARCH64") {
        let paths: Vec<PathBuf> = env::split_paths(&paths).map(|path| root().join(path)).collect();
        for path in &paths {
            assert!(path.is_file(), "GOLDCREST_AARCH64: {} is missing", path.display());
        }
        return paths;
    }
    ["musl", "gnu"]
        .map(|libc| target_dir().join(format!("aarch64-unknown-linux-{libc}/release/goldcrest-edge")))
        .into_iter()
        .filter(|path| path.is_file())
        .collect()
}

/// `musl` or `gnu`, for messages.
fn libc_of(file: &Path) -> String {
    let triple = file
        .ancestors()
        .filter_map(Path::file_name)
        .map(|n| n.to_string_lossy())
        .find(|n| n.contains("linux-"));
    triple.and_then(|t| t.rsplit('-').next().map(String::from)).unwrap_or_else(|| file.display().to_string())
}

fn every(share: usize, messages: &[u8]) -> Vec<u8> {
    messages.split_inclusive(|&b| b == b'\n').step_by(share).flatten().copied().collect()
}

fn classify(mut command: Command, bundle: Option<&Path>, input: &[u8]) -> Vec<Record> {
    command.args(["classify", "--format", "jsonl", "--logits"]);
    if let Some(bundle) = bundle {
        command.arg("--bundle").arg(bundle);
    }
    let got = records(&run_ok(&mut command, input, LIMIT));
    let lines = input.iter().filter(|&&b| b == b'\n').count();
    assert_eq!(got.len(), lines, "{command:?}: one record a message");
    got
}
