//! A polite end: what is in hand, a message or a step of training, is finished, and then the program stops.
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the program was asked to end.
///
/// While a stream waits for input nothing is in hand and all records are out, so the signal may end the
/// process on the spot; what blocks need not be woken. A second signal always ends it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    waiting: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens to SIGTERM and SIGINT, but for one that the program was started to ignore, as a shell starts what runs in the
    /// background. A signal that comes while nothing is in hand ends the process with the exit code `idle`, a second one with
    /// `again`.
    pub fn on_signals(idle: i32, again: i32) -> io::Result<Self> {
        let interrupt = Interrupt::default();
        // where the system does not say so, none is
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGTERM, SIGINT].into_iter().filter(|signal| !is_ignored(&status, *signal)) {
            flag::register_conditional_shutdown(signal, idle, interrupt.waiting.clone())?;
            flag::register_conditional_shutdown(signal, again, interrupt.requested.clone())?;
            flag::register(signal, interrupt.requested.clone())?;
        }
        Ok(interrupt)
    }

    /// Asks it to end, as a signal does.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked to.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Waits for input by `wait`, which must not consume any, unless the end was asked for: then `None`.
    pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        // a signal before this line is seen by the check, one after it ends the process
        self.nothing_in_hand(true);
        let result = (!self.requested()).then(wait);
        self.nothing_in_hand(false);
        result
    }

    /// Says whether a signal may end the process on the spot. At first it may not.
    pub fn nothing_in_hand(&self, so: bool) {
        self.waiting.store(so, Ordering::SeqCst);
    }
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
