use rustix::io::ioctl_fionbio;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
