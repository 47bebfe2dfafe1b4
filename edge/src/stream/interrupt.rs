//! A polite end: the message in hand is finished, its record written, and then the program stops.
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the stream was asked to end.
///
/// While the loop waits for input nothing is in hand and all records are out, so the signal may end the
/// process on the spot; a read that blocks need not be woken. A second signal always ends it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    waiting: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens to SIGTERM and SIGINT, but for one that the program was started to ignore, as a shell starts what runs in the
    /// background. Ending while waiting for input is exit code 0.
    pub fn on_signals() -> io::Result<Self> {
        let interrupt = Interrupt::default();
        for signal in [SIGTERM, SIGINT].into_iter().filter(|signal| !ignores(*signal)) {
            flag::register_conditional_shutdown(signal, 0, interrupt.waiting.clone())?;
            flag::register_conditional_shutdown(signal, 1, interrupt.requested.clone())?;
            flag::register(signal, interrupt.requested.clone())?;
        }
        Ok(interrupt)
    }

    /// Asks the stream to end, as a signal does.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked to.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Waits for input by `read`, unless the end was asked for: then `None`.
    pub fn wait<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        // a signal before this line is seen by the check, one after it ends the process
        self.waiting.store(true, Ordering::SeqCst);
        let result = (!self.requested()).then(read);
        self.waiting.store(false, Ordering::SeqCst);
        result
    }
}

/// Whether this process was started to ignore a signal; `false` where the system does not say so.
pub fn ignores(signal: i32) -> bool {
    is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), signal)
}

/// Whether a process ignores a signal, as its `/proc/PID/status` tells (proc_pid_status(5), SigIgn).
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_told_apart() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001006\n";
        assert!(is_ignored(status, SIGINT) && !is_ignored(status, SIGTERM) && !is_ignored("", SIGINT));
    }
}
