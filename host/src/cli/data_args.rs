use goldcrest::data::{Column, Format, Source};
use std::path::PathBuf;

/// Where labelled texts are and how to read them; what is not said is detected.
#[derive(clap::Args)]
pub struct DataArgs {
    /// Labelled texts: CSV, TSV, JSON Lines, or lines of label, tab, text
    pub data: PathBuf,
    /// Column of the text, by name or position from 1
    #[arg(long)]
    text: Option<String>,
    /// Column of the second text
    #[arg(long)]
    pair: Option<String>,
    /// Column of the label
    #[arg(long)]
    label: Option<String>,
    /// auto, csv, tsv, jsonl or lines
    #[arg(long)]
    format: Option<String>,
}

impl DataArgs {
    pub fn source(&self) -> anyhow::Result<Source> {
        let mut source = Source::new(&self.data);
        let column = |name: &Option<String>| {
            name.as_ref().map(|n| match n.parse::<usize>() {
                Ok(position) => Column::Position(position),
                Err(_) => Column::Name(n.clone()),
            })
        };
        (source.text, source.pair, source.label) =
            (column(&self.text), column(&self.pair), column(&self.label));
        if let Some(format) = &self.format {
            source.format = serde_json::from_value::<Format>(format.as_str().into())
                .map_err(|_| super::Usage(format!("--format {format}: auto, csv, tsv, jsonl or lines")))?;
        }
        Ok(source)
    }
}
