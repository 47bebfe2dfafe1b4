//! Atomic writing of files.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` atomically: after a crash or power cut, either the old or the new file is there.
/// The bytes go to a temporary file in the same folder, which is synced and then renamed. Symbolic links are
/// followed and kept; anything but a regular file, such as a pipe, is written to directly.
///
/// # Errors
/// If a file cannot be created, written or renamed; no temporary file is left.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let special = |path: &Path| fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
    if special(path) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let target = fs::canonicalize(path);
    if target.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        && let Ok(aim) = fs::read_link(path)
    {
        // the target of the link does not exist yet
        return save(&path.parent().unwrap_or(Path::new("")).join(aim), bytes);
    }
    let path = target.as_deref().unwrap_or(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let (mut file, temporary) = create_temporary(folder, &name.to_string_lossy())?;
    let mut write = || {
        // what replaces a file keeps its mode
        if let Ok(replaced) = fs::metadata(path) {
            file.set_permissions(replaced.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // the folder records the renaming, so sync it too; file systems that cannot do this do not need it
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Creates a file that was not there, for the new contents of `name`. Other threads may save the same file, and
/// so may a process with the same id, in another container.
fn create_temporary(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // temporary_writer knows this pattern
        let path = folder.join(format!(".{name}.{process}.{number}.tmp"));
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((created?, path)),
        }
    }
}

/// Returns the id of the process that writes the temporary file of [`save`] with this name, or wrote it until it
/// was killed. `None` for any other name.
pub fn temporary_writer(name: &str) -> Option<u32> {
    let mut parts = name.rsplitn(4, '.');
    let (end, number, process, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_one = end == "tmp" && number.parse::<u64>().is_ok() && name.len() > 1 && name.starts_with('.');
    process.parse().ok().filter(|_| is_one)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};

    #[test]
    fn temporary_files_are_recognised() {
        assert_eq!(temporary_writer(".model.safetensors.123.0.tmp"), Some(123));
        for other in ["model.safetensors.123.0.tmp", ".123.0.tmp", ".x.123.tmp", ".x.y.0.tmp", ".x.1.0"] {
            assert_eq!(temporary_writer(other), None, "{other}");
        }
    }

    #[test]
    fn links_and_pipes_are_kept() {
        let folder = std::env::temp_dir().join(format!("goldcrest-save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link, pipe) = (folder.join("file"), folder.join("link"), folder.join("pipe"));
        save(&file, b"old").unwrap();
        symlink("file", &link).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, mode).unwrap();
        save(&link, b"new").unwrap();
        let kept = fs::metadata(&file).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept) & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        fs::remove_file(&file).unwrap();
        save(&link, b"first").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"first");
        // a device of the machine would be lost if it were replaced
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::remove_file(&link).unwrap();
        symlink("pipe", &link).unwrap();
        let from = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(from).unwrap());
        save(&link, b"away").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), b"away");
        fs::remove_dir_all(&folder).unwrap();
    }
}
