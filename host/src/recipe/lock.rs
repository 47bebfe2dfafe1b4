use super::error::RunError;
use super::step::remove_files;
use goldcrest_edge::bundle::temporary_writer;
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
        // what another program keeps under this name stays
        let open = File::options().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(RunError::io(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(RunError::Busy { folder: folder.into() }),
            // file systems without locks
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        remove_temporary(folder, DEPTH)?;
        Ok(Lock(file))
    }
}

/// Number of folders within each other that a run makes: of a step, of one of its runs, of the best checkpoint.
const DEPTH: usize = 3;

/// Removes the temporary files of processes that were killed while they saved, except in the folders of other
/// runs.
pub(super) fn remove_temporary(folder: &Path, depth: usize) -> Result<(), RunError> {
    let is_left = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // this process has saved nothing yet, but in a container its id may be that of the killed one; where there is no
        // /proc, the lock alone tells that nobody is writing
        let is_gone = |process: u32| !Path::new("/proc").join(process.to_string()).exists();
        temporary_writer(&name).is_some_and(|process| process == std::process::id() || is_gone(process))
    };
    remove_files(folder, is_left)?;
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
        std::fs::write(path.join(LOCK), "precious").unwrap();
        Lock::on(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path.join(LOCK)).unwrap(), "precious");
    }

    #[test]
    fn what_a_killed_run_was_saving_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let best = folder.path().join("teacher/best");
        std::fs::create_dir_all(&best).unwrap();
        // above the highest id of a process
        let left = best.join(".model.safetensors.4194305.3.tmp");
        let of_this_process = best.join(format!(".model.safetensors.{}.3.tmp", std::process::id()));
        let of_another_process = best.join(".model.safetensors.1.3.tmp");
        let kept = best.join("model.safetensors");
        let other = folder.path().join("seed-1");
        let _lock = Lock::on(&other).unwrap();
        let of_another_run = other.join(".state.safetensors.4194305.4.tmp");
        let mut files = vec![left.clone(), of_this_process.clone(), kept, of_another_run];
        files.extend(cfg!(target_os = "linux").then_some(of_another_process));
        files.iter().for_each(|path| std::fs::write(path, "").unwrap());
        Lock::on(folder.path()).unwrap();
        files.retain(|path| !path.exists());
        assert_eq!(files, [left, of_this_process]);
    }
}
