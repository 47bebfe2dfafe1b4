//! From a CSV to labels with the two binaries, as a user runs them, and the failures they must survive.

mod host_commands;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use goldcrest_tests::{
    Record, TinyRun, binary, bundles, compare, messages, records, report, root, run, run_ok, tiny_recipe,
    tiny_run, voice_commands,
};
use sha2::{Digest, Sha256};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_csv_becomes_a_bundle_that_classifies() {
    let tiny = tiny();
    let labels: BTreeSet<String> = voice_commands().into_iter().map(|(_, label)| label).collect();

    // any input gives one record per line, in order
    let input =
        [&messages()[..], b"bad \xff\xfe utf-8\n", b"nul \0 inside\n", b"no newline at the end"].concat();
    let got = records(&run_ok(classify(&tiny.bundle).arg("--logits"), &input, MINUTE));
    assert_eq!(got.len(), input.split(|&b| b == b'\n').count());
    for (record, n) in got.iter().zip(1..) {
        assert_eq!(record.n, n);
        let Ok(answer) = &record.answer else { continue };
        assert!(labels.contains(answer.rest["label"].as_str().unwrap()), "{record:?}");
        assert_eq!(answer.logits.len(), labels.len());
        assert!(answer.score.is_some_and(|score| (0.0..=1.0).contains(&score)), "{record:?}");
    }

    // it has learnt something: guessing is right once in twelve
    let (texts, expected): (Vec<String>, Vec<String>) = voice_commands().into_iter().unzip();
    let got = records(&run_ok(
        classify(&tiny.bundle).arg("--logits"),
        (texts.join("\n") + "\n").as_bytes(),
        MINUTE,
    ));
    let right = got
        .iter()
        .zip(&expected)
        .filter(|(r, label)| r.answer.as_ref().is_ok_and(|a| a.rest["label"] == **label));
    let share = right.count() as f64 / expected.len() as f64;
    report(&format!("tiny model on its own training data: {:.1} % right", share * 100.0));
    assert!(share > 0.25, "{share}");
}

#[test]
fn labelled_texts_alone_are_enough() {
    let (folder, _) = tiny_recipe("labelled_texts");
    let texts = folder.join("my texts.csv");
    let rows = voice_commands().into_iter().take(200).map(|(text, label)| format!("\"{text}\",{label}\n"));
    fs::write(&texts, "text,label\n".to_owned() + &rows.collect::<String>()).unwrap();
    let run_texts = |more: &[&str]| {
        let mut command = Command::new(binary("goldcrest"));
        command.current_dir(&folder).args(["run", "my texts.csv", "--base", "base"]).args(more);
        run(&mut command, b"", 5 * MINUTE)
    };
    let first = run_texts(&[]);
    assert_eq!(first.status.code(), Some(0), "{}", first.stderr);
    let bundle = folder.join("runs/my-texts/my-texts.bundle");
    let answers = run_ok(classify(&bundle).arg("--logits"), b"turn on the light\n", MINUTE);
    assert_eq!(records(&answers).len(), 1);

    // the same command up to its checkpoint, which is there
    let mut train = Command::new(binary("goldcrest"));
    train.current_dir(&folder).args(["train", "my texts.csv", "--base", "base", "--json"]);
    let trained: serde_json::Value = serde_json::from_slice(&run_ok(&mut train, b"", MINUTE)).unwrap();
    let checkpoint = folder.join(trained["model"].as_str().unwrap());
    assert!(checkpoint.join("config.json").is_file() && trained["bundle"].is_null(), "{trained}");

    // existing files are not overwritten
    let other = run_texts(&["--student", "small"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        other.stderr.contains("runs/my-texts/recipe.toml already exists and differs"),
        "{}",
        other.stderr
    );
    assert!(bundle.is_file());

    // the checkpoint teaches the base, on texts without labels too
    fs::write(folder.join("log.txt"), "turn the lamp on\nhow warm is it outside\n").unwrap();
    let teacher = ["--teacher", trained["model"].as_str().unwrap(), "--unlabelled", "log.txt"];
    let taught = run_texts(&[&teacher[..], &["--output", "taught"]].concat());
    assert_eq!(taught.status.code(), Some(0), "{}", taught.stderr);
    assert!(folder.join("taught/student/config.json").is_file());
    assert!(folder.join("taught/my-texts.bundle").is_file());
    let missing = run_texts(&["--teacher", "nowhere", "--output", "none"]);
    assert!(missing.stderr.contains("nowhere: no such file or folder here; --teacher"), "{}", missing.stderr);
    assert!(!folder.join("none").exists());
}

#[test]
fn a_checkpoint_is_asked_and_packed_as_it_was_trained() {
    let (folder, recipe) = tiny_recipe("as_trained");
    let text = fs::read_to_string(&recipe).unwrap().replace("\"always\"", "\"never\"");
    let windows = "max_tokens = 16\nwindows = { overlap = 2, most = 3 }";
    fs::write(&recipe, text.replace("max_tokens = 48", windows)).unwrap();
    run_ok(&mut goldcrest_run(&recipe), b"", 5 * MINUTE);
    let student = folder.join("out/student-2");
    let of = |bundle: &Path| {
        let answers = run_ok(classify(bundle).arg("--logits"), &messages(), MINUTE);
        records(&answers)
    };

    let host = |arguments: &[&str]| {
        let mut command = Command::new(binary("goldcrest"));
        run_ok(command.args(arguments).arg(&student), &messages(), MINUTE)
    };

    let device = of(&folder.join("out/tiny.fp32.bundle"));
    let read_in_windows =
        |record: &Record| record.answer.as_ref().is_ok_and(|a| a.rest["tokens"].as_u64() > Some(16));
    assert!(device.iter().any(read_in_windows));
    let difference = compare(&device, &records(&host(&["predict", "--logits"]))).unwrap();
    assert!(difference.logits > 0 && difference.largest < 1e-4, "{difference:?}");

    let again = folder.join("again.bundle");
    host(&["pack", "--embedding-bits", "4", "-o", again.to_str().unwrap()]);
    let difference = compare(&of(&folder.join("out/tiny.bundle")), &of(&again)).unwrap();
    assert!(difference.logits > 0 && difference.bits == 0, "{difference:?}");
}

#[test]
fn a_bundle_is_evaluated_by_the_device_s_answers() {
    let (commands, bundle) = (voice_commands(), &tiny().bundle);
    let texts: String = commands.iter().map(|(text, _)| format!("{text}\n")).collect();
    let answers = records(&run_ok(classify(bundle).arg("--logits"), texts.as_bytes(), MINUTE));
    let answers = answers.iter().map(|record| &record.answer.as_ref().unwrap().rest["label"]);
    let right = answers.zip(&commands).filter(|(answer, (_, label))| *answer == label).count();
    let mut evaluate = Command::new(binary("goldcrest"));
    let rows = tiny().folder.join("answers.csv");
    evaluate
        .args(["evaluate", "--json", "--answers"])
        .args([&rows, bundle])
        .arg(root().join("host/recipes/data/voice_commands.csv"));
    let found: serde_json::Value = serde_json::from_slice(&run_ok(&mut evaluate, b"", MINUTE)).unwrap();
    assert_eq!(found["rows"], commands.len());
    let accuracy = found["model"]["metrics"]["accuracy"].as_f64().unwrap();
    assert!(
        (accuracy - right as f64 / commands.len() as f64).abs() < 1e-9 && right > 300,
        "{right} {accuracy}"
    );
    // the columns after the text, which may hold commas: label, answer, score, surprise
    let rows = fs::read_to_string(rows).unwrap();
    let rows: Vec<Vec<&str>> = rows.lines().skip(1).map(|row| row.rsplitn(5, ',').collect()).collect();
    assert_eq!(rows.len(), commands.len());
    assert_eq!(rows.iter().filter(|row| row[3] == row[2]).count(), right);
    let surprise: Vec<f64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert!(surprise.is_sorted_by(|a, b| a >= b) && rows[0][3] != rows[0][2], "{rows:?}");
}

/// A regression of several numbers: one column each.
#[test]
fn several_numbers_are_learned_and_told() {
    let (folder, recipe) = tiny_recipe("several_numbers");
    let texts = folder.join("numbers.csv");
    let commands = voice_commands();
    // of magnitudes so unlike that one could drown the other
    let numbers = |text: &str| [text.split_whitespace().count() as f64 / 1000.0, text.len() as f64 * -10.0];
    let row = |(text, _): &(String, String)| {
        let [words, length] = numbers(text);
        format!("{words},\"{text}\",{length}\n")
    };
    fs::write(&texts, "words,text,length\n".to_owned() + &commands.iter().map(row).collect::<String>())
        .unwrap();
    let text = fs::read_to_string(&recipe).unwrap();
    let data = format!("train = {texts:?}\ntext = \"text\"\nlabel = [\"words\", \"length\"]\n");
    let lines = text
        .lines()
        .map(|line| if line.starts_with("train = ") { data.clone() } else { line.to_owned() + "\n" });
    fs::write(&recipe, lines.collect::<String>()).unwrap();
    run_ok(&mut goldcrest_run(&recipe), b"", 5 * MINUTE);

    let (input, out): (String, _) =
        (commands.iter().map(|(text, _)| format!("{text}\n")).collect(), folder.join("out"));
    let of = |command: &mut Command| run_ok(command.arg("--logits"), input.as_bytes(), MINUTE);
    let answers = of(&mut classify(&out.join("tiny.bundle")));
    let scores = |line: &[u8]| -> Vec<(String, f64)> {
        let record: serde_json::Value = serde_json::from_slice(line).unwrap();
        let scores = record["scores"].as_array().unwrap().iter();
        scores
            .map(|score| (score["label"].as_str().unwrap().to_owned(), score["score"].as_f64().unwrap()))
            .collect()
    };
    let answered: Vec<_> =
        answers.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(scores).collect();
    assert_eq!(answered.len(), commands.len());
    // closer to the texts' own numbers than their mean is
    for (at, name) in ["words", "length"].into_iter().enumerate() {
        assert!(answered.iter().all(|scores| scores.len() == 2 && scores[at].0 == name));
        let gold: Vec<f64> = commands.iter().map(|(text, _)| numbers(text)[at]).collect();
        let mean = gold.iter().sum::<f64>() / gold.len() as f64;
        let squares =
            |other: &dyn Fn(usize) -> f64| (0..gold.len()).map(|i| (gold[i] - other(i)).powi(2)).sum::<f64>();
        let (of_model, of_mean) = (squares(&|i| answered[i][at].1), squares(&|_| mean));
        report(&format!("{name}: squared error {:.2} of the mean's", of_model / of_mean));
        assert!(of_model < 0.8 * of_mean, "{name}: {of_model} {of_mean}");
    }

    // the host says the same as the full-precision bundle
    let device = records(&of(&mut classify(&out.join("tiny.fp32.bundle"))));
    let mut predict = Command::new(binary("goldcrest"));
    let host = records(&of(predict.arg("predict").arg(out.join("student-2"))));
    let difference = compare(&device, &host).unwrap();
    assert!(difference.logits > 0 && difference.largest < 0.02, "{difference:?}");

    // columns that are called like the numbers need not be named
    let mut evaluate = Command::new(binary("goldcrest"));
    evaluate.args(["evaluate", "--json"]).arg(out.join("tiny.bundle")).arg(&texts);
    let found: serde_json::Value = serde_json::from_slice(&run_ok(&mut evaluate, b"", MINUTE)).unwrap();
    let pearson = |number: usize| found["per_number"][number]["pearson"].as_f64().unwrap();
    let mean = found["model"]["metrics"]["pearson"].as_f64().unwrap();
    assert!((mean - (pearson(0) + pearson(1)) / 2.0).abs() < 1e-9 && mean > 0.4, "{found}");
}

/// Errors are reported, without silent failures or panics.
/// On this processor; aarch64.rs compares with others.
#[test]
fn every_instruction_set_gives_the_same_answers() {
    let texts: Vec<u8> =
        messages().split_inclusive(|&byte| byte == b'\n').step_by(5).flatten().copied().collect();
    for bundle in bundles().iter().chain([&tiny().bundle]) {
        let with = |isa: &str| {
            let mut command = Command::new(binary("goldcrest-edge"));
            command.args(["--format", "jsonl", "--logits", "--bundle"]).arg(bundle).env("GOLDCREST_ISA", isa);
            run(&mut command, &texts, 5 * MINUTE)
        };
        let portable = with("portable");
        assert!(portable.status.success() && !portable.stdout.is_empty(), "{}", portable.stderr);
        let mut compared = Vec::new();
        for isa in ["avx2", "avx-vnni", "avx512-vnni", "avx512-amx", "neon", "neon-dot", "neon-i8mm"] {
            let got = with(isa);
            match got.status.code() {
                Some(2) => assert!(got.stderr.contains(isa), "{}", got.stderr),
                _ => {
                    assert!(got.stdout == portable.stdout, "{}, {isa}: {}", bundle.display(), got.stderr);
                    compared.push(isa);
                }
            }
        }
        report(&format!("{}: {}", bundle.display(), compared.join(", ")));
        assert_eq!(with("sse").status.code(), Some(2));
    }
}

#[test]
fn a_bundle_takes_no_more_memory_than_inspect_says() {
    for bundle in bundles().iter().chain([&tiny().bundle]) {
        let json = |arguments: &[&str]| -> serde_json::Value {
            let mut command = Command::new(binary("goldcrest-edge"));
            let output = run_ok(command.args(arguments).arg("--bundle").arg(bundle), b"", MINUTE);
            serde_json::from_slice(&output).unwrap()
        };
        for threads in ["1", "4"] {
            let stated = json(&["inspect", "--json", "--threads", threads]);
            let stated = stated["memory"]["peak_bytes"].as_u64().unwrap();
            let bench = json(&["bench", "--json", "--seconds", "0.05", "--threads", threads]);
            let taken = bench["peak_memory_kib"].as_u64().unwrap() * 1024;
            let name = format!("{}, {threads} threads", bundle.display());
            report(&format!("{name}: {taken} bytes at the peak, {stated} stated"));
            assert!(taken <= stated, "{name}: {taken} bytes, {stated} stated");
            // what is stated for the program is that of a plain build, and a little more
            assert!(stated < taken + (12 << 20), "{name}: {taken} bytes, {stated} stated");
        }
    }
}

#[test]
fn a_killed_run_continues_to_the_same_weights() {
    let whole = tiny_run("uninterrupted");
    let expected = digests(&whole.folder);
    assert!(expected.keys().any(|name| name.ends_with("model.safetensors")), "{:?}", expected.keys());

    let (folder, recipe) = tiny_recipe("killed");
    let mut killed = 0;
    for step in ["teacher/run-2", "student-1", "student-2"] {
        let mut child = goldcrest_run(&recipe).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let state = folder.join("out").join(step).join("state.safetensors");
        let end = Instant::now() + MINUTE;
        while Instant::now() < end && !state.exists() && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap(); // SIGKILL
        killed += usize::from(child.wait().unwrap().signal() == Some(9) && state.exists());
    }
    report(&format!("killed {killed} times after a training state was saved"));
    // an interrupt saves the current step and says so, also if it comes twice, as from timeout(1)
    let mut child = goldcrest_run(&recipe).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let training = lines.any(|line| line.contains("continues after step"));
    assert!(training, "the student that was killed goes on");
    // the shell's own `kill`: the program is not everywhere
    let kill = format!("kill -INT {0} && kill -INT {0}", child.id());
    assert!(Command::new("sh").arg("-c").arg(kill).status().unwrap().success());
    let errors: Vec<String> = lines.collect();
    match child.wait().unwrap().code() {
        Some(130) if errors.concat().contains("the same command continues") => {
            report("interrupted while it was trained")
        }
        // the last step was done
        code => {
            assert!(matches!(code, Some(0 | 130)), "{code:?}: {errors:?}");
            report(&format!("interrupted elsewhere: {code:?}"));
        }
    }
    assert!(killed > 0, "no kill met a saved training state");
    run_ok(&mut goldcrest_run(&recipe), b"", 5 * MINUTE);
    let got = digests(&folder);
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, digest) in &expected {
        assert_eq!(got[name], *digest, "{name} differs after the kills");
    }
    // averaged runs leave only their logs
    let teacher = folder.join("out/teacher");
    assert!(teacher.join("metrics-run-2.jsonl").is_file() && !teacher.join("run-2").exists());
}

#[test]
fn another_model_teaches_if_it_knows_the_same_labels() {
    let (folder, recipe) = tiny_recipe("other_teacher");
    let text = fs::read_to_string(&recipe).unwrap().replace("\"always\"", "\"never\"");
    let with = |teacher: &Path| {
        let line = format!("teachers = 1\nother_teachers = [{:?}]", teacher.to_str().unwrap());
        fs::write(&recipe, text.replace("teachers = 2", &line)).unwrap();
        run(&mut goldcrest_run(&recipe), b"", 5 * MINUTE)
    };
    let stranger = root().join("models/sentiment/sentiment.bundle");
    let refused = with(&stranger);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("sentiment.bundle: has to be trained for the same task"),
        "{}",
        refused.stderr
    );
    assert!(!folder.join("out/teacher").exists(), "refused before anything is trained");

    // answers for other options
    let answers = folder.join("out/answers");
    fs::create_dir_all(&answers).unwrap();
    fs::write(answers.join("0123456789abcdef.safetensors"), "").unwrap();
    let accepted = with(&tiny().bundle);
    assert_eq!(accepted.status.code(), Some(0), "{}", accepted.stderr);
    let asked = fs::read_dir(answers).unwrap().count();
    assert_eq!(asked, 3, "the teacher, the other one, and the first student");
}

/// Returns the run that these tests share; `scripts/test.sh` checks its files afterwards.
fn tiny() -> &'static TinyRun {
    static TINY: OnceLock<TinyRun> = OnceLock::new();
    TINY.get_or_init(|| tiny_run("end_to_end"))
}

fn goldcrest_run(recipe: &Path) -> Command {
    let mut command = Command::new(binary("goldcrest"));
    command.arg("run").arg(recipe).stdin(Stdio::null());
    command
}

fn classify(bundle: &Path) -> Command {
    let mut command = Command::new(binary("goldcrest-edge"));
    command.args(["classify", "--format", "jsonl", "--bundle"]).arg(bundle);
    command
}

/// Returns the SHA-256 of every weights file of the run, by path inside the folder.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![folder.join("out")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "model.safetensors") {
                let digest = Sha256::digest(fs::read(&path).unwrap());
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, digest.iter().map(|b| format!("{b:02x}")).collect());
            }
        }
    }
    found
}
