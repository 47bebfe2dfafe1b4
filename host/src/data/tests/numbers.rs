//! Regressions of several numbers.
use super::*;

/// A file with a column for each label or number.
fn source(folder: &Folder, name: &str, content: &str, columns: &[&str]) -> Source {
    let label = LabelColumns::Each(columns.iter().map(|name| (*name).into()).collect());
    Source { label: Some(label), ..folder.file(name, content) }
}

fn load(source: &Source, task: impl Into<Option<Task>>) -> Result<Dataset, DataError> {
    Dataset::read(std::slice::from_ref(source), task.into(), None)
}

fn numbers(data: &Dataset) -> Vec<&[f32]> {
    data.examples.iter().map(|example| example.target.numbers()).collect()
}

fn error(data: Result<Dataset, DataError>) -> String {
    data.unwrap_err().to_string()
}

const BOTH: [&str; 2] = ["joy", "fear"];

#[test]
fn columns_of_quantities_are_numbers() {
    let folder = Folder::new();
    let data = load(&source(&folder, "a.csv", "text,joy,fear\na,0.5,-1\nb,1.5,7\n", &BOTH), None).unwrap();
    assert_eq!((data.task, data.labels.names()), (Task::Regression, &BOTH.map(String::from)[..]));
    assert_eq!(numbers(&data), [[0.5, -1.0], [1.5, 7.0]]);
    assert_eq!((data.class_counts(), data.absent(), data.warnings()), (vec![], vec![], vec![]));
    // other files may order their columns differently
    let other = source(&folder, "b.csv", "Fear,text,Joy\n7,c,8\n", &["fear", "joy"]);
    assert_eq!(numbers(&data.read_like(&[other]).unwrap()), [[8.0, 7.0]]);
    let json = source(&folder, "c.jsonl", "{\"joy\": 0.25, \"fear\": 3, \"text\": \"d\"}\n", &BOTH);
    assert_eq!(numbers(&data.read_like(&[json]).unwrap()), [[0.25, 3.0]]);
    // a single column is a regression of one number
    let one = load(&source(&folder, "d.csv", "text,joy\na,0.5\nb,7\n", &["joy"]), None).unwrap();
    assert_eq!((one.labels.len(), numbers(&one)), (0, vec![&[0.5][..], &[7.0]]));
    // names that are warned of as labels
    let none = source(&folder, "e.csv", "text,none,None\na,0.5,3\nb,2.5,3\n", &["none", "None"]);
    assert_eq!(load(&none, None).unwrap().warnings(), vec![]);
}

#[test]
fn zeros_and_ones_are_numbers_only_if_the_task_says_so() {
    let folder = Folder::new();
    let columns = source(&folder, "a.csv", "text,joy,fear\na,0,1\nb,1,0\n", &BOTH);
    assert_eq!(load(&columns, None).unwrap().task, Task::MultiLabel);
    assert_eq!(numbers(&load(&columns, Task::Regression).unwrap()), [[0.0, 1.0], [1.0, 0.0]]);
    let vectors = "{\"text\": \"a\", \"label\": [1, 0]}\n{\"text\": \"b\", \"label\": [0, 1]}\n";
    let vectors = folder.file("b.jsonl", vectors);
    assert_eq!(numbers(&load(&vectors, Task::Regression).unwrap()), [[1.0, 0.0], [0.0, 1.0]]);
    assert!(error(load(&vectors, None)).contains("a list of 2 zeros and ones"));
    // a wrong cell among them makes no quantities
    let typo = source(&folder, "c.csv", "text,joy,fear\na,0,1\nb,1,0\nc,11,0\nd,1,1\n", &BOTH);
    assert!(error(load(&typo, None)).contains("c.csv:4: `11` in column `joy`"));
    let typo = "{\"text\": \"a\", \"joy\": 1, \"fear\": 0}\n{\"text\": \"b\", \"joy\": 0.5, \"fear\": 0}\n";
    assert!(
        error(load(&source(&folder, "d.jsonl", typo, &BOTH), None))
            .contains("d.jsonl:2: `0.5` in column `joy`")
    );
}

#[test]
fn several_numbers_in_a_cell_may_be_labels() {
    let folder = Folder::new();
    let lists = "{\"text\": \"a\", \"label\": [0.5, 2]}\n{\"text\": \"b\", \"label\": [1, 0]}\n";
    let lists = folder.file("a.jsonl", lists);
    let ambiguous = error(load(&lists, None));
    assert!(ambiguous.contains("regression or multi-label") && ambiguous.contains("--task"), "{ambiguous}");
    let lists = load(&lists, Task::Regression).unwrap();
    assert_eq!(lists.labels.names(), ["1", "2"]);
    assert_eq!(numbers(&lists), [[0.5, 2.0], [1.0, 0.0]]);
    // codes
    let codes = folder.file("b.csv", "text,codes\na,401.9|250.0\nb,250.0|401.9\n");
    let codes = Source { label_separator: Some("|".into()), ..codes };
    assert_eq!(load(&codes, None).unwrap().task, Task::MultiLabel);
    let fasttext = folder.file("c.txt", "__label__1.5 __label__2.5 a\n__label__2.5 __label__1.5 b\n");
    assert_eq!(load(&fasttext, None).unwrap().task, Task::MultiLabel);
}

#[test]
fn cells_without_a_number_are_named() {
    let folder = Folder::new();
    let wrong = source(&folder, "a.csv", "text,joy,fear\na,0.5,-1\nb,much,0\n", &BOTH);
    assert!(error(load(&wrong, None)).contains("a.csv:2: `0.5` in column `joy`"));
    assert!(error(load(&wrong, Task::Regression)).contains("a.csv:3: `much` is not"));
    let empty = source(&folder, "b.csv", "text,joy,fear\na,0.5,\n", &BOTH);
    assert!(error(load(&empty, Task::Regression)).contains("b.csv:2: of 2 numbers, number 2 is empty"));
    let parted = |name: &str, label: &str| {
        let file = folder.file(name, format!("text,score\na,1;2;3\nb,{label}\n"));
        Source { label_separator: Some(";".into()), ..file }
    };
    assert_eq!(
        numbers(&load(&parted("c.csv", "4; 5 ;6"), Task::Regression).unwrap()),
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    );
    assert!(
        error(load(&parted("d.csv", "1; ;3"), Task::Regression))
            .contains("d.csv:3: of 3 numbers, number 2 is empty")
    );
    assert!(
        error(load(&parted("e.csv", "1;2;"), Task::Regression))
            .contains("e.csv:3: 2 numbers where 3 are expected")
    );
    // where parts are labels, an empty one says nothing
    let labels = load(&parted("f.csv", ";2;;1;"), None).unwrap();
    assert_eq!((labels.task, labels.class_counts()), (Task::MultiLabel, vec![2, 2, 1]));
}

#[test]
fn held_out_rows_have_the_same_numbers() {
    let folder = Folder::new();
    let two = load(&source(&folder, "a.csv", "text,joy,fear\na,0.5,-1\nb,1.5,7\n", &BOTH), None).unwrap();
    let fewer = source(&folder, "b.csv", "text,joy\na,0.5\n", &["joy"]);
    assert!(error(two.read_like(&[fewer])).contains("no column is read for the label `fear`"));
    let score = folder.file("c.csv", "text,score\na,0.5\nb,7\n");
    let one = load(&score, None).unwrap();
    assert!(error(two.read_like(&[score])).contains("c.csv:2: 1 numbers where 2 are expected"));
    // and the other way round
    let both = source(&folder, "d.csv", "text,joy,fear\na,0.5,3\n", &BOTH);
    assert!(error(one.read_like(&[both])).contains("d.csv:2: 2 numbers where 1 are expected"));
    let list = folder.file("e.jsonl", "{\"text\": \"a\", \"label\": [0.5, 3]}\n");
    assert!(error(one.read_like(&[list])).contains("e.jsonl:1: 2 numbers where 1 are expected"));
    // another column may be called like a number
    let score = folder.file("f.csv", "text,score,joy,fear\na,9,0.5,3\n");
    let labels = Some(two.labels.clone());
    let measured = Dataset::read_to_measure(&[score], Some(Task::Regression), labels).unwrap();
    assert_eq!(numbers(&measured), [[0.5, 3.0]]);
}

/// Blanks repeat without meaning, and a separator may end a list.
#[test]
fn lists_of_numbers_are_padded_or_end_in_a_separator() {
    let folder = Folder::new();
    let lists = |name: &str, separator: &str, rows: [&str; 2]| {
        let file = folder.file(name, format!("text,label\na,\"{}\"\nb,\"{}\"\n", rows[0], rows[1]));
        let file = Source { label_separator: Some(separator.into()), ..file };
        numbers(&load(&file, Task::Regression).unwrap()).concat()
    };
    let wanted = [0.5, 2.0, 1.0, 0.0];
    assert_eq!(lists("a.csv", " ", ["0.5  2", " 1 0 "]), wanted);
    assert_eq!(lists("b.csv", ";", ["0.5;2;", "1;0;"]), wanted);
    assert_eq!(lists("c.csv", "; ", ["0.5; 2", "1; 0; "]), wanted);
}
