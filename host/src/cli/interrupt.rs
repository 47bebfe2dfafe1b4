//! A polite end of a long run: what was learned up to the step at hand is saved first.
use goldcrest_edge::stream::ignores;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the run was asked to end. Where nothing is being trained there is nothing to save, and a signal ends the process on the
/// spot; so does a second one.
#[derive(Clone, Debug)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    elsewhere: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens to SIGINT and SIGTERM.
    pub fn on_signals() -> io::Result<Self> {
        let interrupt = Interrupt { requested: Arc::default(), elsewhere: Arc::new(AtomicBool::new(true)) };
        let code = super::INTERRUPTED.into();
        for signal in [SIGINT, SIGTERM].into_iter().filter(|signal| !ignores(*signal)) {
            flag::register_conditional_shutdown(signal, code, interrupt.elsewhere.clone())?;
            flag::register_conditional_shutdown(signal, code, interrupt.requested.clone())?;
            flag::register(signal, interrupt.requested.clone())?;
        }
        Ok(interrupt)
    }

    /// Says whether something is being trained.
    pub fn training(&self, training: bool) {
        self.elsewhere.store(!training, Ordering::SeqCst);
    }

    /// Whether a signal came.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}
