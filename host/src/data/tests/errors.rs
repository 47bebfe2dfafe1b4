use super::*;

#[test]
fn errors_name_file_line_and_remedy() {
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "a.csv",
            b"text,label\na,x\nb,\"y\nz\"\n",
            "a.csv:3: the label \"y\\nz\" holds a line end or another control character",
        ),
        (
            "a.csv",
            b"text,label\na,x\nb\xfc,y\n",
            "a.csv:3: byte 16 of the file is not valid UTF-8: 0xfc; if the file is in another encoding, such as Windows-1252 or Latin-1, convert it with `iconv -f WINDOWS-1252 -t UTF-8`",
        ),
        (
            "a.csv",
            b"text,label\n\xef\xf0\xe8\xe2\xe5\xf2,x\n",
            "a.csv:2: byte 11 of the file is not valid UTF-8: 0xef; if the file is in another encoding, such as Windows-1251, GB18030 or Shift_JIS, convert it with `iconv -f ENCODING -t UTF-8`",
        ),
        (
            "a.csv",
            b"\xef\xbb\xbftext,label\n\xc3",
            "a.csv:2: byte 14 of the file is not valid UTF-8: the file ends in the middle of a character; it may be cut off",
        ),
        (
            "a.csv",
            b"\xff\xfet\0e\0x",
            "a.csv is not UTF-8 text: it begins as UTF-16, and at byte 6 there is half a character",
        ),
        (
            "a.csv",
            b"PK\x03\x04\x14\0",
            "a.csv is not UTF-8 text: it is a zip archive, as workbooks of Excel and LibreOffice are: save the sheet as CSV (UTF-8)",
        ),
        (
            "a.csv",
            b"text,label\na,x\n ,x\nb,y\n,y\n",
            "a.csv:3: the text is empty, and that of 1 more row; remove such rows or fill them in",
        ),
        (
            "a.csv",
            b"t\0e\0x\0t\0,\0",
            "a.csv is not UTF-8 text: it looks like UTF-16: convert it with `iconv -f UTF-16LE -t UTF-8`",
        ),
        (
            "a.csv",
            b"text,label\na,x\n\nb,y,z\n",
            "a.csv:4: 3 fields where 2 are expected; a field that holds the delimiter needs quotes",
        ),
        (
            "a.csv",
            b"text,label\r\"a\rb\",x\r\"open,y\rc,x\r",
            "a.csv:4: the quote that opens here is never closed; where `\"` is an ordinary character, give --quoting false (`quoting` in a recipe)",
        ),
        (
            "a.csv",
            b"text,label\n\"a\nb\",x\n\"open,y\nc,x\n",
            "a.csv:4: the quote that opens here is never closed; where `\"` is an ordinary character, give --quoting false (`quoting` in a recipe)",
        ),
        (
            "a.csv",
            b"text,label\n\"a\" b,x\n",
            "a.csv:2: text follows the quote that closes the field opened here; where `\"` is an ordinary character, give --quoting false (`quoting` in a recipe)",
        ),
        ("a.csv", b"text,label\na,x\n  ,y\n", "a.csv:3: the text is empty; remove such rows or fill them in"),
        (
            "a.csv",
            b"text_a,text_b,label\na,b,x\nc,\xe2\x80\x8b,y\n",
            "a.csv:3: the second text is empty; remove such rows or fill them in, or name the column of a single text with --text (`text` in a recipe)",
        ),
        (
            "a.csv",
            b"text,label\na,x\nb, \nc,y\nd,\n",
            "a.csv:3: the label is empty, and that of 1 more row; fill it in, or remove the row (a model can learn from such texts in a file of their own, --unlabelled); if a row may have several labels or none, --label-separator (`label_separator` in a recipe) says what separates them",
        ),
        (
            "a.csv",
            b"text,label\na,x\nb,x\n",
            "a.csv: every row has the same label (x); there is nothing to learn",
        ),
        (
            "a.csv",
            b"text,score\na,1\nb,x\n",
            "a.csv:3: `x` is not a finite number, and the task is regression; if it is a class, --task single-label (`kind` in a recipe) says so",
        ),
        (
            "a.csv",
            b"text,score\na,1\nb,inf\n",
            "a.csv:3: `inf` is not a finite number, and the task is regression; remove the row",
        ),
        (
            "a.csv",
            b"text,label\na,1.5\nb,2\n",
            "a.csv: the labels are numbers with fractions: single-label or regression; decide it with --task (`kind` under [task] in a recipe)",
        ),
        (
            "a.csv",
            b"text,labels\na,\"x,y\"\nb,x\n",
            "a.csv: `labels` may hold several labels, such as `x,y` (then also give --label-separator ','), or one; decide it with --task (`kind` under [task] in a recipe)",
        ),
        (
            "a.csv",
            b"text,sentence,label\na,b,x\n",
            "a.csv: 2 columns could be the text: `text`, `sentence`; decide it with --text (`text` under [data] in a recipe)",
        ),
        (
            "a.csv",
            b"id,label,foo\n1,x,a\n",
            "a.csv: no column is known to be the text, among `id`, `label`, `foo`; decide it with --text (`text` under [data] in a recipe)",
        ),
        (
            "a.csv",
            b"hello,x\nthere,y\n",
            "a.csv: no known column name in the first row: `hello`, `x`; where it is data, give positions, counted from 1; decide it with --text and --label (`text`, `label` under [data] in a recipe)",
        ),
        ("a.csv", b"text,label\n", "a.csv: no rows"),
        ("a.csv", b"", "a.csv: no rows"),
        (
            "a.txt",
            b"ham\tx\nspam y\n",
            "a.txt:2: no tab; a line is `label<TAB>text` (or choose another `format`)",
        ),
        (
            "a.csv",
            b"text,label\na,x\nhello\rworld,x\n",
            "a.csv:3: 1 fields where 2 are expected; a carriage return without a line feed ends a row here: take it out of the text",
        ),
        (
            "a.csv",
            b"text,label\ra, b,x\nb,y\nc,x\n",
            "a.csv:1: 3 fields where 2 are expected; a field that holds the delimiter needs quotes",
        ),
        (
            "a.tsv",
            b"label\ttext\r\nx\ta\r\nx\thello\rworld\r\n",
            "a.tsv:3: 1 fields where 2 are expected; a carriage return without a line feed ends a row here: take it out of the text",
        ),
        (
            "a.txt",
            b"hello there\n",
            "a.txt: neither the extension nor the first line tells the format; decide it with --format (`format` under [data] in a recipe)",
        ),
        ("a.json", b"[\n{\"text\":1,\"label\":1}]", "a.json:2: `text` is a number; expected a string"),
        (
            "a.json",
            b"[{\"text\":\"a\",\"label\":1},\n{\"text\":\"b\" \"label\":1}]",
            "a.json:2: not JSON: expected `,` or `}` (column 13)",
        ),
        (
            "a.json",
            b"[{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":1}]",
            "a.json:1: not JSON: no comma or ] after what begins here",
        ),
        ("a.json", b"[{\"text\":\"a\",\"label\":1},\n", "a.json:2: not JSON: the array is not closed"),
        ("a.json", b"[{\"text\":\"a\",\"label\":1}] 2", "a.json:1: not JSON: text follows the array"),
        ("a.json", b"[] 2", "a.json:1: not JSON: text follows the array"),
        (
            "a.json",
            b"[{\"text\":\"a\",\"label\":1}, {\"text\":\n",
            "a.json:2: not JSON: EOF while parsing a value (column 8)",
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\",\"label\":\"x\"}\n\n{\"text\":\n",
            "a.jsonl:3: not JSON: EOF while parsing a value (column 8)",
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"lable\":\"y\"}\n",
            "a.jsonl:2: there is no column `label`; the columns are `text`, `lable`",
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":null,\"label\":\"y\"}\n",
            "a.jsonl:2: `text` is null; expected a string",
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\",\"label\":[\"x\",\"\"]}\n",
            "a.jsonl:1: `label` is empty; expected label names in the array",
        ),
    ];
    let long = format!("text,label\na,x\nb,{}\n", "y".repeat(129));
    let swapped = "Are text and label swapped? --text and --label (`text` and `label` in a recipe) say which column is which";
    assert_eq!(
        message(read("a.csv", long)),
        format!("a.csv:3: the label is 129 bytes long; a name has at most 128. {swapped}")
    );
    let many: String = (0..513).map(|row| format!("label {row}\thello\n")).collect();
    assert_eq!(
        message(read("a.txt", many)),
        format!(
            "a.txt: 513 different labels; at most 512 are possible. {swapped}. Read as lines, label<TAB>text"
        )
    );
    for (name, content, expected) in cases {
        assert_eq!(message(read(name, content)), *expected);
    }
}

#[test]
fn options_that_contradict_are_refused() {
    let folder = Folder::new();
    let csv = || folder.file("a.csv", "text,label\na,x\nb,y\n");
    let fail = |change: &dyn Fn(&mut Source)| {
        let mut source = csv();
        change(&mut source);
        message(Dataset::read(&[source], None, None))
    };
    assert_eq!(
        fail(&|source| source.text = Some("body".into())),
        "a.csv:1: there is no column `body`; the columns are `text`, `label`"
    );
    assert_eq!(
        fail(&|source| source.label = Some(3.into())),
        "a.csv:1: there is no column 3; the columns are `text`, `label`"
    );
    assert_eq!(
        fail(&|source| source.label = Some(0.into())),
        "a.csv:1: there is no column 0; the columns are `text`, `label`"
    );
    assert_eq!(
        fail(&|source| (source.text, source.header) = (Some("text".into()), Some(false))),
        "a.csv: `header` is false, but a column is given by name"
    );
    assert_eq!(
        fail(&|source| source.delimiter = Some('é')),
        "a.csv: `delimiter` 'é' is not one ASCII character other than a quote or line end"
    );
    let none = fail(&|source| source.header = Some(false));
    assert!(none.contains("given by position"), "{none}");
    let mut positions = folder.file("b.csv", "a,x\nb,y\n");
    (positions.text, positions.label) = (Some(1.into()), Some(2.into()));
    assert_eq!(
        message(Dataset::read(&[positions], None, None)),
        "b.csv: the first row may name the columns or be data: `a`, `x`; decide it with --header (`header` under [data] in a recipe)"
    );
    let pairs = || folder.file("d.csv", "text_a,text_b,label\na,b,x\nc,d,y\n");
    assert_eq!(
        message(Dataset::read(&[pairs(), csv()], None, None)),
        "a.csv:2: one text where the other rows have two"
    );
    assert_eq!(
        message(Dataset::read(&[csv(), pairs()], None, None)),
        "d.csv:2: two texts where the other rows have one"
    );
    let mut lines = folder.file("c.txt", "x\ta\n");
    (lines.format, lines.header) = (Format::Lines, Some(true));
    assert!(message(Dataset::read(&[lines], None, None)).contains("`header` does not go with format lines"));
    assert!(
        message(Dataset::read(&[Source::new("/absent.csv")], None, None)).contains("cannot read /absent.csv")
    );
}
