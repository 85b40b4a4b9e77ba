//! The risk of a run on its way, by what is quick to compute.

use serde::{Deserialize, Serialize};

use super::RiskError;
use super::judge::Judge;
use crate::files::{MOST_BYTES, read_regular};
use crate::generator::FloatGenerator;
use crate::run_folder::RunFolder;
use crate::sample;
use crate::seeds;

/// Images on each side.
pub const WATCHED: usize = 500;
/// Readings in a row without a new best after which a run stops.
const PATIENCE: usize = 10;

/// The risk at one step, from the averaged generator's images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The step of the run.
    pub step: u64,
    /// The mean of `two_sample_risk`, 1 - `precision` and 1 - `coverage`, from 0 to 1.
    pub risk: f64,
    /// R by the nearest neighbour in features.
    pub two_sample_risk: f64,
    /// Share of the images that are like some real one.
    pub precision: f64,
    /// Share of the real images that some image is like.
    pub coverage: f64,
}

/// Evaluates the risk of a run's generator every so many steps.
pub struct RiskMonitor<'a> {
    judge: Judge<'a>,
    /// Steps between evaluations.
    pub every: u64,
    readings: Vec<Reading>,
    /// Step from which on readings count against the run's patience.
    patient_from: u64,
}

impl<'a> RiskMonitor<'a> {
    /// Goes on from earlier `readings`; a run that was given more steps at `extended_at` gets
    /// its whole patience again.
    pub fn new(judge: Judge<'a>, every: u64, readings: Vec<Reading>, extended_at: u64) -> Self {
        Self {
            judge,
            every,
            readings,
            patient_from: extended_at,
        }
    }

    /// Forgets what was found after `step`, which will be done again.
    pub fn go_back(&mut self, step: u64) {
        self.readings.retain(|reading| reading.step <= step);
    }

    /// Judges the generator of `step`.
    pub fn evaluate(
        &mut self,
        generator: &FloatGenerator,
        step: u64,
    ) -> Result<Reading, RiskError> {
        let classes = generator.config.data.class_names.len();
        let orders = self.judge.orders(classes, seeds::RISK_MONITOR);
        let each: Vec<_> = orders
            .iter()
            .flat_map(|order| order.each(classes))
            .collect();
        let images = sample::float_of(generator, &each);
        let card = self.judge.judge("the run", &images, &mut |_, _, _| {})?;
        let value = |key| card.figure(key).map_or(f64::NAN, |f| f.estimate.value);
        let two_sample_risk = value("risk_one_nearest");
        let (precision, coverage) = (value("precision"), value("coverage"));
        let reading = Reading {
            step,
            risk: (two_sample_risk + (1.0 - precision) + (1.0 - coverage)) / 3.0,
            two_sample_risk,
            precision,
            coverage,
        };
        self.readings.push(reading);
        Ok(reading)
    }

    /// The least risky so far, the earliest of equals.
    pub fn best(&self) -> Option<Reading> {
        best(&self.readings)
    }

    /// Whether it is time to stop.
    pub fn is_stalled(&self) -> bool {
        is_stalled(&self.readings, self.patient_from)
    }
}

/// Readings of a run up to `step`.
pub fn readings(folder: &RunFolder, step: u64) -> Vec<Reading> {
    let text = read_regular(&folder.risk(), MOST_BYTES).unwrap_or_default();
    let lines = text.split(|&byte| byte == b'\n');
    let readings = lines.filter_map(|line| serde_json::from_slice(line).ok());
    readings.filter(|r: &Reading| r.step <= step).collect()
}

fn best(readings: &[Reading]) -> Option<Reading> {
    let least = readings.iter().min_by(|a, b| a.risk.total_cmp(&b.risk));
    least.copied()
}

/// Whether the last ten readings, all behind step `from`, brought no new best.
pub fn is_stalled(readings: &[Reading], from: u64) -> bool {
    let best = best(readings).map_or(0, |best| best.step).max(from);
    readings.iter().filter(|r| r.step > best).count() >= PATIENCE
}
