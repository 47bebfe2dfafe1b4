use super::INTERRUPTED;
use goldcrest::recipe::Progress;
use goldcrest::train::Event;
use goldcrest_edge::stream::Interrupt;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// Shows the progress of a run on stderr: bars on a terminal, result lines elsewhere, nothing with `quiet`.
pub struct Display {
    quiet: bool,
    terminal: bool,
    bar: ProgressBar,
    loss: f32,
    /// What the bar counts, if it is not training: how many, and of what.
    counted: Option<(usize, &'static str)>,
    /// Number of steps of the current training.
    steps: u64,
    interrupt: Interrupt,
}

impl Display {
    pub fn new(quiet: bool) -> std::io::Result<Self> {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let (bar, interrupt) = (ProgressBar::hidden(), Interrupt::on_signals(Some(INTERRUPTED.into()))?);
        interrupt.set_idle(true);
        Ok(Self { quiet, terminal, bar, loss: f32::NAN, counted: None, steps: 0, interrupt })
    }

    pub fn show(&mut self, progress: Progress) {
        // outside training there is nothing to save
        self.interrupt.set_idle(!matches!(progress, Progress::Training(_)));
        if matches!(progress, Progress::Step { .. }) && self.interrupt.requested() {
            // the signal came after the last update of a training, whose result is saved
            self.finish();
            tell!("goldcrest: interrupted; the same command continues");
            std::process::exit(INTERRUPTED.into());
        }
        match progress {
            Progress::Step { name, reused } => {
                self.finish();
                self.line(&if reused { format!("{name}: reused") } else { format!("{name} …") });
            }
            Progress::Note(text) => self.line(&format!("  {text}")),
            Progress::Classified { done, all } => self.count(done, all, "texts"),
            Progress::Fitted { done, all } => self.count(done, all, "steps on n-grams"),
            Progress::Training(Event::Started { done, steps }) => {
                if done > 0 {
                    self.line(&format!("  continues after step {done} of {steps}"));
                }
                self.steps = steps;
                self.start(steps, done, "steps");
            }
            Progress::Training(Event::Step { step, loss, stop }) => {
                stop.set(self.interrupt.requested());
                self.loss = if self.loss.is_nan() { loss } else { 0.98 * self.loss + 0.02 * loss };
                self.bar.set_position(step);
                self.bar.set_message(format!("loss {:.4}", self.loss));
            }
            Progress::Training(Event::Evaluating { done, all, stop }) => {
                stop.set(self.interrupt.requested());
                self.bar.set_message(format!("evaluating {done}/{all}"));
            }
            Progress::Training(Event::Evaluated { step, value, kept, .. }) => {
                let mark = if kept { "  kept" } else { "" };
                let value = value * 100.0;
                match self.steps {
                    // of averaged weights
                    0 => self.line(&format!("  dev {value:.2}")),
                    steps => self.line(&format!("  step {step} of {steps}: dev {value:.2}{mark}")),
                }
            }
            _ => {}
        }
    }

    /// Shows a bar of its own for something counted, from its first report on.
    fn count(&mut self, done: usize, all: usize, unit: &'static str) {
        if self.counted != Some((all, unit)) {
            self.finish();
            self.start(all as u64, 0, unit);
            self.counted = Some((all, unit));
        }
        self.bar.set_position(done as u64);
        if done == all {
            self.finish();
        }
    }

    fn start(&mut self, length: u64, done: u64, unit: &str) {
        self.loss = f32::NAN;
        if self.terminal {
            let template = format!("  {{bar:32}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = ProgressBar::new(length).with_style(style).with_position(done);
            self.bar.reset_eta();
        }
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
        self.counted = None;
    }

    fn line(&self, text: &str) {
        if self.terminal {
            self.bar.suspend(|| tell!("{text}"));
        } else if !self.quiet {
            tell!("{text}");
        }
    }
}
