use rustix::io::ioctl_fionbio;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What to tell about a file that [`is_named_as_table`].
pub const WHOLE_LINES: &str = "each line is classified as it is, as one text with all its columns";

/// Returns whether a file's name says that its lines are more than texts: CSV, TSV or JSON.
pub fn is_named_as_table(path: &Path) -> bool {
    let ends = |kind: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(kind));
    ["csv", "tsv", "json", "jsonl", "ndjson"].into_iter().any(ends)
}

/// Opens a file as a [`Source`](super::Source); `-` is stdin, without the buffer of the standard library, which would
/// hide available input from waiting. On Linux, a named pipe is opened without waiting for a writer.
///
/// # Errors
/// If the file cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    let nonblocking = if cfg!(target_os = "linux") { libc::O_NONBLOCK } else { 0 };
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    ioctl_fionbio(&file, false)?;
    Ok(file)
}
