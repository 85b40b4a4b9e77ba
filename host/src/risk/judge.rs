//! Judges pictures against held-out real ones, figure by figure.
//!
//! The held-out pictures are halved: one half is what generated pictures are compared with,
//! the other takes their place for the floor of every figure.

use super::card::{Card, Figure, Verdict};
use super::features::Extractor;
use super::frechet::{frechet, kernel_distance};
use super::interval::{Estimate, jackknife_over, ratio, share};
use super::neighbours::{Points, balls, one_nearest_hits, p_values};
use super::observers::Observer;
use super::{Progress, RiskError};
use crate::data::{Dataset, Images};
use crate::sample::Order;
use crate::train::random::{self, Purpose};

/// Neighbours of every k-nearest figure (Naeem et al. 2020).
pub const NEIGHBOURS: usize = 5;
/// A picture is flagged at this p-value.
pub const FLAGGED: f64 = 0.05;
/// Share of real pictures that count as copies.
const COPIES: f64 = 0.01;
/// Pictures on each side, unless asked for.
pub const DEFAULT_COUNT: usize = 3000;
/// Fewer than these make a warning.
const FEW: usize = 200;
/// Fewer than these are not judged.
const TOO_FEW: usize = 10;

/// A judge with the real pictures before it.
pub struct Judge<'a> {
    extractor: &'a Extractor,
    observers: &'a [Observer],
    data: String,
    train: Points,
    reference: Images,
    reference_points: Points,
    reference_scores: Vec<f32>,
    /// Real pictures recognised as their class, of how many; with labels only.
    control_hits: Option<(usize, usize)>,
    copies: Limits,
    floors: Vec<Measured>,
}

/// What is known of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Each {
    /// Share of real pictures that are at least as far from the training pictures.
    pub p_value: f64,
    /// The training picture that is most like it.
    pub nearest: usize,
    /// What it is recognised as, by features that know the classes.
    pub class: Option<u8>,
}

/// Squared distances below which a picture counts as a copy: of a training picture, of one of
/// the reference.
struct Limits {
    train: f32,
    reference: f32,
}

/// Key, name for people, and value.
type Measured = (&'static str, &'static str, Estimate);

impl<'a> Judge<'a> {
    /// For sets of `count` pictures, or as many as the held-out ones allow, to be told from
    /// real ones by `observers` (all of [`LADDER`](super::observers::LADDER), or none where
    /// time is short).
    pub fn new(
        extractor: &'a Extractor,
        observers: &'a [Observer],
        dataset: &Dataset,
        count: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Self, RiskError> {
        let n = count.min(dataset.held_out.len() / 2);
        if n < TOO_FEW {
            return Err(RiskError::TooFew(format!(
                "{count} pictures against {} held-out ones: at least {TOO_FEW} and {} are \
                 needed",
                dataset.held_out.len(),
                2 * TOO_FEW
            )));
        }
        let held_out = shuffled(&dataset.held_out, 2 * n);
        let reference = held_out.pick(0..n);
        let control = held_out.pick(n..2 * n);
        progress("looking at real pictures", 0, 3);
        let train = extractor.features(&dataset.train)?;
        let reference_points = extractor.features(&reference)?;
        let control_points = extractor.features(&control)?;
        progress("looking at real pictures", 1, 3);
        let reference_scores = reference_points.kth_nearest(&train, NEIGHBOURS);
        progress("looking at real pictures", 2, 3);
        let copies = Limits {
            train: quantile(control_points.kth_nearest(&train, 1)),
            reference: quantile(control_points.kth_nearest(&reference_points, 1)),
        };
        let control_hits = class_hits(extractor, &control, &control_points)?;
        let mut judge = Self {
            extractor,
            observers,
            data: dataset.name.clone(),
            train,
            reference,
            reference_points,
            reference_scores,
            control_hits,
            copies,
            floors: Vec::new(),
        };
        judge.floors = judge.measure(&control, &control_points, "real pictures", progress)?;
        Ok(judge)
    }

    /// Pictures on each side.
    pub fn len(&self) -> usize {
        self.reference.len()
    }

    /// Never: a judge without pictures is not made.
    pub fn is_empty(&self) -> bool {
        self.reference.is_empty()
    }

    /// Orders of as many pictures as are judged: of a generator with the real pictures'
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

    /// How often each class stands among the real pictures; empty without classes.
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
                "{subject}: {} pictures of {} values, {} of {} are needed",
                images.len(),
                images.image_len(),
                self.len(),
                self.reference.image_len()
            )));
        }
        let images = shuffled(images, self.len());
        let points = self.extractor.features(&images)?;
        let figures = self.measure(&images, &points, subject, progress)?;
        let figures = figures.into_iter().filter_map(|(key, name, estimate)| {
            // By key: pictures without labels have no class risk, though real ones do.
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
            features: self.extractor.describe(),
            figures: figures.collect(),
            verdict: Verdict::Low,
            reasons: Vec::new(),
            warnings: self.warnings(),
        };
        card.judge();
        Ok(card)
    }

    /// What is known of each of `images`, of any number.
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
        let scores = points.kth_nearest(&self.train, NEIGHBOURS);
        p_values(&self.reference_scores, &scores)
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.len() < FEW {
            warnings.push(format!(
                "{} pictures only: the intervals are wide, and small differences cannot be seen",
                self.len()
            ));
        }
        let accuracy = self.extractor.accuracy().map(|accuracy| accuracy.value);
        if let Some(accuracy) = accuracy.filter(|&accuracy| accuracy < 0.7) {
            warnings.push(format!(
                "the features' classifier is right about {:.0} % only: distances in them mean \
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
        points: &Points,
        subject: &str,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Measured>, RiskError> {
        let n = self.len();
        let mut figures = Vec::new();
        let mut told_apart = |[risk, accuracy_key]: [&'static str; 2], name, accuracy: Estimate| {
            figures.push((risk, name, accuracy.map(|a| (2.0 * a - 1.0).max(0.0))));
            figures.push((accuracy_key, "  its accuracy", accuracy));
        };
        let hits = one_nearest_hits(&self.reference_points, points);
        told_apart(
            ["risk_one_nearest", "one_nearest"],
            "R by the nearest neighbour in features",
            share(hits, 2 * n),
        );
        for (i, observer) in self.observers.iter().enumerate() {
            progress(subject, i, self.observers.len() + 1);
            let accuracy = observer.accuracy(&self.reference, images)?;
            told_apart(observer.keys, observer.name, accuracy);
        }
        progress(subject, self.observers.len(), self.observers.len() + 1);
        let found = balls(&self.reference_points, points, NEIGHBOURS);
        let of = |hits: &[bool]| share(hits.iter().filter(|hit| **hit).count(), hits.len());
        let precision = of(&found.inside);
        let coverage = of(&found.covered);
        figures.push((
            "fidelity_risk",
            "fidelity risk 1 - precision",
            precision.map(|p| 1.0 - p),
        ));
        figures.push(("precision", "precision", precision));
        figures.push(("density", "density", jackknife_over(&found.density)));
        figures.push((
            "diversity_risk",
            "diversity risk 1 - coverage",
            coverage.map(|c| 1.0 - c),
        ));
        figures.push(("coverage", "coverage", coverage));
        figures.push(("recall", "recall", of(&found.recalled)));
        figures.extend(self.class_risk(images, points)?);
        figures.extend(self.memorisation(points));
        let p_values = self.p_values_of(points);
        let flagged = p_values.iter().filter(|&&p| p <= FLAGGED).count();
        figures.push(("flagged", "flagged one by one, p <= .05", share(flagged, n)));
        figures.push((
            "fd",
            "FD in these features",
            frechet(&self.reference_points, points),
        ));
        let kernel = kernel_distance(&self.reference_points, points);
        figures.push(("kd", "KID in these features", kernel));
        progress(subject, self.observers.len() + 1, self.observers.len() + 1);
        Ok(figures)
    }

    /// With labels on both sides, and features that know the classes.
    fn class_risk(&self, images: &Images, points: &Points) -> Result<Option<Measured>, RiskError> {
        let asked = class_hits(self.extractor, images, points)?;
        let hits = asked.zip(self.control_hits);
        Ok(hits.map(|(asked, real)| {
            let risk = ratio(asked, real).map(|ratio| 1.0 - ratio);
            let name = "class risk: not recognised as asked for";
            ("class_risk", name, risk)
        }))
    }

    fn memorisation(&self, points: &Points) -> [Measured; 3] {
        let train = points.kth_nearest(&self.train, 1);
        let reference = points.kth_nearest(&self.reference_points, 1);
        let below = |distances: &[f32], limit: f32| {
            let n = distances.iter().filter(|d| **d < limit).count();
            share(n, distances.len())
        };
        let ratios = train.iter().zip(&reference);
        let ratios: Vec<f64> = ratios
            .map(|(t, r)| f64::from((t / r.max(f32::MIN_POSITIVE)).sqrt()))
            .collect();
        [
            (
                "copies",
                "copies of training pictures",
                below(&train, self.copies.train),
            ),
            (
                "copies_control",
                "  the same of held-out ones",
                below(&reference, self.copies.reference),
            ),
            (
                "distance_ratio",
                "distance to training over held-out ones",
                super::interval::median(&ratios),
            ),
        ]
    }
}

/// Pictures recognised as their labels say, of how many; none without labels, or where the
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

fn quantile(mut distances: Vec<f32>) -> f32 {
    distances.sort_by(f32::total_cmp);
    let at = (COPIES * distances.len() as f64) as usize;
    distances.get(at).copied().unwrap_or(0.0)
}

/// `n` of the pictures, in a random order.
fn shuffled(images: &Images, n: usize) -> Images {
    let mut rng = random::stream(1, Purpose::Split, 0);
    let order = random::permutation(&mut rng, images.len());
    images.pick(order.into_iter().take(n).map(|i| i as usize))
}
