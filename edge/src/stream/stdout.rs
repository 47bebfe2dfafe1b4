use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Stdout, for records. If another process has made it non-blocking, writes wait here until they can go on.
#[derive(Debug)]
pub struct Stdout(File);

impl Stdout {
    /// Returns stdout with a buffer, but without that of the standard library.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn buffered() -> io::Result<BufWriter<Self>> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(BufWriter::with_capacity(64 << 10, Stdout(stdout.into())))
    }

    /// Returns an error if this source is known to be the file that stdout goes to: its own records would be messages,
    /// without end.
    ///
    /// # Errors
    /// See above.
    pub fn check_is_not(source: &File) -> io::Result<()> {
        let file = |file: &File| file.metadata().ok().filter(|file| file.is_file());
        let stdout = io::stdout().as_fd().try_clone_to_owned().ok().and_then(|stdout| file(&stdout.into()));
        let id = |file: Metadata| (file.dev(), file.ino());
        match stdout.zip(file(source)).is_some_and(|(stdout, source)| id(stdout) == id(source)) {
            true => Err(io::Error::other("the input file is also the output")),
            false => Ok(()),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
