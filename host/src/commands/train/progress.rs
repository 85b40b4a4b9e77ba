//! The progress of a run, for a terminal and for a log.

use std::time::{Duration, Instant};

use host::nn::Backend;
use host::risk::monitor::Reading;
use host::train::run::{Event, grid_columns};
use host::train::trainer::{StepReport, Trainer};
use host::{console, picture};
use indicatif::{FormattedDuration, ProgressBar, ProgressStyle};

use crate::cli::Train;

/// A bar on a terminal, a line now and then elsewhere.
pub struct Progress {
    bar: ProgressBar,
    batch: usize,
    steps: u64,
    begin: Instant,
    /// Steps done since, those that a rollback undid among them.
    steps_done: u64,
    /// Columns of the grids shown in the terminal, if they are.
    preview: Option<usize>,
}

/// Rows of images in the terminal.
const PREVIEW_ROWS: usize = 2;
/// Steps between lines where there is no terminal.
const LINE_EVERY: u64 = 100;

impl Progress {
    pub fn new<D: Backend<f32>>(trainer: &Trainer<D>, args: &Train) -> anyhow::Result<Self> {
        let steps = trainer.end_step;
        let bar = ProgressBar::new(steps);
        let template = "step {pos}/{len} {wide_bar} {msg} {eta} left";
        bar.set_style(ProgressStyle::with_template(template)?);
        bar.set_position(trainer.step());
        bar.reset_eta();
        if let Some(budget) = trainer.budget.filter(|budget| !budget.is_planned) {
            let left_s = budget.total_s - budget.spent_s;
            bar.println(format!("timing the first steps to fill {left_s:.0} s"));
        }
        Ok(Self {
            bar,
            batch: trainer.config.training.batch,
            steps,
            begin: Instant::now(),
            steps_done: 0,
            preview: args
                .preview
                .then(|| grid_columns(trainer.config.data.class_names.len())),
        })
    }

    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { report, diversity } => self.step(report, *diversity),
            Event::Sampled(images) => {
                if let Some(columns) = self.preview {
                    let some = images.first(columns * PREVIEW_ROWS);
                    self.raw_line(&picture::to_terminal(&picture::grid(&some, columns, 1)));
                }
            }
            Event::NotSaved(error) => {
                self.line(&format!("{error}; nothing is lost yet, trying again later"));
            }
            Event::Risk {
                reading,
                best,
                is_over,
            } => {
                let Reading {
                    step,
                    risk,
                    two_sample_risk,
                    precision,
                    coverage,
                } = reading;
                let rank = if best.step == *step {
                    "the least so far".to_owned()
                } else {
                    format!("the least is {:.3} of step {}", best.risk, best.step)
                };
                self.line(&format!(
                    "risk {risk:.3} at step {step} (R {two_sample_risk:.2}, precision {precision:.2}, \
                     coverage {coverage:.2}), {rank}"
                ));
                if *is_over {
                    self.line(&format!(
                        "it gets no better: stopping, with the generator of step {}",
                        best.step
                    ));
                }
            }
            Event::Memorized { error } => {
                self.line(&format!(
                    "the discriminator's predictions are wrong by {:.0} % only: it may know the \
                     real images by heart; more images help",
                    100.0 * error
                ));
            }
            Event::Planned { steps } => {
                self.steps = *steps;
                self.bar.set_length(*steps);
                self.line(&format!("{steps} steps fit the budget"));
            }
            Event::RolledBack { divergence, step } => {
                self.line(&format!(
                    "{divergence}: back to the averaged generator of step {step}, at half the rate"
                ));
            }
        }
    }

    fn step(&mut self, report: &StepReport, diversity: f32) {
        self.steps_done += 1;
        let steps_per_s = self.steps_done as f64 / self.begin.elapsed().as_secs_f64();
        let text = format!(
            "loss D {:.3} G {:.3}, variety {:.0} %, {:.0} images/s",
            report.discriminator_loss,
            report.generator_loss,
            100.0 * diversity,
            steps_per_s * self.batch as f64
        );
        if self.bar.is_hidden() {
            if report.step.is_multiple_of(LINE_EVERY) || report.step == self.steps {
                let left = self.steps.saturating_sub(report.step) as f64 / steps_per_s;
                let left = FormattedDuration(Duration::from_secs_f64(left));
                self.line(&format!(
                    "step {}/{}: {text}, {left} left",
                    report.step, self.steps
                ));
            }
        } else {
            self.bar.set_message(text);
            self.bar.set_position(report.step);
        }
    }

    fn line(&self, text: &str) {
        self.raw_line(&console::printable(text));
    }

    fn raw_line(&self, text: &str) {
        if self.bar.is_hidden() {
            console::print_raw(&format!("{text}\n"));
        } else {
            self.bar.println(text);
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
