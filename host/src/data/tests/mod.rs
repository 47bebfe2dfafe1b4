mod batch;
mod detect;
mod detect_labels;
mod errors;
mod labels;
mod numbers;
mod read;
mod split;

use tempfile::TempDir;

use super::*;

/// A temporary folder of files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Source {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        Source::new(path)
    }
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Dataset, DataError> {
    let folder = Folder::new();
    Dataset::read(&[folder.file(name, content)], None, None)
}

/// Returns an error's message without the temporary folder.
fn message<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    let message = result.unwrap_err().to_string();
    let start = message.find(".tmp").map_or(0, |at| at + message[at..].find('/').unwrap() + 1);
    message[start..].to_owned()
}

fn rows(data: &Dataset) -> Vec<(u32, &str, &str)> {
    data.examples
        .iter()
        .map(|example| match example.target {
            Target::Class(id) => (example.line, example.text.as_str(), data.labels.name(id).unwrap()),
            _ => panic!("not a class"),
        })
        .collect()
}
