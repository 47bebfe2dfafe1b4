use goldcrest::data::{Column, Dataset, Format, LabelColumns, Labels, Source};
use goldcrest_edge::bundle::{Bundle, Manifest, map};
use std::path::{Path, PathBuf};

/// How to read labelled texts; anything not given is detected.
#[derive(clap::Args, PartialEq, Default)]
#[command(next_help_heading = "How labelled texts are read, where that is not detected")]
pub struct Reading {
    #[command(flatten)]
    texts: TextReading,
    /// Column of the label; if repeated, one column of 0 and 1 per label, or one per number to predict
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// Separator between several labels in one column
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    label_separator: Option<String>,
}

/// How a table of texts is read; anything not given is detected.
#[derive(clap::Args, PartialEq, Default)]
pub struct TextReading {
    /// Column of the text, by name or position from 1
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// auto, csv, tsv, jsonl, lines or fasttext
    #[arg(long)]
    format: Option<Format>,
    /// Whether the first row names the columns
    #[arg(long, value_name = "true|false")]
    header: Option<bool>,
    /// Whether `"` quotes fields; otherwise it is an ordinary character
    #[arg(long, value_name = "true|false")]
    quoting: Option<bool>,
    /// Separator between columns: a character, or the word TAB
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<char>,
}

/// Labelled texts and how to read them.
#[derive(clap::Args)]
pub struct DataArgs {
    /// Labelled texts: CSV, TSV, JSON Lines, `label<TAB>text` lines or fastText
    pub data: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

impl DataArgs {
    pub fn source(&self) -> Source {
        self.reading.source(&self.data)
    }

    /// Reads the texts with the task and the labels of a bundle, and says how they were read. Also returns
    /// what the bundle says about itself.
    pub fn read_like(&self, bundle: &Path) -> anyhow::Result<(Manifest, Dataset)> {
        let mapped = map(bundle)?;
        let read = Bundle::read(mapped.bytes()).map_err(|e| anyhow::anyhow!("{}: {e}", bundle.display()))?;
        let manifest = read.manifest().clone();
        let labels = Labels::ordered(manifest.labels.clone())?;
        let data = Dataset::read_to_measure(&[self.source()], Some(manifest.task), Some(labels))?;
        super::say_reading(&data);
        Ok((manifest, data))
    }
}

impl Reading {
    pub fn says_how_to_read(&self) -> bool {
        *self != Reading::default()
    }

    pub fn source(&self, path: &Path) -> Source {
        let column = |name: &String| Column::given(name);
        let label = match &self.label[..] {
            [] => None,
            [one] => Some(LabelColumns::One(column(one))),
            several => Some(LabelColumns::Each(several.iter().map(column).collect())),
        };
        Source { label, label_separator: self.label_separator.clone(), ..self.texts.source(path) }
    }
}

impl TextReading {
    pub fn says_how_to_read(&self) -> bool {
        *self != TextReading::default()
    }

    pub fn source(&self, path: &Path) -> Source {
        let column = |name: &Option<String>| name.as_deref().map(Column::given);
        Source {
            path: path.into(),
            format: self.format.unwrap_or_default(),
            text: column(&self.text),
            pair: column(&self.pair),
            header: self.header,
            quoting: self.quoting,
            delimiter: self.delimiter,
            ..Source::default()
        }
    }
}

/// Value parser for clap.
fn delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("TAB" | "tab" | "\\t", ..) => Ok('\t'),
        (_, Some(character), None) => Ok(character),
        _ => Err("it is one character, or the word TAB".into()),
    }
}
