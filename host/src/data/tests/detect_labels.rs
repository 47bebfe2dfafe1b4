//! Detection of the task, and of labels that may be several or mistakes.
use super::*;

#[test]
fn several_labels_in_a_cell_are_noticed() {
    let csv = "text,tags\na,x|y\nb,x\nc,y|z\nd,z\ne,x\nf,y\n";
    let error = message(read("a.csv", csv));
    assert!(error.contains("--label-separator '|'"), "{error}");
    let folder = Folder::new();
    let source = || folder.file("a.csv", csv);
    let error = message(Dataset::read(&[source()], Some(Task::MultiLabel), None));
    assert!(error.contains("`x|y`") && error.contains("--label-separator"), "{error}");
    let parted = Source { label_separator: Some("|".into()), ..source() };
    assert_eq!(Dataset::read(&[parted], None, None).unwrap().labels.names(), ["x", "y", "z"]);
    assert_eq!(Dataset::read(&[source()], Some(Task::SingleLabel), None).unwrap().labels.len(), 5);
    // names that contain a comma
    let cities = "text,label\na,\"Austin, TX\"\nb,\"Dallas, TX\"\nc,\"Boston, MA\"\nd,\"Austin, TX\"\n";
    assert_eq!(read("a.csv", cities).unwrap().labels.len(), 3);
    let twice = "text,label\na,\"New York, New York\"\nb,\"Baden, Baden\"\nc,x\nd,x\n";
    assert_eq!(read("a.csv", twice).unwrap().labels.len(), 3);
    // labels given by the training data are not split
    let train = folder.file("t.txt", "__label__a,b __label__c one\n__label__c two\n");
    let train = Dataset::read(&[train], None, None).unwrap();
    let dev = train.read_like(&[folder.file("d.txt", "__label__a,b three\n")]).unwrap();
    assert_eq!(dev.examples[0].target, Target::Classes(vec![0]));
    let error = message(read("a.csv", "text;label\na;3,5\nb;4,5\nc;3,0\n"));
    assert!(error.contains("decimal commas"), "{error}");
}

#[test]
fn mistakes_in_labels_and_numbers_are_named() {
    let warnings = read("a.csv", "text,label\na,News\nb,news\nc,x\nd,x\n").unwrap().warnings();
    assert_eq!(warnings[0].to_string(), "`News` and `news` are two labels: is one of them a mistake?");
    let error = message(read("a.csv", "text,score\na,1.5\nb,\"2,5\"\n"));
    assert!(error.contains("write the decimal comma as a point"), "{error}");
}

#[test]
fn suspicious_labels_give_warnings() {
    let warnings = |rows: &dyn Fn(usize) -> String| {
        let rows: String = (0..60).map(|i| format!("message {i},{}\n", rows(i))).collect();
        let data = read("a.csv", format!("text,label\n{rows}")).unwrap();
        data.warnings().iter().chain(&data.quantities()).map(ToString::to_string).collect::<Vec<_>>()
    };
    let prices = warnings(&|i| (i % 30 * 100).to_string());
    assert_eq!(prices.len(), 1, "{prices:?}");
    assert!(prices[0].starts_with("30 different whole numbers are labels; --task regression"), "{prices:?}");
    // even if each row has its own
    assert!(warnings(&|i| i.to_string())[1].starts_with("60 different whole numbers are labels"));
    assert_eq!(warnings(&|i| (i % 5).to_string()), [""; 0]);
    for labels in [["good", "bad", "NaN"], ["0", "1", "NaN"]] {
        let missing = warnings(&|i| labels[i % 3].to_owned());
        assert_eq!(missing, ["`NaN` are taken as labels: do these rows have none?"]);
    }
}

#[test]
fn labels_written_as_lists_are_split() {
    let labels = |name: &str, content: &str| {
        let data = read(name, content).unwrap();
        let ids = |example: &Example| match &example.target {
            Target::Classes(ids) => ids.clone(),
            _ => panic!("not several labels"),
        };
        (data.labels.names().to_vec(), data.examples.iter().map(ids).collect::<Vec<_>>())
    };
    let expected = (["a, b", "c"].map(String::from).to_vec(), vec![vec![0, 1], vec![], vec![1]]);
    for quoted in ["\"['a, b', 'c']\"", "\"[\"\"a, b\"\", \"\"c\"\"]\"", "\"['a, b' 'c']\""] {
        let csv = format!("text,labels\none,{quoted}\ntwo,[]\nthree,['c']\n");
        assert_eq!(labels("a.csv", &csv), expected, "{csv}");
    }
    let numbers = (["0", "2"].map(String::from).to_vec(), vec![vec![0, 1], vec![1]]);
    for list in ["\"[0, 2]\"", "[0 2]"] {
        assert_eq!(labels("a.csv", &format!("text,label\none,{list}\ntwo,[2]\n")), numbers);
    }
    let folder = Folder::new();
    let source = folder.file("a.csv", "text,labels\none,\"['a', 'b']\"\ntwo,['b']\n");
    let parted = Source { label_separator: Some(",".into()), ..source };
    assert!(message(Dataset::read(&[parted], None, None)).contains("lists"));
    // commas separate words, and JSON escapes are decoded
    let words = read("a.csv", "text,labels\none,\"[very good, fast]\"\ntwo,[fast]\n").unwrap();
    assert_eq!(words.labels.names(), ["fast", "very good"]);
    let json = read("a.csv", "text,labels\none,\"[\"\"caf\\u00e9\"\"]\"\ntwo,\"[\"\"b\"\"]\"\n").unwrap();
    assert_eq!(json.labels.names(), ["b", "caf\u{e9}"]);
    // names in brackets, and nested lists
    let names = read("a.csv", "text,label\none,[very good]\ntwo,[very bad]\n").unwrap();
    assert_eq!(names.labels.names(), ["[very bad]", "[very good]"]);
    let nested = read("a.csv", "text,label\none,\"[[1, 2], [3]]\"\ntwo,[[3]]\n").unwrap();
    assert_eq!((nested.task, nested.labels.len()), (Task::SingleLabel, 2));
    // a mix of names with and without brackets
    assert_eq!(read("a.csv", "text,label\none,[a]\ntwo,b\n").unwrap().labels.names(), ["[a]", "b"]);
    // indicator vectors
    for (name, content) in [
        ("a.jsonl", "{\"text\":\"one\",\"labels\":[1,0,1]}\n{\"text\":\"two\",\"labels\":[0,1,0]}\n"),
        ("a.csv", "text,labels\none,\"[1, 0, 1]\"\ntwo,\"[0, 1, 0]\"\n"),
        ("b.csv", "text,labels\none,[1 0]\ntwo,[1 1]\n"),
        ("d.csv", "text,labels\none,\"[true, false]\"\ntwo,\"[false, true]\"\n"),
        ("c.csv", "text,labels\none,\"[1, 0]\"\ntwo,\"[0, 1]\"\n"),
    ] {
        assert!(message(read(name, content)).contains("zeros and ones"), "{content}");
    }
    assert!(read("a.csv", "text,labels\none,\"[0, 1]\"\ntwo,[1]\n").is_ok());
}

#[test]
fn numbers_that_may_be_classes_are_ambiguous() {
    let rows = |label: &dyn Fn(usize) -> String| -> String {
        (0..900).map(|i| format!("message {i},{}\n", label(i))).collect()
    };
    let error = message(read("a.csv", format!("text,label\n{}", rows(&|i| format!("{}.0", i % 28)))));
    assert!(error.contains("whole numbers with a point: single-label or regression"), "{error}");
    let error = message(read("a.csv", format!("text,toxicity_score\n{}", rows(&|i| (i % 2).to_string()))));
    assert!(error.contains("`toxicity_score` holds 0 and 1"), "{error}");
    let five =
        |name: &str| read("a.csv", format!("text,{name}\n{}", rows(&|i| (i % 5).to_string()))).unwrap().task;
    assert_eq!(["score", "quality_score", "overall_review_quality_score"].map(five), [Task::Regression; 3]);
    let error = message(read("a.csv", format!("text,target\n{}", rows(&|i| i.to_string()))));
    assert!(error.contains("900 different labels") && error.contains("--task regression"), "{error}");
    let swapped = message(read("a.csv", format!("label,text\n{}", rows(&|i| (i % 2).to_string()))));
    assert!(swapped.contains("--text and --label") && swapped.contains("label `label`"), "{swapped}");
    let half = read("a.csv", format!("text,label\n{}", rows(&|i| format!("{}", i as f32 / 2.0)))).unwrap();
    assert_eq!(half.task, Task::Regression);
}
