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
    /// Listens to SIGTERM and SIGINT. Ending while waiting for input is exit code 0.
    pub fn on_signals() -> io::Result<Self> {
        let interrupt = Interrupt::default();
        for signal in [SIGTERM, SIGINT] {
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
