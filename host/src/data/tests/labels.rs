use super::*;

#[test]
fn a_column_for_each_label() {
    let folder = Folder::new();
    let each =
        |names: &[&str]| Some(LabelColumns::Each(names.iter().map(|name| Column::from(*name)).collect()));
    let csv = "id,comment_text,toxic,threat,insult\n1,a,1,0,true\n2,b,0,0,False\n3,c,1.0,0,0\n";
    let source = Source { label: each(&["toxic", "threat", "insult"]), ..folder.file("a.csv", csv) };
    let data = Dataset::read(std::slice::from_ref(&source), None, None).unwrap();
    assert_eq!(data.task, Task::MultiLabel);
    // in column order, including those that never apply
    assert_eq!(data.labels.names(), ["toxic", "threat", "insult"]);
    let targets: Vec<_> = data.examples.iter().map(|example| example.target.clone()).collect();
    assert_eq!(targets, [vec![0, 2], vec![], vec![0]].map(Target::Classes));
    assert_eq!(
        data.files[0].reading,
        "csv, header, quoted, text `comment_text`, labels `toxic`, `threat`, `insult`; not used: `id`"
    );
    let objects = "{\"text\":\"a\",\"x\":1,\"y\":false}\n{\"text\":\"b\",\"x\":0,\"y\":true}\n";
    let json = Source { label: each(&["x", "y"]), ..folder.file("a.jsonl", objects) };
    let json = Dataset::read(&[json], None, None).unwrap();
    assert_eq!(json.class_counts(), [1, 1]);
    // one label per row can be single-label if the task is given
    let one = Source { label: each(&["x", "y"]), ..folder.file("b.csv", "text,x,y\na,1,0\nb,0,1\n") };
    let one = Dataset::read(&[one], Some(Task::SingleLabel), None).unwrap();
    assert_eq!(one.examples[1].target, Target::Class(1));
    // without a header labels are named by position; the resolved source reads the same data
    let positions = Some(LabelColumns::Each(vec![2.into(), 3.into()]));
    let bare = Source {
        label: positions,
        text: Some(1.into()),
        header: Some(false),
        ..folder.file("c.csv", "a,1,0\nb,0,1\n")
    };
    let bare = Dataset::read(&[bare], None, None).unwrap();
    assert_eq!(bare.labels.names(), ["2", "3"]);
    let again = Dataset::read(&[bare.files[0].resolved.clone()], None, None).unwrap();
    assert_eq!(again.examples, bare.examples);

    // to measure a model that has these labels, their columns need not be named
    let labels = |names: &[&str]| Labels::ordered(names.iter().map(|name| name.to_string()).collect()).ok();
    let unnamed = Source { label: None, ..source.clone() };
    let multi = Some(Task::MultiLabel);
    let measured = |labels| Dataset::read_to_measure(std::slice::from_ref(&unnamed), multi, labels);
    let found = measured(labels(&["toxic", "threat", "insult"])).unwrap();
    assert_eq!(found.examples, data.examples);
    let capitals = measured(labels(&["Toxic", "threat", "INSULT"])).unwrap();
    assert_eq!(capitals.examples, data.examples);
    let umlauts = folder.file("f.csv", csv.replace("toxic", "ärger"));
    let umlauts =
        Dataset::read_to_measure(&[umlauts], multi, labels(&["Ärger", "threat", "insult"])).unwrap();
    assert_eq!(umlauts.class_counts(), data.class_counts());
    // of two names that differ in case only, each is its own
    let both = "text,IT,it\na,1,0\nb,0,1\n";
    let both = Source { label: each(&["IT", "it"]), ..folder.file("e.csv", both) };
    let found = Dataset::read_to_measure(&[both], multi, labels(&["IT", "it"])).unwrap();
    assert_eq!(found.class_counts(), [1, 1]);
    let missing = measured(labels(&["toxic", "obscene"])).unwrap_err().to_string();
    assert!(missing.contains("`toxic`, `threat`, `insult` hold 0 and 1"), "{missing}");

    let error = |source: Source| Dataset::read(&[source], None, None).unwrap_err().to_string();
    let some = Dataset::read_to_measure(
        &[Source { label: each(&["toxic", "threat"]), ..source.clone() }],
        multi,
        labels(&["toxic", "threat", "insult"]),
    );
    assert!(
        some.unwrap_err().to_string().ends_with(
            "a.csv:1: no column is read for the label `insult`, only `toxic`, `threat`; give --label (`label` in a recipe) for every label"
        )
    );
    let other =
        error(Source { label: each(&["toxic", "id"]), ..folder.file("d.csv", csv.replace("2,b", "x,b")) });
    assert!(
        other.contains(
            "d.csv:3: `x` in column `id`, which says whether a label applies: 1 or 0, true or false;"
        )
    );
    assert!(
        error(Source { label_separator: Some("|".into()), ..source.clone() }).contains("`label_separator`")
    );
    assert!(
        error(Source { label: each(&["toxic", "toxic"]), ..source.clone() })
            .contains("a.csv: `label` names `toxic` twice")
    );
    assert!(
        error(Source {
            label: each(&["toxic", "comment_text"]),
            text: Some("comment_text".into()),
            ..source.clone()
        })
        .contains("same column")
    );
    let column = |name: &str| Some(Column::from(name));
    let label = || Some(LabelColumns::One("toxic".into()));
    let twice =
        Source { text: column("comment_text"), pair: column("toxic"), label: label(), ..source.clone() };
    assert!(error(twice).contains("`label` is the same column as `pair`"));
    let twice = Source {
        text: column("comment_text"),
        pair: column("comment_text"),
        label: label(),
        ..source.clone()
    };
    assert!(error(twice).contains("`pair` is the same column as `text`"));
    let alike = folder.file("f.csv", "text,label,label\na,x,1\nb,y,2\n");
    let named = error(Source { label: Some(LabelColumns::One("label".into())), ..alike.clone() });
    assert!(named.contains("`label` names 2 columns, `label`: give the position of one, from 1"), "{named}");
    let third = Source { label: Some(LabelColumns::One(3.into())), ..alike };
    assert_eq!(Dataset::read(&[third], None, None).unwrap().labels.names(), ["1", "2"]);
    let asked = error(Source { label: None, ..source });
    assert!(asked.contains("`toxic`, `threat`, `insult` hold 0 and 1: name all that are labels"), "{asked}");
}

#[test]
fn fasttext_lines() {
    let folder = Folder::new();
    let one = folder.file("a.txt", "\n__label__2 Great: really\n\n  __label__1\tnot __label__ good\n");
    let data = Dataset::read(std::slice::from_ref(&one), None, None).unwrap();
    assert_eq!((data.task, data.labels.names()), (Task::SingleLabel, &["1".to_owned(), "2".to_owned()][..]));
    let texts: Vec<&str> = data.examples.iter().map(|example| &*example.text).collect();
    assert_eq!(texts, ["Great: really", "not __label__ good"]);
    assert_eq!(data.examples[1].line, 4);
    let plain: Vec<String> =
        unlabelled(&one.path, false, &one).unwrap().into_iter().map(|(a, _)| a).collect();
    assert_eq!(plain, texts);
    let several = folder.file("b.txt", "__label__x __label__y a\n__label__x b\n");
    let several = Dataset::read(&[several], None, None).unwrap();
    assert_eq!((several.task, several.class_counts()), (Task::MultiLabel, vec![2, 1]));
    let message = |content: &str| {
        let source = folder.file("c.txt", content);
        Dataset::read(&[source], None, None).unwrap_err().to_string()
    };
    assert!(message("__label__x a\nb\n").contains("c.txt:2: no `__label__` at the start"));
    assert!(message("__label__x a\n__label__y\n").contains("c.txt:2: the text is empty"));
}

#[test]
fn many_different_fractions_mean_regression() {
    let rows = |count: usize| {
        let rows: String = (0..40).map(|i| format!("message {i},{}.5\n", i % count)).collect();
        read("a.csv", format!("text,target\n{rows}"))
    };
    assert_eq!(rows(21).unwrap().task, Task::Regression);
    assert!(message(rows(20)).contains("single-label or regression"));
}

#[test]
fn examples_of_no_file_are_checked() {
    let labels = || Labels::ordered(vec!["no".into(), "yes".into()]).unwrap();
    let problem = |task, targets: &[Target]| {
        let labels = if task == Task::Regression { Labels::default() } else { labels() };
        let examples = targets.iter().map(|target| Example::new("a text", target.clone())).collect();
        Dataset::new(task, labels, examples).err().map(|error| error.to_string())
    };
    let (class, classes) = (Target::Class, |ids: &[u32]| Target::Classes(ids.to_vec()));
    assert_eq!(problem(Task::SingleLabel, &[class(0), class(1)]), None);
    assert_eq!(problem(Task::MultiLabel, &[classes(&[]), classes(&[0, 1])]), None);
    assert_eq!(problem(Task::Regression, &[Target::number(-2.5)]), None);
    for (task, target) in [
        (Task::SingleLabel, class(2)),
        (Task::SingleLabel, classes(&[1])),
        (Task::MultiLabel, classes(&[0, 2])),
        (Task::MultiLabel, classes(&[1, 0])),
        (Task::MultiLabel, classes(&[1, 1])),
        (Task::Regression, class(0)),
        (Task::Regression, Target::number(f32::NAN)),
        (Task::Regression, Target::Numbers(vec![1.0, 2.0])),
    ] {
        let error = problem(task, std::slice::from_ref(&target)).unwrap_or_else(|| panic!("{target:?}"));
        assert_eq!(error, "example 1: its target is none of this task and these labels");
    }
    let mut pair = Example::new("a text", Target::Class(0));
    pair.pair = Some("another".into());
    let mixed = vec![Example::new("a text", Target::Class(1)), pair];
    let error = Dataset::new(Task::SingleLabel, labels(), mixed).unwrap_err().to_string();
    assert_eq!(error, "example 2: pairs and single texts are mixed");
}
