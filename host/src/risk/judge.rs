//! Judges images against held-out real ones, figure by figure.
//!
//! The held-out images are halved: one half is what generated images are compared with,
//! the other takes their place for the floor of every figure. Where hardly any are held out,
//! images of the training stand for them, and what compares with the training is left out.

use std::borrow::Cow;

use serde::Serialize;

use super::card::{Card, Figure, Rating};
use super::features::Extractor;
use super::frechet::{frechet, kernel_distance};
use super::interval::{Estimate, ratio};
use super::knn::{Points, p_values};
use super::knn_metrics::{FEWEST_FOR_INTERVAL, FLAGGED, K, Sample, compare};
use super::two_sample::TwoSampleTest;
use super::{Progress, RiskError};
use crate::data::{Dataset, HELD_OUT_EVERY, Images};
use crate::random::{self, Purpose};
use crate::sample::Order;

/// Images on each side, unless asked for.
pub const DEFAULT_COUNT: usize = 3000;
/// Fewer than these make a warning.
const FEW: usize = 200;
/// Real images, two on each side, without which nothing is judged.
const FEWEST_REAL: usize = 4;

/// A judge with the real images before it.
pub struct Judge<'a> {
    extractor: &'a Extractor,
    tests: &'a [TwoSampleTest],
    data: String,
    train: Points,
    reference: Images,
    reference_sample: Sample,
    /// Reference images that are recognised as their class, and how many there are; with labels only.
    reference_hits: Option<(usize, usize)>,
    floors: Vec<Measured>,
    /// Held-out images of the set, also those that are not judged by.
    held_out: usize,
    /// Whether the real images are of the training.
    is_of_training: bool,
}

/// The judgement of one image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Each {
    /// Share of real images that are at least as far from the training images.
    pub p_value: f64,
    /// The training image that is most like it.
    pub nearest: usize,
    /// The class that it is recognised as, by features that know the classes.
    pub class: Option<u8>,
}

/// Key, name for people, and value.
type Measured = (&'static str, &'static str, Estimate);

impl<'a> Judge<'a> {
    /// For sets of `count` images, or as many as the held-out ones allow, to be told from
    /// real ones by `tests` (all of [`TESTS`](super::two_sample::TESTS), or none where
    /// time is short).
    pub fn new(
        extractor: &'a Extractor,
        tests: &'a [TwoSampleTest],
        dataset: &Dataset,
        count: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Self, RiskError> {
        let real = real_pictures(dataset)?;
        let n = enough(count, &real)?;
        let pictures = shuffled(&real, 0..2 * n);
        Self::with(extractor, tests, dataset, &pictures, progress)
    }

    /// Without tests, and by other held-out images than [`new`](Self::new) takes where
    /// there are enough: for choosing what it will judge.
    pub fn to_choose_by(
        extractor: &'a Extractor,
        dataset: &Dataset,
        count: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Self, RiskError> {
        let real = real_pictures(dataset)?;
        let n = enough(count, &real)?;
        let pictures = shuffled(&real, real.len() - 2 * n..real.len());
        Self::with(extractor, &[], dataset, &pictures, progress)
    }

    fn with(
        extractor: &'a Extractor,
        tests: &'a [TwoSampleTest],
        dataset: &Dataset,
        pictures: &Images,
        progress: &mut Progress<'_>,
    ) -> Result<Self, RiskError> {
        let n = pictures.len() / 2;
        let reference = pictures.pick(0..n);
        let control = pictures.pick(n..2 * n);
        progress("looking at real images", 0, 3);
        let train = extractor.features(&dataset.train)?;
        progress("looking at real images", 1, 3);
        let reference_points = extractor.features(&reference)?;
        let control_points = extractor.features(&control)?;
        progress("looking at real images", 2, 3);
        let reference_hits = class_hits(extractor, &reference, &reference_points)?;
        let reference_sample = Sample::new(reference_points, &train);
        let mut judge = Self {
            extractor,
            tests,
            data: dataset.name.clone(),
            train,
            reference,
            reference_sample,
            reference_hits,
            floors: Vec::new(),
            held_out: dataset.held_out.len(),
            is_of_training: dataset.held_out.len() < FEWEST_REAL,
        };
        judge.floors = judge.measure(&control, control_points, "real images", progress)?;
        Ok(judge)
    }

    /// Images on each side.
    pub fn len(&self) -> usize {
        self.reference.len()
    }

    /// Never: a judge without images is not made.
    pub fn is_empty(&self) -> bool {
        self.reference.is_empty()
    }

    /// Orders of as many images as are judged: of a generator with the real images'
    /// classes as many of each class, with seeds of its own from `seed` on.
    pub fn orders(&self, classes: usize, seed: u64) -> Vec<Order> {
        let counts = self.class_counts();
        let order = |count, seed, class| Order { count, seed, class };
        if classes == 0 || classes != counts.len() {
            return vec![order(self.len(), seed, None)];
        }
        let mut next = seed;
        let each = counts.iter().enumerate().map(|(class, &count)| {
            let first = next;
            next += count as u64;
            order(count, first, Some(class))
        });
        each.collect()
    }

    /// How often each class stands among the real images; empty without classes.
    fn class_counts(&self) -> Vec<usize> {
        let labels = &self.reference.labels;
        let classes = labels
            .iter()
            .max()
            .map_or(0, |&class| usize::from(class) + 1);
        let mut counts = vec![0; classes];
        labels
            .iter()
            .for_each(|&class| counts[usize::from(class)] += 1);
        counts
    }

    /// Judges `images`, at least as many as [`len`](Self::len) says; their labels are the
    /// classes asked for.
    pub fn judge(
        &self,
        subject: &str,
        images: &Images,
        progress: &mut Progress<'_>,
    ) -> Result<Card, RiskError> {
        if images.len() < self.len() || images.image_len() != self.reference.image_len() {
            return Err(RiskError::TooFew(format!(
                "{subject}: {} images of {} values, {} of {} are needed",
                images.len(),
                images.image_len(),
                self.len(),
                self.reference.image_len()
            )));
        }
        let images = shuffled(images, 0..self.len());
        let points = self.extractor.features(&images)?;
        let figures = self.measure(&images, points, subject, progress)?;
        let figures = figures.into_iter().filter_map(|(key, name, estimate)| {
            // By key: images without labels have no class risk, though real ones do.
            let (.., floor) = *self.floors.iter().find(|floor| floor.0 == key)?;
            Some(Figure {
                key,
                name,
                estimate,
                floor,
            })
        });
        let mut card = Card {
            subject: subject.to_owned(),
            data: self.data.clone(),
            n: self.len(),
            reference: match self.is_of_training {
                true => "training",
                false => "held-out",
            },
            features: self.extractor.describe(),
            figures: figures.collect(),
            rating: Rating::Low,
            reasons: Vec::new(),
            warnings: self.warnings(),
        };
        card.judge();
        Ok(card)
    }

    /// The judgement of each of `images`, of any number.
    pub fn each(&self, images: &Images) -> Result<Vec<Each>, RiskError> {
        let points = self.extractor.features(images)?;
        let classes = self.extractor.classify(&points)?.unwrap_or_default();
        let nearest = points.nearest(&self.train);
        let each = self.p_values_of(&points).into_iter().zip(nearest);
        let each = each.enumerate().map(|(i, (p_value, nearest))| Each {
            p_value,
            nearest,
            class: classes.get(i).copied(),
        });
        Ok(each.collect())
    }

    fn p_values_of(&self, points: &Points) -> Vec<f64> {
        let scores = points.nearest_distances(&self.train, [K]);
        p_values(&self.reference_sample.scores(), &scores.concat())
    }

    /// Reasons why all figures are less certain than their intervals say, and figures left out.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_of_training {
            warnings.push(format!(
                "too few images are held out ({}): the real ones are those of the training, so \
                 all figures are too good, and copies cannot be told; of {} images enough are \
                 held out",
                self.held_out,
                FEWEST_REAL * HELD_OUT_EVERY
            ));
        }
        if self.len() < FEWEST_FOR_INTERVAL {
            warnings.push(format!(
                "{} images are too few for the intervals of neighbours: {} on each side have \
                 some, of {} images in all",
                self.len(),
                FEWEST_FOR_INTERVAL,
                2 * FEWEST_FOR_INTERVAL * HELD_OUT_EVERY
            ));
        }
        if self.len() < FEW {
            warnings.push(format!(
                "{} images only: the intervals are wide, and small differences cannot be seen",
                self.len()
            ));
        }
        if !self.can_flag(FLAGGED) {
            warnings.push(format!(
                "{} real images are too few to flag one at p <= {FLAGGED}",
                self.len()
            ));
        }
        let accuracy = self.extractor.accuracy().map(|accuracy| accuracy.value);
        if let Some(accuracy) = accuracy.filter(|&accuracy| accuracy < 0.7) {
            warnings.push(format!(
                "the features' classifier recognises {:.0} % only: distances in them mean \
                 little",
                100.0 * accuracy
            ));
        }
        warnings
    }

    /// All figures of `images`, whose features `points` are, against the reference.
    fn measure(
        &self,
        images: &Images,
        points: Points,
        subject: &str,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Measured>, RiskError> {
        let class_risk = self.class_risk(images, &points)?;
        let sample = Sample::new(points, &self.train);
        let near = compare(&self.reference_sample, &sample);
        let mut figures = self.two_sample_figures(images, near.one_nearest, subject, progress)?;
        let not = |estimate: Estimate| estimate.map(|share| 1.0 - share);
        figures.extend([
            (
                "fidelity_risk",
                "fidelity risk 1 - precision",
                not(near.precision),
            ),
            ("precision", "precision", near.precision),
            ("density", "density", near.density),
            (
                "diversity_risk",
                "diversity risk 1 - coverage",
                not(near.coverage),
            ),
            ("coverage", "coverage", near.coverage),
            ("recall", "recall", near.recall),
        ]);
        figures.extend(class_risk);
        let of_training = [
            ("copies", "copies of training images", near.copies),
            (
                "copies_control",
                "  the same of held-out ones",
                near.copies_control,
            ),
            (
                "distance_ratio",
                "distance to training over held-out ones",
                near.distance_ratio,
            ),
        ];
        if !self.is_of_training {
            figures.extend(of_training);
        }
        if self.can_flag(FLAGGED) {
            figures.push(("flagged", "flagged one by one, p <= .05", near.flagged));
        }
        let (real, points) = (&self.reference_sample.points, &sample.points);
        figures.push(("fd", "FD in these features", frechet(real, points)));
        let kernel = kernel_distance(real, points);
        figures.push(("kd", "KID in these features", kernel));
        progress(subject, self.tests.len() + 1, self.tests.len() + 1);
        Ok(figures)
    }

    /// The risk R of each two-sample test, and the accuracy that it comes from; `one_nearest` is
    /// that of the nearest neighbour.
    fn two_sample_figures(
        &self,
        images: &Images,
        one_nearest: Estimate,
        subject: &str,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Measured>, RiskError> {
        let pair = |[risk, accuracy_key]: [&'static str; 2], name, accuracy: Estimate| {
            [
                (risk, name, accuracy.map(|a| (2.0 * a - 1.0).max(0.0))),
                (accuracy_key, "  its accuracy", accuracy),
            ]
        };
        let mut figures = Vec::from(pair(
            ["risk_one_nearest", "one_nearest"],
            "R by the nearest neighbour in features",
            one_nearest,
        ));
        for (i, test) in self.tests.iter().enumerate() {
            progress(subject, i, self.tests.len() + 1);
            let accuracy = test.accuracy(&self.reference, images)?;
            figures.extend(pair(test.keys, test.name, accuracy));
        }
        progress(subject, self.tests.len(), self.tests.len() + 1);
        Ok(figures)
    }

    /// Whether any image's p-value can be this small, by so many real ones.
    pub fn can_flag(&self, p_value: f64) -> bool {
        !self.is_of_training && p_value * (self.len() + 1) as f64 >= 1.0
    }

    /// Checks that an image's p-value can be this small; `held_out` images are held out, half
    /// of which judge.
    pub fn ensure_can_flag(&self, p_value: f64, held_out: usize) -> Result<(), RiskError> {
        if self.can_flag(p_value) {
            return Ok(());
        }
        let needed = (2.0 / p_value).ceil() as usize;
        Err(RiskError::TooFew(format!(
            "{held_out} images are held out; for a p-value of {p_value} it takes {needed}, which \
             a set of {} images has",
            needed.saturating_mul(6)
        )))
    }

    /// Share of images of the wrong class, where both sides have labels and the features know
    /// the classes.
    fn class_risk(&self, images: &Images, points: &Points) -> Result<Option<Measured>, RiskError> {
        let asked = class_hits(self.extractor, images, points)?;
        let hits = asked.zip(self.reference_hits);
        Ok(hits.map(|(asked, real)| {
            let risk = ratio(asked, real).map(|ratio| 1.0 - ratio);
            let name = "class risk: not recognised as asked for";
            ("class_risk", name, risk)
        }))
    }
}

/// The images to judge by: those held out, or all where these are too few.
fn real_pictures(dataset: &Dataset) -> Result<Cow<'_, Images>, RiskError> {
    let held_out = dataset.held_out.len();
    if held_out >= FEWEST_REAL {
        return Ok(Cow::Borrowed(&dataset.held_out));
    }
    let mut all = dataset.train.clone();
    all.append(&dataset.held_out);
    if all.len() < FEWEST_REAL {
        return Err(RiskError::TooFew(format!(
            "{} images, {held_out} of them held out: judging takes {FEWEST_REAL} at least, and \
             {} to hold out as many",
            all.len(),
            FEWEST_REAL * HELD_OUT_EVERY
        )));
    }
    Ok(Cow::Owned(all))
}

/// Images on each side, two at least.
fn enough(count: usize, real: &Images) -> Result<usize, RiskError> {
    let n = count.min(real.len() / 2);
    if n < 2 {
        return Err(RiskError::TooFew(format!(
            "images to judge: {count}; 2 are needed at least"
        )));
    }
    Ok(n)
}

/// Images recognised as their labels say, of how many; none without labels, or where the
/// features do not know the classes.
fn class_hits(
    extractor: &Extractor,
    images: &Images,
    points: &Points,
) -> Result<Option<(usize, usize)>, RiskError> {
    if images.labels.is_empty() {
        return Ok(None);
    }
    let hits = extractor.classify(points)?.map(|found| {
        let pairs = found.iter().zip(&images.labels);
        (pairs.filter(|(a, b)| a == b).count(), images.labels.len())
    });
    Ok(hits)
}

/// The images at `places` of one random order.
fn shuffled(images: &Images, places: std::ops::Range<usize>) -> Images {
    let mut rng = random::stream(1, Purpose::Split, 0);
    let order = random::permutation(&mut rng, images.len());
    let order = order.get(places).unwrap_or_default();
    images.pick(order.iter().map(|&i| i as usize))
}
