//! How `goldcrest` treats wrong usage, pipes, redirections and limits.
use super::*;

#[test]
fn the_host_says_what_is_wrong() {
    let tiny = tiny();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (base, student) = (path(&tiny.folder.join("base")), path(&tiny.folder.join("out/student-2")));
    let bundle = path(&tiny.bundle);
    let host = |arguments: &[&str]| {
        let done = run(Command::new(binary("goldcrest")).args(arguments), b"hello\n\xff\nhello\n", MINUTE);
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), done.stderr)
    };
    let (code, out, error) = host(&["predict", &base]);
    assert!(
        code == Some(1) && error.contains("no whole classifier"),
        "a head drawn at random: {out} {error}"
    );
    let (code, out, error) = host(&["predict", &student, "--max-tokens", "48"]);
    let lines: Vec<_> = out.lines().collect();
    assert!(code == Some(0) && lines.len() == 3 && lines[1].contains("not valid UTF-8"), "{out} {error}");
    let (code, _, error) = host(&["predict", &student, "--max-tokens", "512"]);
    assert!(code == Some(2) && error.contains("positions"), "{error}");
    assert_eq!(host(&["compare", &bundle, &bundle, "x.csv", "--max-drop", "nan"]).0, Some(2));
    assert_eq!(host(&["pack", "x", "-o", "y", "--max-tokens", "513"]).0, Some(2));
    assert!(host(&["inspect", &bundle]).2.contains("goldcrest-edge inspect"));
    assert!(host(&["inspect", &student]).1.contains("reads texts of up to 48 tokens\n"));
    let (code, _, error) = host(&["evaluate", &student, "x.csv"]);
    assert!(code == Some(1) && error.contains("is not a file, but the folder of a checkpoint"), "{error}");
    for arguments in [["pack", "--fp32"], ["export", "--int8"]] {
        let weights = path(&tiny.folder.join("out/student-2/model.safetensors"));
        let (code, _, error) = host(&[&arguments[..], &[&student, "-o", &weights]].concat());
        assert!(code == Some(1) && error.contains("name another output"), "{error}");
    }
    let (code, _, error) = host(&["pack", &student, "-o", "never.bundle", "--golden", "/dev/null"]);
    assert!(code == Some(1) && error.contains("holds no message"), "{error}");
    // a full disk
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(binary("goldcrest")).args(["inspect", &base]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// As a shell sets them up: pipes, redirections and limits.
#[test]
fn the_host_suits_a_shell() {
    let tiny = tiny();
    let folder = tiny.folder.join("shell");
    fs::create_dir(&folder).unwrap();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(binary("goldcrest")).current_dir(&folder);
        command.env("MODEL", tiny.folder.join("out/student-2")).env("BUNDLE", &tiny.bundle);
        let done = run(&mut command, b"weather\train\nlight\tlamp\nweather\tcold\nlight\tdark\n", MINUTE);
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), done.stderr)
    };
    // nothing of a pipe is lost
    let (code, out, error) = shell("cat | \"$0\" inspect --format lines /dev/stdin");
    assert!(code == Some(0) && out.contains("2  weather") && out.contains("2  light"), "{out} {error}");
    let (code, out, error) = shell("head -n 1 | \"$0\" inspect --format lines /dev/stdin");
    assert!(code == Some(0) && out.contains("there is nothing to learn"), "{out} {error}");
    // which cannot be read again
    let (code, _, error) = shell("cat | \"$0\" run --format lines /dev/stdin");
    assert!(code == Some(1) && error.contains("is not a regular file"), "{error}");
    // the limit is for a failure, which would fill the disk
    let (code, _, error) =
        shell("echo light > own; ulimit -f 64; \"$0\" predict \"$MODEL\" --max-tokens 48 own >> own");
    assert!(code == Some(1) && error.contains("own: the input file is also the output"), "{error}");
    // the rows of a table in their order, empty ones too
    let (code, out, error) = shell(
        "printf 'text\\tlabel\\n\"light\\nlamp\"\\tlight\\n\\train\\ndark\\tlight\\n' > a.tsv; \"$0\" predict \"$BUNDLE\" a.tsv --csv",
    );
    let lines: Vec<_> = out.lines().collect();
    assert!(code == Some(0) && lines.len() == 5 && lines[0] == "line,text,answer,score", "{out} {error}");
    assert!(
        lines[1] == "2,\"light" && lines[3].starts_with("4,,") && lines[4].starts_with("5,dark,"),
        "{out}"
    );
    let (code, records, error) =
        shell("cut -f 1 | \"$0\" predict \"$BUNDLE\" - --format tsv --text 1 --header false");
    assert!(code == Some(0) && records.lines().count() == 4, "{records} {error}");
    let device = shell("cut -f 1 | \"${0}-edge\" --bundle \"$BUNDLE\" --format jsonl");
    assert_eq!(records, device.1);
    let (code, _, error) = shell("echo light > b; \"$0\" predict \"$BUNDLE\" a.tsv b");
    assert!(code == Some(2) && error.contains("do not go together"), "{error}");
    let (code, _, error) = shell("\"$0\" predict \"$BUNDLE\" --pairs b");
    assert!(code == Some(2) && error.contains("a bundle says itself"), "{error}");
    let (code, _, error) = shell("ulimit -f 1; \"$0\" pack \"$MODEL\" --max-tokens 48 -o packed.bundle");
    assert!(code == Some(1) && error.contains("packed.bundle: File too large"), "{error}");
    for name in ["a.tsv", "b"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["own"]);
}
