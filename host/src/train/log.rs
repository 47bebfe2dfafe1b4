use super::Error;
use std::io::Write;
use std::path::PathBuf;

/// The log file `metrics.jsonl`.
pub(super) struct Log {
    path: PathBuf,
    file: std::fs::File,
}

impl Log {
    /// Opens the log for appending, without lines that a killed run wrote after the state being resumed at
    /// `step`; a new run (0) starts an empty log.
    pub(super) fn open(path: PathBuf, step: u64) -> Result<Self, Error> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let is_before = |line: &&str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            // the state was saved before the evaluation at this step, which is made again
            let end = if line["dev"].is_null() { step + 1 } else { step };
            step > 0 && line["step"].as_u64().is_some_and(|of_line| of_line < end)
        };
        let kept: String = text.lines().filter(is_before).flat_map(|line| [line, "\n"]).collect();
        goldcrest_edge::bundle::save(&path, kept.as_bytes()).map_err(Error::io(&path))?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file })
    }

    pub(super) fn write(&mut self, line: serde_json::Value) -> Result<(), Error> {
        writeln!(self.file, "{line}").map_err(Error::io(&self.path))
    }
}
