//! Tests that the helpers of other tests can fail.

use std::fs;
use std::panic::catch_unwind;
use std::process::Command;
use std::time::{Duration, Instant};

use goldcrest_tests::{
    compare, messages, records, root, run, run_ok, scratch, voice_commands, write_tiny_checkpoint,
};

const RECORDS: &str = r#"{"n":1,"label":"yes","score":0.9,"tokens":7,"top":[{"label":"yes","score":0.9}],"logits":["3f800000","bf800000"]}
{"n":2,"error":"not UTF-8"}
"#;

#[test]
fn equal_records_are_equal_and_bits_are_counted() {
    let expected = records(RECORDS.as_bytes());
    let same = compare(&expected, &expected).unwrap();
    assert_eq!((same.logits, same.logits_differing, same.bits, same.largest), (2, 0, 0, 0.0));
    let got = compare(&expected, &records(RECORDS.replace("3f800000", "3f800003").as_bytes())).unwrap();
    assert_eq!((got.logits_differing, got.bits), (1, 2));
    assert!(got.largest > 1e-7 && got.largest < 1e-6, "{got:?}");
}

#[test]
fn unequal_records_are_found() {
    let expected = records(RECORDS.as_bytes());
    let first_line = RECORDS.split_inclusive('\n').next().unwrap();
    let changed = [
        RECORDS.replace("yes", "no"),
        RECORDS.replace("\"tokens\":7", "\"tokens\":8"),
        RECORDS.replace("\"n\":2", "\"n\":3"),
        RECORDS.replace("not UTF-8", "too long"),
        RECORDS.replace("3f800000", "7fc00000"),
        RECORDS.replace(",\"bf800000\"", ""),
        first_line.to_owned(),
        first_line.to_owned() + first_line,
    ];
    for other in changed {
        assert!(compare(&expected, &records(other.as_bytes())).is_err(), "{other}");
    }
}

#[test]
fn a_child_is_fed_and_read() {
    let input = vec![b'x'; 1 << 20]; // more than a pipe holds, both ways
    let done = run(&mut Command::new("cat"), &input, Duration::from_secs(60));
    assert!(done.status.success() && done.stdout == input);
}

#[test]
#[should_panic(expected = "not done after")]
fn a_child_that_hangs_is_ended() {
    run(Command::new("sleep").arg("600"), b"", Duration::from_millis(50));
}

/// The output of a child ends only when all that holds it has ended, which here would take ten minutes.
#[test]
fn what_a_child_has_started_is_ended_too() {
    for script in ["sleep 600 & wait", "sleep 600 &"] {
        let start = Instant::now();
        let ended =
            catch_unwind(|| run(Command::new("sh").args(["-c", script]), b"", Duration::from_millis(200)));
        assert!(ended.is_err() && start.elapsed() < Duration::from_secs(60), "{script}");
    }
}

#[test]
fn the_tiny_checkpoint_is_the_same_each_time() {
    let folder = scratch("checkpoint");
    let texts: String = voice_commands().into_iter().map(|(text, _)| text + "\n").collect();
    for name in ["one", "two"] {
        write_tiny_checkpoint(&folder.join(name), &texts);
    }
    for file in ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"] {
        assert!(
            fs::read(folder.join("one").join(file)).unwrap()
                == fs::read(folder.join("two").join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn recipes_come_after_what_they_need() {
    let list = |name: &str| {
        let mut script = Command::new(root().join("scripts/run-recipe.sh"));
        String::from_utf8(run_ok(script.args(["--list", name]), b"", Duration::from_secs(60))).unwrap()
    };
    assert_eq!(
        list("trec6"),
        "scripts/fetch-base.sh\ntarget/release/goldcrest train host/recipes/trec6-teacher.toml\ntarget/release/goldcrest run host/recipes/trec6.toml\n"
    );
    let recipes = fs::read_dir(root().join("host/recipes")).unwrap().map(|entry| entry.unwrap().path());
    for recipe in recipes.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        let name = recipe.file_stem().unwrap().to_str().unwrap();
        assert!(list(name).trim_end().ends_with(&format!("host/recipes/{name}.toml")), "{name}");
    }
}

#[test]
fn the_repository_s_data_is_in_order() {
    let commands = voice_commands();
    let mut labels: Vec<&str> = commands.iter().map(|(_, label)| label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), 12, "{labels:?}");
    for label in labels {
        assert!(commands.iter().filter(|(_, l)| l == label).count() >= 60, "{label}");
    }
    let mut texts: Vec<String> = commands
        .iter()
        .map(|(text, _)| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), ""))
        .collect();
    texts.sort_unstable();
    let all = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), all, "duplicates");

    let messages = messages();
    assert!(messages.ends_with(b"\n") && std::str::from_utf8(&messages).is_ok());
    let lines: Vec<&[u8]> = messages.split(|&b| b == b'\n').collect();
    assert!(lines.len() > 200 && lines.contains(&&b""[..]) && lines.iter().any(|l| l.len() > 1000));
}
