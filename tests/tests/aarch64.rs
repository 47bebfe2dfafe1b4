//! The device binary for ARM, run under qemu-user, gives the same answers as on x86-64.
//!
//! Binaries: those in `$GOLDCREST_AARCH64` (paths separated by colons), otherwise those that
//! `scripts/cross-build.sh` left in the target folder. Bundles: the embedded one, two tiny ones made here,
//! and all of `models/`. Emulation is slow, so all messages go only through the first binary and the small
//! bundles on Cortex-A53 and A76, and a share of them elsewhere (all of them everywhere if GOLDCREST_FULL is
//! set).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use goldcrest_tests::{
    Record, binary, bundles, compare, messages, records, report, root, run, run_ok, skip, target_dir,
    tiny_run,
};

/// Uses every n-th message where all of them would take too long.
const SHARE: usize = 8;
const GLIBC: &str = "/usr/aarch64-linux-gnu";
const LIMIT: Duration = Duration::from_secs(1200);

#[test]
fn cortex_a53_without_dot_product() {
    answers_as_on_x86_64("cortex-a53", 1);
}

#[test]
fn cortex_a72_without_dot_product() {
    answers_as_on_x86_64("cortex-a72", SHARE);
}

#[test]
fn cortex_a76_with_dot_product() {
    answers_as_on_x86_64("cortex-a76", 1);
}

#[test]
fn max_with_i8mm_and_sve() {
    answers_as_on_x86_64("max", SHARE);
}

/// Compares answers with x86-64. The first binary uses every `share`-th message on the small bundles; the
/// others use every n-th.
fn answers_as_on_x86_64(cpu: &str, share: usize) {
    let arm = arm_binaries();
    if arm.is_empty() {
        return skip("there is no aarch64 binary: scripts/cross-build.sh");
    }
    if Command::new("qemu-aarch64").arg("--version").output().is_err() {
        return skip("qemu-aarch64 is missing: apt-get install qemu-user");
    }
    let mut small: Vec<_> = tiny_bundles().iter().map(|bundle| (Some(bundle.clone()), share)).collect();
    if has_embedded_model() {
        small.push((None, share));
    } else {
        report("skipped: the embedded model, this build has none");
    }
    let models = bundles().into_iter().map(|bundle| (Some(bundle), SHARE));
    let mut failures = Vec::new();
    for (bundle, share) in small.into_iter().chain(models) {
        for (file, share) in arm.iter().zip([share].into_iter().chain(std::iter::repeat(SHARE))) {
            let share = if env::var_os("GOLDCREST_FULL").is_some() { 1 } else { share };
            if let Err(why) = same_answers(cpu, file, bundle.as_deref(), &every(share, &messages())) {
                failures.push(why);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn same_answers(cpu: &str, file: &Path, bundle: Option<&Path>, input: &[u8]) -> Result<(), String> {
    let model =
        bundle.and_then(Path::file_name).map_or("embedded model".into(), |name| name.to_string_lossy());
    let place = format!("{model}, {}, {cpu}", libc_of(file));
    let expected = classify(Command::new(binary("goldcrest-edge")), bundle, input);
    let start = Instant::now();
    let mut qemu = Command::new("qemu-aarch64");
    qemu.args(["-L", GLIBC, "-cpu", cpu]).arg(file);
    let got = classify(qemu, bundle, input);
    let d = compare(&expected, &got).map_err(|why| format!("{place}: {why}"))?;
    report(&format!(
        "{place}: {} messages, {} of {} logits differ, {} bits, largest difference {:e} ({:.1} s)",
        got.len(),
        d.logits_differing,
        d.logits,
        d.bits,
        d.largest,
        start.elapsed().as_secs_f32()
    ));
    // the numeric contract: bit-identical
    if d.logits > 0 && d.bits == 0 { Ok(()) } else { Err(format!("{place}: {d:?}")) }
}

/// Returns whether this build embeds a model. If the model is unusable, this returns true so that its test
/// fails.
fn has_embedded_model() -> bool {
    const USAGE: i32 = 2;
    run(Command::new(binary("goldcrest-edge")).arg("classify"), b"", LIMIT).status.code() != Some(USAGE)
}

/// Makes two bundles: one all in int8, one with some matrices in half precision.
fn tiny_bundles() -> &'static [PathBuf; 2] {
    static TINY: OnceLock<[PathBuf; 2]> = OnceLock::new();
    TINY.get_or_init(|| {
        let tiny = tiny_run("aarch64");
        let wide = tiny.folder.join("wide.bundle");
        let mut pack = Command::new(binary("goldcrest"));
        pack.arg("pack").arg(tiny.folder.join("out/student-2")).arg("-o").arg(&wide);
        pack.args([
            "--half",
            "key.weight",
            "--half",
            "intermediate.dense.weight",
            "--half",
            "classifier.weight",
        ]);
        run_ok(&mut pack, b"", LIMIT);
        [tiny.bundle, wide]
    })
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
        .filter(|path| {
            let stale = modified(path) < newest(&root().join("edge/src"));
            if stale {
                report(&format!(
                    "skipped: {} is older than its sources: scripts/cross-build.sh",
                    path.display()
                ));
            }
            !stale
        })
        .collect()
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|file| file.modified()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns when a file below a folder was last written to, without those for x86-64 only.
fn newest(folder: &Path) -> SystemTime {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|path| !path.ends_with("x86_64"));
    files
        .map(|path| if path.is_dir() { newest(&path) } else { modified(&path) })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns `musl` or `gnu`, for messages.
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
