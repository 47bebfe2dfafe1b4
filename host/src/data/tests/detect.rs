//! Detection of columns and headers.
use super::*;

#[test]
fn columns_by_elimination_or_by_fallback_names() {
    let reading = |content: &str| read("a.csv", content).map(|data| data.files[0].reading.clone());
    let csv = |columns: &str| format!("csv, header, quoted, {columns}");
    for (content, columns) in [
        ("utt,label\na,x\nb,y\n", "text `utt`, label `label`"),
        ("mood,text\nx,a\ny,b\n", "text `text`, label `mood`"),
        ("id,tweet,target\n1,a,x\n2,b,y\n", "text `tweet`, label `target`; not used: `id`"),
        ("text;label\na,b;x\nc;y\n", "text `text`, label `label`"),
        ("text;foo\n\"a;b\";x\nc;y\n", "text `text`, label `foo`"),
        ("\"text\"|\"label\"\na|x\nc|y\n", "text `text`, label `label`"),
        ("q1,q2,dup\na,b,x\nc,d,y\n", "text `q1`, pair `q2`, label `dup`"),
        (
            "id,qid1,qid2,Question1,Question2,is_duplicate\n1,1,2,a,b,x\n2,3,4,c,d,y\n",
            "text `Question1`, pair `Question2`, label `is_duplicate`; not used: `id`, `qid1`, `qid2`",
        ),
        (
            "pair_ID,sentence_A,sentence_B,judgment\n1,a,b,x\n2,c,d,y\n",
            "text `sentence_A`, pair `sentence_B`, label `judgment`; not used: `pair_ID`",
        ),
        ("question,answer,label\na,b,x\nc,d,y\n", "text `question`, pair `answer`, label `label`"),
        ("text,class_id\na,x\nb,y\n", "text `text`, label `class_id`"),
        ("text_a,text_b,class_id\na,b,x\nc,d,y\n", "text `text_a`, pair `text_b`, label `class_id`"),
        ("a,b,score\na,b,1\nc,d,2\n", "text `a`, pair `b`, label `score`"),
        // names of several words
        ("id,comment_text,is_spam\n1,a,0\n2,b,1\n", "text `comment_text`, label `is_spam`; not used: `id`"),
        (
            "asin,reviewText,overall sentiment\n1,a,0\n2,b,1\n",
            "text `reviewText`, label `overall sentiment`; not used: `asin`",
        ),
        ("title,review_text,rating\na,b,x\nc,d,y\n", "text `review_text`, label `rating`; not used: `title`"),
        ("title,category\na,x\nc,y\n", "text `title`, label `category`"),
        ("text,coarse,gold_label\na,0,x\nb,1,y\n", "text `text`, label `gold_label`; not used: `coarse`"),
        // all that is left beside text and ids
        (
            "id,text,mood\n1,a,x\n2,b,y\n3,c,x\n4,d,y\n5,e,x\n6,f,x\n7,g,x\n8,h,x\n9,i,x\n10,j,y\n",
            "text `text`, label `mood`; not used: `id`",
        ),
        // names that often stand beside the label are it only where nothing else is
        (
            "pairID,genre,sentence1,sentence2,gold_label\n1,x,a,b,y\n2,x,c,d,z\n",
            "text `sentence1`, pair `sentence2`, label `gold_label`; not used: `pairID`, `genre`",
        ),
        ("text,language,is_toxic\na,en,x\nb,de,y\n", "text `text`, label `is_toxic`; not used: `language`"),
        ("text,file_type,is_spam\na,en,x\nb,de,y\n", "text `text`, label `is_spam`; not used: `file_type`"),
        ("text,lang,target\na,en,x\nb,de,y\n", "text `text`, label `target`; not used: `lang`"),
        ("Review Text,Overall Rating\na,x\nb,y\n", "text `Review Text`, label `Overall Rating`"),
        ("id,text,verdict\n1,a,x\n2,b,y\n", "text `text`, label `verdict`; not used: `id`"),
        (
            "page,evidence,claim,verdict\n1,a,b,x\n2,c,d,y\n",
            "text `claim`, pair `evidence`, label `verdict`; not used: `page`",
        ),
        ("source,translation,error\na,b,x\nc,d,y\n", "text `source`, pair `translation`, label `error`"),
        (
            "tweet,source,translation,sentiment\na,b,c,x\nd,e,f,y\n",
            "text `tweet`, label `sentiment`; not used: `source`, `translation`",
        ),
        ("content,rating,verdict\na,x,1\nc,y,2\n", "text `content`, label `rating`; not used: `verdict`"),
        (
            "source1,source2,sentence1,sentence2,score\nx,y,a,b,1\nx,y,c,d,2\n",
            "text `sentence1`, pair `sentence2`, label `score`; not used: `source1`, `source2`",
        ),
    ] {
        assert_eq!(reading(content).unwrap(), csv(columns), "{content}");
    }
    assert!(message(read("a.csv", "id,text\n1,a\n2,b\n")).contains("no column is known to be the label"));
    // what is left beside a text is a label only if few values repeat
    let dates: String = (0..20).map(|i| format!("{i},a text,2026-11-{}\n", 10 + i / 2)).collect();
    assert!(
        message(read("a.csv", format!("id,text,date\n{dates}")))
            .contains("no column is known to be the label")
    );
    assert!(
        message(read("a.csv", "text,coarse_label,fine_label\na,0,x\nb,1,y\n")).contains("2 columns could be")
    );
    // beside a text, numbered columns are not a pair
    for (numbered, problem) in [
        ("text,label1,label2", "no column is known to be the label"),
        ("Text,Cat1,Cat2", "no column is known to be the label"),
        ("comment,annotator_1,annotator_2", "no known column name in the first row"),
    ] {
        let error = message(read("a.csv", format!("{numbered}\na,x,y\nb,y,x\n")));
        assert!(error.contains(problem) && error.contains("--label"), "{error}");
    }
    let error = message(read("a.csv", "ID,Target,Tweet,Stance\n1,x,a,y\n2,x,b,z\n"));
    assert!(error.contains("2 columns could be the label: `Target`, `Stance`"), "{error}");
    assert!(message(read("a.csv", "is this the text,a good score\nb,1\n")).contains("first row"));
    let two = message(read("a.csv", "q1,q2,genre,gold\na,b,x,y\nc,d,y,x\n"));
    assert!(two.contains("no column is known to be the label"), "{two}");
}

#[test]
fn ambiguous_held_out_data_is_read_like_the_training_data() {
    let folder = Folder::new();
    let rows: String = (0..12).map(|i| format!("message {i};{}\n", ["good", "bad"][i % 2])).collect();
    let train =
        Dataset::read(&[folder.file("a.csv", &("Freitext;Ton\n".to_owned() + &rows))], None, None).unwrap();
    let dev = train.read_like(&[folder.file("b.csv", "Freitext;Ton\nanother one;bad\n")]).unwrap();
    assert_eq!((dev.len(), &*dev.examples[0].text), (1, "another one"));
    let only = Dataset::read_to_measure(&[folder.file("c.csv", "text,label\na,x\n")], None, None).unwrap();
    assert_eq!(only.len(), 1);
}

#[test]
fn unlabelled_texts_come_from_the_named_column_if_present() {
    let folder = Folder::new();
    let like = Source { text: Some("satz".into()), ..Source::default() };
    let file = folder.file("a.csv", "ton,satz,id\ngut,eins,1\nschlecht,zwei,2\n").path;
    assert_eq!(unlabelled(&file, false, &like).unwrap(), [("eins".into(), None), ("zwei".into(), None)]);
    let other = folder.file("b.csv", "id,text\n1,eins\n").path;
    assert_eq!(unlabelled(&other, false, &like).unwrap(), [("eins".into(), None)]);
    // falls back to the other file's options
    let quotes = folder.file("c.csv", "text\n\"open quote\nmore\n").path;
    assert!(message(unlabelled(&quotes, false, &Source::default())).contains("--quoting false"));
    let told = Source { quoting: Some(false), label: Some("ton".into()), ..like };
    let texts = [("\"open quote".into(), None), ("more".into(), None)];
    assert_eq!(unlabelled(&quotes, false, &told).unwrap(), texts);
    // options that describe the file itself count whatever its name
    let table = folder.file("d.txt", "ton,satz\ngut,eins\n");
    let said = Source { text: Some("satz".into()), format: Format::Csv, unlabelled: true, ..table.clone() };
    assert_eq!(unlabelled(&table.path, false, &said).unwrap(), [("eins".into(), None)]);
    let said = Source { text: Some("colour".into()), ..said };
    assert!(message(unlabelled(&table.path, false, &said)).contains("there is no column `colour`"));
}

#[test]
fn the_texts_of_a_table_are_those_of_all_its_rows() {
    let folder = Folder::new();
    let file = folder.file("x.csv", "id,text,label\n1,eins,a\n2,,\n3,\"drei\nzeilen\",b\n");
    let of = |source: &Source, paired| {
        texts(source, paired)
            .map(|texts| texts.rows.into_iter().map(|(line, (text, _))| (line, text)).collect::<Vec<_>>())
    };
    let all = [(2, "eins"), (3, ""), (4, "drei\nzeilen")].map(|(line, text)| (line, text.to_owned()));
    assert_eq!(of(&file, false).unwrap(), all);
    assert!(message(of(&file, true)).contains("x.csv: the rows have one text, and"));
    let ids = Source { text: Some("id".into()), ..file.clone() };
    assert_eq!(of(&ids, false).unwrap()[2], (4, "3".to_owned()));
    let pairs = Source { text: Some("text".into()), pair: Some("label".into()), ..file.clone() };
    assert_eq!(texts(&pairs, true).unwrap().rows[1], (3, (String::new(), Some(String::new()))));
    assert!(message(texts(&pairs, false)).contains("x.csv: the rows have two texts, and"));
    assert_eq!(of(&folder.file("none.csv", "text\n"), false).unwrap(), []);
    // a row of one empty field is no blank line; what spreadsheets leave below a table is no row
    let one = folder.file("one.csv", "text\neins\n\"\"\n\n  \nzwei\n");
    assert_eq!(of(&one, false).unwrap().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 6]);
    let below = folder.file("below.csv", "id,text\n1,eins\n,\n2,zwei\n,\n,\n");
    assert_eq!(of(&below, false).unwrap().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(
        texts(&ids, false).unwrap().reading,
        "csv, header, quoted, text `id`; not used: `text`, `label`"
    );
}

#[test]
fn a_table_of_very_many_columns_is_read_in_no_time() {
    for field in ["1,2", "x1,x2", "a,b"] {
        let wide = format!("{field},").repeat(50_000);
        let error = message(read("wide.csv", &wide));
        assert!(error.starts_with("wide.csv: ") && error.len() < 2000, "{}", &error[..error.len().min(2000)]);
    }
}

#[test]
fn unlabelled_lines_lose_their_labels_if_those_of_the_training_data_are_lines() {
    let folder = Folder::new();
    let file = folder.file("more.txt", "ham\tHi you\n\nspam\twin\tnow\n").path;
    let lines = Source { format: Format::Lines, ..Source::default() };
    let texts =
        |like| unlabelled(&file, false, like).unwrap().into_iter().map(|(a, _)| a).collect::<Vec<_>>();
    assert_eq!(texts(&lines), ["Hi you", "win\tnow"]);
    assert_eq!(texts(&Source::default()), ["ham\tHi you", "spam\twin\tnow"]);
    let bare = folder.file("bare.txt", "Hi you\nand\tyou\n").path;
    assert_eq!(unlabelled(&bare, false, &lines).unwrap()[1].0, "and\tyou");
    let pairs = folder.file("pairs.txt", "a\tb\n \t \nc\td\n").path;
    assert_eq!(unlabelled(&pairs, true, &lines).unwrap().len(), 2, "a line without words is no pair");
    let alone = folder.file("alone.txt", "a\tb\nc\n").path;
    assert_eq!(
        message(unlabelled(&alone, true, &lines)),
        "alone.txt:2: one text where the other rows have two"
    );
    let table = folder.file("table.csv", "text\n\"open quote\nmore\n").path;
    assert!(message(unlabelled(&table, false, &lines)).contains("--quoting false"), "the table's own error");
}

#[test]
fn two_columns_without_known_names_are_told_apart_by_their_values() {
    let rows = |row: &dyn Fn(usize) -> String| (0..12).map(|i| row(i) + "\n").collect::<String>();
    let reading = |content: String| read("a.csv", &content).map(|data| data.files[0].reading.clone());
    let class = |i: usize| ["good", "bad"][i % 2];
    let first = rows(&|i| format!("{},message {i}", class(i)));
    let last = rows(&|i| format!("message {i},{}", class(i)));
    assert_eq!(reading(first.clone()).unwrap(), "csv, no header, quoted, text 2, label 1");
    assert_eq!(reading(last.clone()).unwrap(), "csv, no header, quoted, text 1, label 2");
    assert_eq!(reading(format!("v1,v2\n{first}")).unwrap(), "csv, header, quoted, text `v2`, label `v1`");
    let zero_one = rows(&|i| format!("{},message {i}", i % 2));
    assert_eq!(reading(format!("v1,v2\n{zero_one}")).unwrap(), "csv, header, quoted, text `v2`, label `v1`");
    assert_eq!(reading(zero_one).unwrap(), "csv, no header, quoted, text 2, label 1");
    let semicolons = rows(&|i| format!("oh, message {};{}", i * i, class(i)));
    assert!(
        message(read("a.csv", &semicolons))
            .contains("between ',' as between ';'; decide it with --delimiter")
    );
    let semicolons = rows(&|i| format!("{}message {i};{}", if i == 0 { "oh, " } else { "" }, class(i)));
    assert_eq!(reading(semicolons).unwrap(), "csv, no header, quoted, text 1, label 2");
    let quoted = rows(&|i| format!("\"oh, message {i}\";\"{}\"", class(i)));
    assert_eq!(reading(quoted).unwrap(), "csv, no header, quoted, text 1, label 2");
    // given options are respected and settle the rest
    let said = |say: &dyn Fn(&mut Source), content: &str| {
        let folder = Folder::new();
        let mut source = folder.file("a.csv", content);
        say(&mut source);
        Dataset::read(&[source], None, None).map(|data| data.files[0].reading.clone())
    };
    let headed = format!("v1,v2\n{first}");
    for (say, content, columns) in [
        (
            &(|s: &mut Source| s.label = Some(1.into())) as &dyn Fn(&mut Source),
            &first,
            "no header, quoted, text 2, label 1",
        ),
        (&|s: &mut Source| s.text = Some(2.into()), &first, "no header, quoted, text 2, label 1"),
        (&|s: &mut Source| s.text = Some(1.into()), &first, "no header, quoted, text 1, label 2"),
        (&|s: &mut Source| s.header = Some(false), &first, "no header, quoted, text 2, label 1"),
        (&|s: &mut Source| s.header = Some(true), &headed, "header, quoted, text `v2`, label `v1`"),
        (&|s: &mut Source| s.text = Some("v2".into()), &headed, "header, quoted, text `v2`, label `v1`"),
        (&|s: &mut Source| s.label = Some("v1".into()), &headed, "header, quoted, text `v2`, label `v1`"),
    ] {
        assert_eq!(said(say, content).unwrap(), format!("csv, {columns}"));
    }
    let both = |s: &mut Source| (s.text, s.label, s.header) = (Some(1.into()), Some(1.into()), Some(true));
    assert!(said(&both, &headed).unwrap_err().to_string().contains("`label`"), "one column cannot be both");
    // the first row may be a text with a unique label
    assert!(message(read("a.csv", format!("rare,only this message\n{first}"))).contains("first row"));
    // unique numbers, unique classes, repeated texts, too few rows
    for unclear in [
        rows(&|i| format!("{i},message {i}")),
        rows(&|i| format!("c{i},message {i}")),
        rows(&|i| format!("{},message {}", class(i), i % 3)),
        last.lines().take(8).collect::<Vec<_>>().join("\n"),
    ] {
        let error = message(read("a.csv", &unclear));
        assert!(error.contains("no known column name in the first row"), "{error}");
    }
}

#[test]
fn header_of_a_wide_table_is_detected_from_the_given_columns() {
    let rows = |label: &dyn Fn(usize) -> String| {
        (0..12).map(|i| format!("{i}\t{}\tmessage {i}\n", label(i))).collect::<String>()
    };
    let said = |content: &str| {
        let folder = Folder::new();
        let mut source = folder.file("a.txt", content);
        (source.text, source.label) = (Some(3.into()), Some(2.into()));
        let numbers = content.contains(".5").then_some(Task::Regression);
        Dataset::read(&[source], numbers, None)
    };
    let reading = |content: &str| said(content).unwrap().files[0].reading.clone();
    let numbers = rows(&|i| format!("{i}.5"));
    assert_eq!(reading(&numbers), "tsv, no header, quoted, text 3, label 2; not used: 1");
    let headed = format!("nr\twert\tsatz\n{numbers}");
    assert_eq!(reading(&headed), "tsv, header, quoted, text `satz`, label `wert`; not used: `nr`");
    let classes = rows(&|i| ["good", "bad"][i % 2].to_owned());
    assert_eq!(reading(&classes), "tsv, no header, quoted, text 3, label 2; not used: 1");
    assert!(message(said(&format!("0\trare\tonly this one\n{classes}"))).contains("--header"));
    // three columns are not a label and a text that contains a tab
    let error = message(read("a.txt", &numbers));
    assert!(error.contains("decide it with --text and --label"), "{error}");
    // unless only some rows have three
    let lines = format!("good\tone\tmore\n{}", "bad\ttwo\n".repeat(3));
    assert!(read("a.txt", &lines).unwrap().files[0].reading.starts_with("lines"));
}

#[test]
fn excel_delimiter_line_is_respected() {
    let data = read("a.csv", "sep=;\r\ntext;label\r\na, b;x\r\nc;y\r\n").unwrap();
    assert_eq!((data.len(), data.examples[0].text.as_str(), data.examples[0].line), (2, "a, b", 3));
    assert!(read("a.csv", "sep=\ntext,label\na,x\n").is_err());
}

#[test]
fn resolved_source_refers_to_columns_by_name() {
    let folder = Folder::new();
    let rows = |turn: bool| -> String {
        (0..12)
            .map(|i| match (format!("ein Satz mit der Nummer {i}"), ["gut", "schlecht"][i % 2]) {
                (text, label) if turn => format!("{label};{text}\n"),
                (text, label) => format!("{text};{label}\n"),
            })
            .collect()
    };
    let train = folder.file("t.csv", format!("Beschreibung;Kategorie\n{}", rows(false)));
    let train = Dataset::read(&[train], None, None).unwrap();
    let few = rows(true).lines().take(2).collect::<Vec<_>>().join("\n");
    let dev = train.read_like(&[folder.file("d.csv", format!("Kategorie;Beschreibung\n{few}\n"))]).unwrap();
    assert_eq!(dev.examples[1].text, "ein Satz mit der Nummer 1");
    let error = train.read_like(&[folder.file("e.csv", "Beschreibung;Id\na;b\n")]).unwrap_err();
    assert!(error.to_string().contains("there is no column `Kategorie`"), "{error}");
}

#[test]
fn characters_the_tokenizer_drops_are_no_text() {
    let error = message(read("a.csv", "text,label\none,a\n\u{200d}\u{200b},b\n"));
    assert!(error.starts_with("a.csv:3: the text is empty"), "{error}");
    assert!(message(read("a.txt", "a\tone\n\u{200b}\nb\ttwo\n")).starts_with("a.txt:2: no tab"));
}

#[test]
fn rows_of_only_delimiters_are_skipped() {
    let data = read("a.csv", "text,label\none,a\n,\ntwo,b\n , \n,\n").unwrap();
    let lines: Vec<u32> = data.examples.iter().map(|example| example.line).collect();
    assert_eq!(lines, [2, 4]);
}

#[test]
fn keys_of_nested_objects_are_columns() {
    let line = |text: &str, label: &str| {
        format!("{{\"id\":1,\"data\":{{\"text\":\"{text}\",\"more\":{{\"label\":\"{label}\"}}}}}}\n")
    };
    let data = read("a.jsonl", line("one", "a") + &line("two", "b")).unwrap();
    assert_eq!(data.files[0].reading, "jsonl, text `data.text`, label `data.more.label`; not used: `id`");
    assert_eq!(data.examples[1].text, "two");
    for (object, reading) in [
        (
            "{\"text\":T,\"source\":\"s\",\"annotation\":{\"label\":L}}",
            "jsonl, text `text`, label `annotation.label`; not used: `source`",
        ),
        (
            "{\"label\":L,\"source\":\"s\",\"data\":{\"text\":T}}",
            "jsonl, text `data.text`, label `label`; not used: `source`",
        ),
        (
            "{\"key\":\"k\",\"label\":L,\"data\":{\"text\":T}}",
            "jsonl, text `data.text`, label `label`; not used: `key`",
        ),
    ] {
        let line =
            |i: usize| object.replace('T', &format!("\"text {i}\"")).replace('L', ["\"a\"", "\"b\""][i % 2]);
        let data = read("a.jsonl", (0..4).map(|i| line(i) + "\n").collect::<String>()).unwrap();
        assert_eq!(data.files[0].reading, reading);
    }
    // top-level keys take precedence
    let beside = "{\"text\":\"one\",\"label\":\"a\",\"meta\":{\"v1\":\"x\",\"v2\":\"y\",\"text\":\"z\"}}\n";
    let data = read("a.jsonl", beside.to_owned() + &beside.replace("\"a\"", "\"b\"")).unwrap();
    let unused = "not used: `meta.v1`, `meta.v2`, `meta.text`";
    assert_eq!(data.files[0].reading, format!("jsonl, text `text`, label `label`; {unused}"));
}

#[test]
fn header_is_also_detected_from_the_rows_below() {
    let rows = |row: &dyn Fn(usize) -> String| (0..12).map(|i| row(i) + "\n").collect::<String>();
    let reading = |name: &str, content: &str| read(name, content).unwrap().files[0].reading.clone();
    // the first label is also a known column name
    let acts = rows(&|i| format!("{},say it {i} times", ["query", "complaint"][i % 2]));
    assert_eq!(reading("a.csv", &acts), "csv, no header, quoted, text 2, label 1");
    // columns named by numbers
    let numbered = rows(&|i| format!("a message {i},{}", i % 3));
    let read_so = reading("a.csv", &format!("0,1\n{numbered}"));
    assert_eq!(read_so, "csv, header, quoted, text `0`, label `1`");
    let read_so = reading("a.csv", &format!("2012,1\n{numbered}"));
    assert_eq!(read_so, "csv, no header, quoted, text 1, label 2");
    // a second name that is also a label: told, but not decided
    let kinds = rows(&|i| format!("{i} is the message,{}", ["spam", "ham"][i % 2]));
    let read_so = reading("a.csv", &format!("mail,spam\n{kinds}"));
    assert!(
        read_so.contains("no header (the first row may be one all the same: then --header true)"),
        "{read_so}"
    );
    assert!(!reading("a.csv", &format!("a short message,spam\n{kinds}")).contains("may be one"));
    let folder = Folder::new();
    let source = folder.file("b.csv", "0,1\na,x\nb,y\n");
    let named = Source { header: Some(true), text: Some(0.into()), label: Some(1.into()), ..source };
    let data = Dataset::read(&[named], None, None).unwrap();
    assert_eq!((data.len(), &*data.examples[0].text), (2, "a"));
    // concatenated files
    let twice = read("a.csv", "text,label\na,x\nb,y\ntext,label\nc,x\n").unwrap();
    assert_eq!((twice.len(), twice.labels.len()), (3, 2));
    assert!(twice.files[0].reading.ends_with("the header again in a row, which is left out"));
    // text, tab, label
    let tabs = rows(&|i| format!("a message {i}\t{}", i % 2));
    assert_eq!(reading("a.txt", &tabs), "tsv, no header, quoted, text 1, label 2");
    let tabs = rows(&|i| format!("{}\ta message {i}", i % 2));
    assert_eq!(reading("a.txt", &tabs), "lines, label<TAB>text");
}
