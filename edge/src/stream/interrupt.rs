//! A polite end: what is in hand, a message or a step of training, is finished, and then the program stops.
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether the program was asked to end. A copy is the same.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    /// Which signal asked; 0: none.
    signal: Arc<AtomicUsize>,
    /// Whether one may end the process on the spot.
    idle: Arc<AtomicBool>,
    /// Two ends of a pipe; there is something to read at the first once the end was asked for.
    pipe: Option<Arc<(UnixStream, UnixStream)>>,
}

impl Interrupt {
    /// Asked for by [`request`](Self::request) alone, which wakes a source that waits.
    ///
    /// [`default`](Self::default) needs nothing of the system, but wakes nobody.
    ///
    /// # Errors
    /// When the system gives no pipe.
    pub fn new() -> io::Result<Self> {
        Ok(Interrupt { pipe: Some(Arc::new(UnixStream::pair()?)), ..Interrupt::default() })
    }

    /// Listens to SIGTERM, SIGINT and SIGHUP, but for those that the program was started to ignore, as a shell starts what runs in
    /// the background. A second one ends the process as if nobody listened; so does the first, with the exit code `idle` if there
    /// is one, while [nothing is in hand](Self::nothing_in_hand).
    pub fn on_signals(idle: Option<i32>) -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        let interrupt =
            Interrupt { pipe: Some(Arc::new((woken, wake.try_clone()?))), ..Interrupt::default() };
        // where the system does not say so, none is
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| !is_ignored(&status, *signal)) {
            if let Some(code) = idle {
                flag::register_conditional_shutdown(signal, code, interrupt.idle.clone())?;
            }
            flag::register_conditional_default(signal, interrupt.requested.clone())?;
            flag::register_usize(signal, interrupt.signal.clone(), signal as usize)?;
            flag::register(signal, interrupt.requested.clone())?;
            low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(interrupt)
    }

    /// Asks it to end, as a signal does.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
        if let Some((_, wake)) = self.pipe.as_deref() {
            // a pipe that is full or broken wakes as well
            let _ = (&mut &*wake).write(&[0]);
        }
    }

    /// Whether it was asked to.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// The signal that asked, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst) as i32).filter(|signal| *signal != 0)
    }

    /// Says whether a signal may end the process on the spot. At first it may not.
    pub fn nothing_in_hand(&self, so: bool) {
        self.idle.store(so, Ordering::SeqCst);
    }

    /// Waits until `source` has something to give, an end or an error included, or until the end is asked for. Whether it has.
    pub fn wait_for(&self, source: &impl AsFd) -> bool {
        let source = PollFd::new(source, PollFlags::IN);
        let woken = self.pipe.as_deref().map(|(woken, _)| PollFd::new(woken, PollFlags::IN));
        let count = 1 + usize::from(woken.is_some());
        let mut waits = [source.clone(), woken.unwrap_or(source)];
        match poll(&mut waits[..count], None) {
            Ok(_) => !waits[0].revents().is_empty(),
            // the read tells why
            Err(error) => error != Errno::INTR,
        }
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
    fn a_request_wakes_a_source_that_waits() {
        let interrupt = Interrupt::new().unwrap();
        let (silent, _writer) = UnixStream::pair().unwrap();
        let waits = interrupt.clone();
        let waiting = std::thread::spawn(move || waits.wait_for(&silent));
        interrupt.request();
        assert!(!waiting.join().unwrap());
    }

    #[test]
    fn ignored_signals_are_told_apart() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001006\n";
        assert!(is_ignored(status, SIGINT) && !is_ignored(status, SIGTERM) && !is_ignored("", SIGINT));
    }
}
