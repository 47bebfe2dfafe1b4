use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

#[test]
fn csv_with_quotes_newlines_and_blank_lines_keeps_line_numbers() {
    let data =
        read("a.csv", "\u{feff}text,label\n\n\"one, two\n\nthree\",b\n\n\nfour,a\r\n\"say \"\"hi\"\"\",a")
            .unwrap();
    assert_eq!(rows(&data), [(3, "one, two\n\nthree", "b"), (8, "four", "a"), (9, "say \"hi\"", "a")]);
    assert_eq!(data.labels.names(), ["a", "b"]);
    assert_eq!(data.files[0].reading, "csv, header, quoted, text `text`, label `label`");
}

#[test]
fn rows_between_two_stray_quotes_are_told() {
    let rows = "one,a\ntwo,b\n\"three,a\nfour,b\nfive,a\nsix,b\nseven\",a\neight,b\n";
    let data = read("a.csv", format!("text,label\n{rows}")).unwrap();
    assert_eq!(data.len(), 4);
    let reading = &data.files[0].reading;
    assert!(reading.contains("the row at line 4 spans 5 lines that look like rows"), "{reading}");
    // lines with as many commas, but without labels
    let prose = rows.replace("four,b", "four, by").replace("five,a", "five, as").replace("six,b", "six, but");
    let data = read("a.csv", format!("text,label\n{prose}")).unwrap();
    assert_eq!(data.files[0].reading, "csv, header, quoted, text `text`, label `label`");
}

#[test]
fn tsv_comes_quoted_or_not() {
    let quoted = read("a.tsv", "text\tlabel\n\"a\t\"\"b\"\"\"\tx\nc\ty\n").unwrap();
    assert_eq!(rows(&quoted), [(2, "a\t\"b\"", "x"), (3, "c", "y")]);
    let plain = read("a.tsv", "text\tlabel\n\"open\tx\n\"said\" she\ty\n").unwrap();
    assert_eq!(rows(&plain), [(2, "\"open", "x"), (3, "\"said\" she", "y")]);
    let both = message(read("a.tsv", "label\ttext\nx\t\"open\ny\tclosed\"\nx\tz\n"));
    assert_eq!(
        both,
        "a.tsv: line 2 opens a quote that closes on another line, and also reads as text; decide it with --quoting (`quoting` under [data] in a recipe)"
    );
}

#[test]
fn lines_have_no_quoting_and_split_at_the_first_tab() {
    let data = read("sms.txt", "ham\t\"Hi\" you\nspam\tbuy\tnow \"\n\nham\tok\n").unwrap();
    assert_eq!(rows(&data), [(1, "\"Hi\" you", "ham"), (2, "buy\tnow \"", "spam"), (4, "ok", "ham")]);
}

#[test]
fn a_number_with_zeros_before_it_is_a_name() {
    assert_eq!(["3", "03", "+3", "x"].map(Column::given), [3.into(), "03".into(), "+3".into(), "x".into()]);
}

#[test]
fn json_lines_take_strings_numbers_and_arrays() {
    let data =
        read("a.jsonl", "{\"text\":\"a\",\"label\":10}\n\n{\"label\":9,\"text\":\"b\\nc\"}\n").unwrap();
    assert_eq!(rows(&data), [(1, "a", "10"), (3, "b\nc", "9")]);
    assert_eq!(data.labels.names(), ["9", "10"], "integers sort by value");
    let array =
        read("a.json", "[\n {\"text\": \"a, b\", \"label\": 10},\n\n {\"label\": 9,\n \"text\": \"]\"}\n]\n")
            .unwrap();
    assert_eq!(rows(&array), [(2, "a, b", "10"), (4, "]", "9")]);
    let on_one_line =
        read("a.json", "\n[{\"text\": \"a\", \"label\": \"x\"}, {\"text\": \"b\", \"label\": \"y\"}]\n")
            .unwrap();
    assert_eq!(rows(&on_one_line), [(1, "a", "x"), (2, "b", "y")], "objects count as lines");
    let multi =
        read("a.jsonl", "{\"text\":\"a\",\"labels\":[\"y\",\"x\",\"y\"]}\n{\"text\":\"b\",\"labels\":[]}")
            .unwrap();
    assert_eq!(multi.task, Task::MultiLabel);
    assert_eq!(multi.examples[0].target, Target::Classes(vec![0, 1]));
    assert_eq!(multi.examples[1].target, Target::Classes(vec![]));
    assert_eq!(multi.class_counts(), [1, 1]);
}

#[test]
fn pairs_scores_positions_and_separators() {
    let pairs = read("a.csv", "id,sentence1,sentence2,score\n1,a,b,0.5\n2,c,d,5\n").unwrap();
    assert_eq!((pairs.task, pairs.is_paired()), (Task::Regression, true));
    assert_eq!(pairs.examples[1].pair.as_deref(), Some("d"));
    assert_eq!(pairs.examples[1].target, Target::number(5.0));

    let folder = Folder::new();
    let mut source = folder.file("b.data", "a;x\nb;y\n");
    source.format = Format::Csv;
    source.delimiter = Some(';');
    (source.text, source.label, source.header) = (Some(1.into()), Some(2.into()), Some(false));
    let data = Dataset::read(&[source], None, None).unwrap();
    assert_eq!(rows(&data), [(1, "a", "x"), (2, "b", "y")]);
    assert_eq!(data.files[0].reading, "csv, no header, quoted, text 1, label 2");

    let mut source = folder.file("c.csv", "text,labels\na,joy; fear\nb,\nc,joy\n");
    source.label_separator = Some(";".to_owned());
    let data = Dataset::read(&[source], None, None).unwrap();
    let targets: Vec<&Target> = data.examples.iter().map(|example| &example.target).collect();
    assert_eq!(targets, [&Target::Classes(vec![0, 1]), &Target::Classes(vec![]), &Target::Classes(vec![1])]);
}

#[test]
fn several_files_are_one_dataset() {
    let folder = Folder::new();
    let sources = [
        folder.file("a.csv", "text,label\na,x\n"),
        folder.file("b.jsonl", "{\"text\":\"b\",\"label\":\"y\"}"),
    ];
    let data = Dataset::read(&sources, None, None).unwrap();
    assert_eq!(rows(&data), [(2, "a", "x"), (1, "b", "y")]);
    assert_eq!(data.place(&data.examples[1]).path, sources[1].path);
}

#[test]
fn utf16_from_excel_is_read() {
    let table = "text\tlabel\ndas ist schön 🦜\tja\nnein danke\tnein\n";
    for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let bytes: Vec<u8> =
            "\u{feff}".encode_utf16().chain(table.encode_utf16()).flat_map(to_bytes).collect();
        let data = read("a.txt", bytes).unwrap();
        assert_eq!((data.len(), data.examples[0].text.as_str()), (2, "das ist schön 🦜"));
    }
}

#[test]
fn given_column_names_ignore_case() {
    let folder = Folder::new();
    let named = |header: &str| {
        let mut source = folder.file("a.csv", format!("{header}\na,b,x\nc,d,y\n"));
        (source.text, source.label) = (Some("nachricht".into()), Some("art".into()));
        Dataset::read(&[source], None, None)
    };
    let reading = named("Nachricht,Nr,Art").unwrap().files[0].reading.clone();
    assert_eq!(reading, "csv, header, quoted, text `Nachricht`, label `Art`; not used: `Nr`");
    assert_eq!(named("NACHRICHT,nachricht,Art").unwrap().examples[0].text, "b");
    assert!(message(named("NACHRICHT,Nachricht,Art")).contains("nachricht"), "two could be meant");
}

#[test]
fn possible_lists_of_labels_are_reported() {
    let rows = "text,kind\na,Bill\nb,Late\nc,\"Bill, Late\"\nd,Bill\n";
    let folder = Folder::new();
    let warnings = |separator: Option<&str>| {
        let label_separator = separator.map(str::to_owned);
        let source = Source { label_separator, label: Some("kind".into()), ..folder.file("a.csv", rows) };
        let data = Dataset::read(&[source], None, None).unwrap();
        data.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(warnings(None).contains("labels made of others: 1, such as `Bill, Late`"), "{}", warnings(None));
    assert!(!warnings(Some(",")).contains("made of others") && !warnings(Some(",")).contains("no row has"));
    assert!(warnings(Some("|")).contains("no row has `|` between labels"));
}

/// Rows with several labels are not left out as if their label were unknown.
#[test]
fn labels_of_held_out_data_that_are_not_separated_are_told() {
    let folder = Folder::new();
    let lists = folder
        .file("t.jsonl", "{\"text\":\"a\",\"labels\":[\"x\",\"y\"]}\n{\"text\":\"b\",\"labels\":[\"z\"]}\n");
    let train = Dataset::read(&[lists], Some(Task::MultiLabel), None).unwrap();
    let rows = "q,x\n".repeat(40);
    let read = |label: &str, separator: Option<&str>| {
        let file = folder.file("d.csv", format!("text,labels\n{rows}r,\"{label}\"\n"));
        train.read_like(&[Source { label_separator: separator.map(str::to_owned), ..file }])
    };
    let told = message(read("x, z", None));
    assert!(told.starts_with("d.csv:42: ") && told.contains("--label-separator"), "{told}");
    assert_eq!(read("x, z", Some(",")).unwrap().examples[40].target, Target::Classes(vec![0, 2]));
    assert_eq!(read("x, w", None).unwrap().left_out(), 1, "no two labels");
}

#[test]
fn held_out_data_follows_the_training_data() {
    let folder = Folder::new();
    let train = Dataset::read(&[folder.file("t.csv", "text,label\na,x\nb,y\nc,z\n")], None, None).unwrap();
    let dev = train.read_like(&[folder.file("d.csv", "text,label\nq,z\n")]).unwrap();
    assert_eq!(dev.examples[0].target, Target::Class(2));
    assert_eq!(
        message(train.read_like(&[folder.file("d.csv", "text,label\nq,x\nr,w\n")])),
        "d.csv:3: unknown label `w`; the labels are `x`, `y`, `z`"
    );
    assert_eq!(
        message(train.read_like(&[folder.file("d.csv", "text,label\nq,w\nr,Z\ns,v\n")])),
        "d.csv:3: unknown label `Z`, another spelling of `z` (2 more rows have unknown labels); the labels are `x`, `y`, `z`"
    );
    // two unknown labels in 41 rows are skipped and reported
    let rows = "q,x\n".repeat(39);
    let dev = train.read_like(&[folder.file("d.csv", format!("text,label\n{rows}r,w\nr,v\n"))]).unwrap();
    assert_eq!(dev.len(), 39);
    let reading = &dev.files[0].reading;
    assert!(
        reading.ends_with("2 of 41 rows are left out: their labels are unknown (`v` 1, `w` 1)"),
        "{reading}"
    );
    assert_eq!(dev.left_out(), 2);
    assert!(train.read_like(&[folder.file("d.csv", format!("text,label\n{rows}r,w\nr,v\nr,u\n"))]).is_err());
    // but another spelling of a known label is an error
    let misspelt = train.read_like(&[folder.file("d.csv", format!("text,label\n{rows}r, Z\n"))]);
    assert!(message(misspelt).contains("unknown label"));
    assert_eq!(
        message(train.read_like(&[folder.file("d.csv", "text_a,text_b,label\nq,r,x\n")])),
        "d.csv:2: two texts where the other rows have one"
    );
    let labels = Labels::ordered(vec!["z".to_owned(), "x".to_owned(), "y".to_owned()]).unwrap();
    let fixed = Dataset::read(&[folder.file("t.csv", "text,label\na,x\nb,y\n")], None, Some(labels)).unwrap();
    assert_eq!(fixed.examples[0].target, Target::Class(1));
    let stars = Labels::ordered(vec!["1".to_owned(), "2".to_owned()]).unwrap();
    let stars = Dataset::read(&[folder.file("s.csv", "text,score\na,1\nb,2\n")], None, Some(stars)).unwrap();
    assert_eq!(stars.task, Task::SingleLabel, "labels were given");
    assert!(Labels::ordered(vec!["a".to_owned(), "a".to_owned()]).is_err());
}

#[test]
fn warnings_count_and_point() {
    let data = read("a.csv", "text,label\na  B,x\nA b,x\nc,x\na b,y\nc,x\n").unwrap();
    let texts: Vec<String> = data.warnings().iter().map(Warning::to_string).collect();
    let name = data.files[0].path.display();
    assert_eq!(
        texts,
        [
            format!("2 rows repeat an earlier text and label, such as {name}:3 ({name}:2)"),
            format!("1 row repeats an earlier text with another label, such as {name}:5 ({name}:2)"),
        ]
    );
    let swapped = read("a.csv", "label,text\nhello,x\nthere,y\n").unwrap();
    assert!(swapped.warnings().contains(&Warning::ManyLabels { labels: 2, rows: 2 }));
}

#[test]
fn digest_is_of_the_content() {
    let csv = read("a.csv", "text,label\na,x\nb,y\n").unwrap();
    let json =
        read("b.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"label\":\"y\"}\n").unwrap();
    assert_eq!(csv.digest(), json.digest(), "not of the file");
    for other in [
        "text,label\nb,x\na,y\n",
        "text,label\na,y\nb,x\n",
        "text,label\na,x\nb,z\n",
        "text_a,text_b,label\na,a,x\nb,b,y\n",
    ] {
        assert_ne!(csv.digest(), read("a.csv", other).unwrap().digest());
    }
    let digests =
        |file: &str, contents: [&str; 2]| contents.map(|content| read(file, content).unwrap().digest());
    let [one, other] = digests("a.csv", ["text,score\na,1\nb,2\n", "text,score\na,1\nb,2.5\n"]);
    assert_ne!(one, other);
    let several = |of_b: &str| {
        format!("{{\"text\":\"a\",\"labels\":[\"x\",\"y\"]}}\n{{\"text\":\"b\",\"labels\":[{of_b}]}}\n")
    };
    let [one, other] = digests("a.jsonl", [&several("\"x\""), &several("\"y\"")]);
    assert_ne!(one, other);
}

proptest! {
    /// Reads back what the `csv` crate writes, with the line on which each row begins.
    #[test]
    fn written_tables_are_read_back(
        texts in prop::collection::vec("[ -~\n\r\"\t,é]{0,12}[a-z]", 2..20),
        tab: bool,
        always: bool,
    ) {
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let delimiter = if tab { b'\t' } else { b',' };
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).quote_style(style).from_writer(Vec::new());
        writer.write_record(["text", "label"]).unwrap();
        let mut line = 2;
        let mut expected = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let label = if index % 2 == 0 { "x" } else { "y" };
            writer.write_record([text, label]).unwrap();
            expected.push((line, text.as_str(), label));
            line += 1 + text.matches('\n').count() as u32;
        }
        let folder = Folder::new();
        let mut source = folder.file(if tab { "a.tsv" } else { "a.csv" }, writer.into_inner().unwrap());
        source.quoting = Some(true);
        let data = Dataset::read(&[source], None, None).unwrap();
        prop_assert_eq!(rows(&data), expected);
    }

    /// Reading arbitrary bytes gives data or an error that names the file.
    #[test]
    fn any_bytes_give_data_or_an_error(content in prop::collection::vec(prop::sample::select(b"a\"\t,\n\r{}[]:textlabel \xff\0".to_vec()), 0..200), name in prop::sample::select(vec!["f.csv", "f.tsv", "f.jsonl", "f.txt"])) {
        let header = if name.ends_with("sv") { b"text\tlabel\n".to_vec() } else { Vec::new() };
        if let Err(error) = read(name, [header, content].concat()) {
            prop_assert!(error.to_string().contains(name), "{error}");
        }
    }
}

/// Returns the folder of real data if present. Otherwise says so, even where the test harness captures
/// output.
#[allow(clippy::explicit_write)]
fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("GOLDCREST_DATA").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    if folder.is_dir() {
        return Some(folder);
    }
    use std::io::Write;
    writeln!(std::io::stderr(), "skipped: no data at {} (set GOLDCREST_DATA)", folder.display()).unwrap();
    None
}

/// Files, task, number of labels, pairs and rows of each public data set, as counted with Python's `csv` and
/// `json`.
#[test]
fn real_sets_are_read_without_options() {
    let Some(folder) = real_data() else { return };
    let sets: &[(&[&str], Task, usize, bool, usize)] = &[
        (&["agnews/train.csv"], Task::SingleLabel, 4, false, 8000),
        (&["banking77/train.csv"], Task::SingleLabel, 77, false, 10_003),
        (&["clinc150/train.jsonl", "clinc150/train_oos.jsonl"], Task::SingleLabel, 151, false, 15_100),
        (&["goemotions/train.jsonl"], Task::MultiLabel, 28, false, 43_410),
        (&["mrpc/train.tsv"], Task::SingleLabel, 2, true, 4076),
        (&["sms_spam/train.txt"], Task::SingleLabel, 2, false, 4512),
        (&["snips/train.tsv"], Task::SingleLabel, 7, false, 13_084),
        (&["sst2/train.csv"], Task::SingleLabel, 2, false, 67_349),
        (&["stsb/train.csv"], Task::Regression, 0, true, 5749),
        (&["trec6/train.csv"], Task::SingleLabel, 6, false, 5452),
    ];
    let mut seen = BTreeMap::new();
    for (files, task, labels, paired, rows) in sets {
        let sources: Vec<Source> = files.iter().map(|file| Source::new(folder.join(file))).collect();
        let data = Dataset::read(&sources, None, None).unwrap();
        let shape = (data.task, data.labels.len(), data.is_paired(), data.len());
        assert_eq!(shape, (*task, *labels, *paired, *rows), "{files:?}");
        let dev = sources[0].path.to_string_lossy().replace("train", "dev");
        if Path::new(&dev).is_file() {
            let dev = data.read_like(&[Source::new(dev)]).unwrap();
            seen.insert(files[0], dev.len());
        }
        let split = split(&data, 0.2, 1).unwrap();
        let share = split.held_out.len() as f64 / data.len() as f64;
        assert!((share - 0.2).abs() < 0.005, "{files:?}: {share}");
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [3000, 5426, 537, 700, 872, 1500]);
}
