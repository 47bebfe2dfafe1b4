//! Graceful shutdown: the program finishes its current work, a message or a training step, and then stops.
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A request to end the program. Clones share their state.
#[derive(Clone, Debug)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    /// The signal that requested the end; 0 for none.
    signal: Arc<AtomicUsize>,
    /// Whether a signal may end the process at once.
    idle: Arc<AtomicBool>,
    /// Two connected sockets; the first becomes readable once the end is requested.
    sockets: Arc<(UnixStream, UnixStream)>,
}

impl Interrupt {
    /// Returns an interrupt that only [`request`](Self::request) triggers.
    ///
    /// # Errors
    /// If the system cannot create sockets.
    pub fn new() -> io::Result<Self> {
        let (requested, signal, idle) = Default::default();
        Ok(Interrupt { requested, signal, idle, sockets: Arc::new(UnixStream::pair()?) })
    }

    /// Listens to SIGTERM, SIGINT and SIGHUP, except those that the process has ignored from its start, like
    /// a background job of a shell. A second signal, a second or more after the first, ends the process as if
    /// there were no handler: timeout(1), for one, sends each signal twice. If `idle` is given, the first one
    /// ends it at once too, with this exit code, while the program is [idle](Self::set_idle).
    ///
    /// Also [survives a limit on the size of files](survive_file_size_limit).
    ///
    /// Takes a small thread, which waits for the first signal. If it cannot be started, the second signal
    /// counts however soon it comes.
    ///
    /// # Errors
    /// If the system cannot create sockets or refuses a handler.
    pub fn on_signals(idle: Option<i32>) -> io::Result<Self> {
        const REPEATED: Duration = Duration::from_secs(1);
        const STACK: usize = 64 << 10;
        let interrupt = Self::new()?;
        let insisted = Arc::new(AtomicBool::new(false));
        let (first, last) = (interrupt.sockets.clone(), insisted.clone());
        let thread = std::thread::Builder::new().name("signals".into()).stack_size(STACK).spawn(move || {
            while poll(&mut [PollFd::new(&first.0, PollFlags::IN)], None) == Err(Errno::INTR) {}
            std::thread::sleep(REPEATED);
            last.store(true, Ordering::SeqCst);
        });
        let ends = if thread.is_ok() { &insisted } else { &interrupt.requested };
        // on systems without this file, assume that no signal is ignored
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| !is_ignored(&status, *signal)) {
            if let Some(code) = idle {
                flag::register_conditional_shutdown(signal, code, interrupt.idle.clone())?;
            }
            flag::register_conditional_default(signal, ends.clone())?;
            flag::register_usize(signal, interrupt.signal.clone(), signal as usize)?;
            flag::register(signal, interrupt.requested.clone())?;
            low_level::pipe::register(signal, interrupt.sockets.1.try_clone()?)?;
        }
        survive_file_size_limit()?;
        Ok(interrupt)
    }

    /// Requests the end, as a signal does. A source that is waited for wakes.
    pub fn request(&self) {
        let again = self.requested.swap(true, Ordering::SeqCst);
        // one byte is enough, and nobody reads it: more would fill the buffer
        if !again {
            let _ = (&self.sockets.1).write(&[0]);
        }
    }

    /// Returns whether the end was requested.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Returns the signal that requested the end, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst) as i32).filter(|signal| *signal != 0)
    }

    /// Sets whether a signal may end the process at once. Initially it may not.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    /// Waits until `source` is readable (its end and errors included), a signal arrives, or the end is
    /// requested. Returns whether `source` is readable.
    pub fn wait_for(&self, source: &impl AsFd) -> bool {
        let mut waits = [PollFd::new(source, PollFlags::IN), PollFd::new(&self.sockets.0, PollFlags::IN)];
        match poll(&mut waits, None) {
            Ok(_) => !waits[0].revents().is_empty(),
            // the read will report the error
            Err(error) => error != Errno::INTR,
        }
    }
}

/// Catches SIGXFSZ, so that a limit on the size of files makes a write fail instead of ending the process.
///
/// # Errors
/// If the system refuses the handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

/// Returns whether a process ignores a signal, according to its `/proc/PID/status`
/// (SigIgn in proc_pid_status(5)).
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_a_waiting_source() {
        let interrupt = Interrupt::new().unwrap();
        let (silent, _writer) = UnixStream::pair().unwrap();
        let waits = interrupt.clone();
        let (readable, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || readable.send(waits.wait_for(&silent)));
        (0..1000).for_each(|_| interrupt.request());
        assert_eq!(result.recv_timeout(Duration::from_secs(60)), Ok(false));
    }

    #[test]
    fn ignored_signals_are_recognised() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001006\n";
        assert!(is_ignored(status, SIGINT) && !is_ignored(status, SIGTERM) && !is_ignored("", SIGINT));
    }
}
