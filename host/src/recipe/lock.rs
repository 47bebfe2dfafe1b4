use super::error::RunError;
use super::step::remove_files;
use goldcrest_edge::bundle::is_temporary;
use std::fs::{DirEntry, File, TryLockError};
use std::path::Path;

const LOCK: &str = ".lock";

/// Locks a folder against other runs until dropped; the system releases the lock of a killed process.
pub(super) struct Lock(#[expect(dead_code, reason = "it holds the lock")] File);

impl Lock {
    /// # Errors
    /// If another run holds the lock.
    pub fn on(folder: &Path) -> Result<Self, RunError> {
        std::fs::create_dir_all(folder).map_err(RunError::io(folder))?;
        let path = folder.join(LOCK);
        let file = File::create(&path).map_err(RunError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {
                remove_temporary(folder, DEPTH)?;
                Ok(Lock(file))
            }
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { folder: folder.into() }),
            // file systems without locks
            Err(TryLockError::Error(_)) => Ok(Lock(file)),
        }
    }
}

/// Number of folders within each other that a run makes: of a step, of one of its runs, of the best checkpoint.
const DEPTH: usize = 3;

/// Removes the temporary files of a run that was killed while it saved, except in the folders of other runs.
fn remove_temporary(folder: &Path, depth: usize) -> Result<(), RunError> {
    remove_files(folder, |path| path.file_name().is_some_and(|name| is_temporary(&name.to_string_lossy())))?;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_ours = |entry: &DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && !entry.path().join(LOCK).exists()
    };
    let mut folders = entries.filter(|entry| depth > 0 && is_ours(entry));
    folders.try_for_each(|entry| remove_temporary(&entry.path(), depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let first = Lock::on(&path).unwrap();
        assert!(matches!(Lock::on(&path), Err(RunError::Busy { .. })));
        drop(first);
        Lock::on(&path).unwrap();
    }

    #[test]
    fn what_a_killed_run_was_saving_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let best = folder.path().join("teacher/best");
        std::fs::create_dir_all(&best).unwrap();
        let (left, kept) = (best.join(".model.safetensors.12.3.tmp"), best.join("model.safetensors"));
        [&left, &kept].into_iter().for_each(|path| std::fs::write(path, "").unwrap());
        let other = folder.path().join("seed-1");
        let _lock = Lock::on(&other).unwrap();
        let in_work = other.join(".state.safetensors.12.4.tmp");
        std::fs::write(&in_work, "").unwrap();
        Lock::on(folder.path()).unwrap();
        assert_eq!([&left, &kept, &in_work].map(|path| path.exists()), [false, true, true]);
    }
}
