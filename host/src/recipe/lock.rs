use super::error::RunError;
use std::fs::{File, TryLockError};
use std::path::Path;

/// Locks a folder against other runs until dropped; the system releases the lock of a killed process.
pub(super) struct Lock(#[expect(dead_code, reason = "it holds the lock")] File);

impl Lock {
    /// # Errors
    /// If another run holds the lock.
    pub fn on(folder: &Path) -> Result<Self, RunError> {
        std::fs::create_dir_all(folder).map_err(RunError::io(folder))?;
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(RunError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { folder: folder.into() }),
            // file systems without locks
            Err(TryLockError::Error(_)) => Ok(Lock(file)),
        }
    }
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
}
