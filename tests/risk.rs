//! What the confidence risk says of sets whose risk is known.

use std::sync::LazyLock;

use gan_core::latent::Pcg32;
use host::data::{self, DataRequest, Dataset, Images};
use host::risk::card::{Card, Rating};
use host::risk::features::Extractor;
use host::risk::frechet::{frechet, kernel_distance};
use host::risk::interval::{Estimate, GROUPS, jackknife, ratio, share};
use host::risk::judge::Judge;
use host::risk::knn::{Points, neighbourhood, p_values};
use host::risk::knn_metrics::{K, KnnMetrics, Sample, compare};
use host::risk::monitor::{Reading, is_stalled};
use host::risk::two_sample::{TESTS, TwoSampleTest, View, seen};
use proptest::prelude::*;

/// Held-out images on each side where a test does not say otherwise.
const COUNT: usize = 1000;

static FASHION: LazyLock<Dataset> = LazyLock::new(|| {
    let request = DataRequest {
        height: 28,
        width: 28,
        channels: 1,
        ..DataRequest::default()
    };
    data::load(&request, &|_, _| {}).unwrap()
});

static FEATURES: LazyLock<Extractor> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let extractor = Extractor::find(&FASHION, folder.path(), &mut |_, _, _| {}).unwrap();
    let trained = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(trained, 0, "the features that come with the program fit");
    extractor
});

static JUDGE: LazyLock<Judge<'static>> = LazyLock::new(|| judge(&[], COUNT));

fn judge(tests: &'static [TwoSampleTest], count: usize) -> Judge<'static> {
    Judge::new(&FEATURES, tests, &FASHION, count, &mut |_, _, _| {}).unwrap()
}

fn card(judge: &Judge<'_>, images: &Images) -> Card {
    judge.judge("a set", images, &mut |_, _, _| {}).unwrap()
}

fn value(card: &Card, key: &str) -> Estimate {
    card.figure(key).unwrap().estimate
}

fn floor(card: &Card, key: &str) -> Estimate {
    card.figure(key).unwrap().floor
}

fn uniform(rng: &mut Pcg32) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

/// `n` points of a standard normal distribution, by the sum of twelve uniform numbers.
fn normal_points(rng: &mut Pcg32, n: usize, width: usize) -> Points {
    let normal = |_| (0..12).map(|_| uniform(rng)).sum::<f64>() as f32 - 6.0;
    Points {
        values: (0..n * width).map(normal).collect(),
        width,
    }
}

#[test]
fn real_pictures_pass_for_real() {
    let judge = judge(&TESTS[..2], COUNT);
    // Any set: the floors are what real images come to.
    let noise = noise_like(&FASHION.held_out, COUNT);
    let card = card(&judge, &noise);
    for key in ["one_nearest", "small_cnn", "strong_cnn"] {
        let accuracy = floor(&card, key);
        assert!((accuracy.value - 0.5).abs() < 0.03, "{key}: {accuracy:?}");
        assert!(
            accuracy.low <= 0.5 && 0.5 <= accuracy.high,
            "{key}: {accuracy:?}"
        );
        assert!(value(&card, key).value > 0.95, "{key}: noise is told apart");
    }
    assert!((floor(&card, "one_nearest").value - 0.5).abs() <= 0.02);
    assert!(floor(&card, "coverage").value >= 0.95);
    let flagged = floor(&card, "flagged").value;
    assert!((flagged - 0.05).abs() <= 0.015, "{flagged}");
    assert_eq!(card.rating, Rating::High);
    assert!(value(&card, "coverage").value < 0.05);
    // Features of a classifier of clothes do not know how far noise is from them: it takes
    // coverage and the tests to see it, not precision.
    assert!(value(&card, "flagged").value > 0.2, "{card}");
}

fn noise_like(images: &Images, n: usize) -> Images {
    let mut rng = Pcg32::new(7);
    Images {
        pixels: (0..n * images.image_len())
            .map(|_| rng.next_u32() as u8)
            .collect(),
        labels: Vec::new(),
        ..*images
    }
}

#[test]
fn a_collapsed_set_is_high_risk_though_every_picture_is_good() {
    let held_out = &FASHION.held_out;
    let typical = JUDGE.each(held_out).unwrap();
    let best = |a: &usize, b: &usize| typical[*a].p_value.total_cmp(&typical[*b].p_value);
    let best = (0..held_out.len()).max_by(best).unwrap();
    let one_picture = held_out.pick([best; COUNT]);
    let boots = (0..FASHION.train.len()).filter(|&i| FASHION.train.labels[i] == 9);
    let one_class = FASHION.train.pick(boots.cycle().take(COUNT));
    for (images, most) in [(one_picture, 0.02), (one_class, 0.15)] {
        let images = Images {
            labels: Vec::new(),
            ..images
        };
        let card = card(&JUDGE, &images);
        assert!(value(&card, "precision").value > 0.8, "{card}");
        assert!(value(&card, "coverage").value < most, "{card}");
        assert_eq!(card.rating, Rating::High, "{card}");
    }
}

#[test]
fn training_pictures_themselves_are_called_copies() {
    let copies = card(&JUDGE, &FASHION.train.pick(0..COUNT));
    assert!(value(&copies, "copies").value > 0.99, "{copies}");
    assert!(value(&copies, "copies_control").value < 0.05, "{copies}");
    assert!(value(&copies, "distance_ratio").value < 0.1, "{copies}");
    assert_eq!(copies.rating, Rating::High);
    assert!(
        copies
            .reasons
            .iter()
            .any(|reason| reason.contains("training"))
    );
    // Of real ones that were not trained on, one in a hundred or so is as near.
    for key in ["copies", "copies_control"] {
        let share = floor(&copies, key).value;
        assert!(share > 0.002 && share < 0.03, "{copies}");
    }
}

#[test]
fn pictures_of_the_wrong_class_are_a_class_risk() {
    let real = FASHION.held_out.pick(0..COUNT);
    let wrong = Images {
        labels: real.labels.iter().map(|label| (label + 1) % 10).collect(),
        ..real.clone()
    };
    assert!(value(&card(&JUDGE, &real), "class_risk").value.abs() < 0.05);
    let wrong = card(&JUDGE, &wrong);
    assert!(value(&wrong, "class_risk").value > 0.9, "{wrong}");
    assert_eq!(wrong.rating, Rating::High);
}

#[test]
fn pictures_without_labels_keep_each_floor_with_its_figure() {
    let labelled = card(&JUDGE, &FASHION.held_out.pick(0..COUNT));
    let unlabelled = Images {
        labels: Vec::new(),
        ..FASHION.held_out.pick(0..COUNT)
    };
    let unlabelled = card(&JUDGE, &unlabelled);
    assert!(unlabelled.figure("class_risk").is_none());
    assert_eq!(unlabelled.figures.len() + 1, labelled.figures.len());
    for figure in &unlabelled.figures {
        assert_eq!(Some(figure), labelled.figure(figure.key));
    }
}

#[test]
fn swapped_arguments_swap_precision_and_recall() {
    let mut rng = Pcg32::new(1);
    let real = normal_points(&mut rng, 600, 8);
    let mut narrow = normal_points(&mut rng, 600, 8);
    narrow.values.iter_mut().for_each(|v| *v *= 0.3);
    let share_of = |hits: &[bool]| hits.iter().filter(|&&hit| hit).count() as f64 / 600.0;
    let right = neighbourhood(&real, &narrow, K);
    let swapped = neighbourhood(&narrow, &real, K);
    // A set in the middle of the other: each of its points is likely, few are reached.
    assert!(share_of(&right.inside) > 0.95);
    assert!(share_of(&right.recalled) < 0.3);
    assert_eq!(right.inside, swapped.recalled);
    assert_eq!(right.recalled, swapped.inside);
    assert!(share_of(&right.covered) < 0.8);
}

#[test]
fn few_pictures_make_wide_intervals_and_a_warning() {
    let few = judge(&TESTS[..1], 12);
    let few = card(&few, &FASHION.held_out.pick(0..12));
    assert!(
        few.warnings
            .iter()
            .any(|warning| warning.contains("12 images only"))
    );
    let Estimate { low, high, .. } = value(&few, "small_cnn");
    assert!(high - low > 0.2, "{low} to {high}");
    for key in ["one_nearest", "coverage", "precision", "risk_one_nearest"] {
        assert!(!value(&few, key).has_interval(), "{key} of 12 images");
    }
    assert!(few.to_string().contains("too few"), "{few}");
    let json = serde_json::to_value(&few).unwrap();
    assert!(json["figures"][0]["low"].is_null(), "{json}");
    assert!(few.figures.iter().all(|figure| {
        let Estimate { value, low, high } = figure.estimate;
        value.is_finite() && !(low > value || value > high)
    }));
    let none = Judge::new(&FEATURES, &[], &FASHION, 1, &mut |_, _, _| {});
    let Err(error) = none else {
        panic!("one image is too few")
    };
    assert!(error.to_string().contains("2 are needed"), "{error}");
    let fewer = judge(&[], 18);
    let fewer = card(&fewer, &FASHION.held_out.pick(0..18));
    assert!(fewer.figure("flagged").is_none(), "1 in 19 is above .05");
    let warnings = fewer.warnings.join("\n");
    assert!(warnings.contains("too few to flag"), "{warnings}");
    assert!(warnings.contains("too few for the intervals"), "{fewer}");
}

#[test]
fn features_are_refused_for_pictures_that_they_say_nothing_of() {
    let other_size = Images {
        height: 14,
        width: 56,
        ..FASHION.held_out.clone()
    };
    let Err(error) = FEATURES.features(&other_size) else {
        panic!("as many values, but other images")
    };
    let text = error.to_string();
    assert!(text.contains("28x28x1, these are of 14x56x1"), "{text}");
    let judged = JUDGE.judge("x", &other_size.first(1000), &mut |_, _, _| {});
    assert!(judged.is_err());
}

/// Colour images without classes: a bright corner over one of two grounds.
fn colour_pictures(rng: &mut Pcg32, n: usize) -> Images {
    let mut pixels = Vec::new();
    for _ in 0..n {
        let ground = [[200, 40, 40], [40, 40, 200]][(rng.next_u32() % 2) as usize];
        let reach = 4 + rng.next_u32() as usize % 5;
        for (y, x) in (0..12).flat_map(|y| (0..12).map(move |x| (y, x))) {
            let lit = y + x < reach;
            let jitter = (rng.next_u32() % 20) as u8;
            pixels.extend(ground.map(|level: u8| if lit { 250 } else { level } - jitter));
        }
    }
    Images {
        height: 12,
        width: 12,
        channels: 3,
        pixels,
        labels: Vec::new(),
    }
}

#[test]
fn colour_pictures_without_classes_are_judged_by_features_of_their_own() {
    let mut rng = Pcg32::new(3);
    let dataset = Dataset {
        name: "corners".into(),
        class_names: Vec::new(),
        train: colour_pictures(&mut rng, 300),
        held_out: colour_pictures(&mut rng, 400),
        ..Dataset::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut stages = 0;
    let mut progress = |_: &str, _, _| stages += 1;
    let learned = Extractor::find(&dataset, folder.path(), &mut progress).unwrap();
    assert!(stages > 0, "new features are learned, visibly");
    let again = Extractor::find(&dataset, folder.path(), &mut |_, _, _| panic!("kept")).unwrap();
    assert_eq!(learned.hash, again.hash);
    assert!(
        learned.describe().contains("4 turns"),
        "{}",
        learned.describe()
    );
    assert!(learned.accuracy().unwrap().value > 0.9);
    let judge = Judge::new(&learned, &TESTS[..1], &dataset, 200, &mut |_, _, _| {}).unwrap();
    let real = card(&judge, &colour_pictures(&mut rng, 200));
    assert!(real.figure("class_risk").is_none());
    assert!(value(&real, "coverage").value > 0.9, "{real}");
    let mut grey = colour_pictures(&mut rng, 200);
    for pixel in grey.pixels.chunks_exact_mut(3) {
        pixel.fill(pixel[0]);
    }
    let grey = card(&judge, &grey);
    assert!(value(&grey, "small_cnn").value > 0.9, "{grey}");
    assert!(grey.rating > Rating::Low, "{grey}");
}

#[test]
fn views_show_what_displays_show() {
    let images = FASHION.held_out.first(20);
    let display = seen(&images, View::Display);
    let mut levels: Vec<u8> = display.pixels.clone();
    levels.sort_unstable();
    levels.dedup();
    assert_eq!(levels, (0..16).map(|level| level * 17).collect::<Vec<u8>>());
    let off = images.pixels.iter().zip(&display.pixels);
    assert!(off.map(|(a, b)| a.abs_diff(*b)).max() <= Some(9));
    let half = seen(&images, View::Half);
    assert_eq!((half.height, half.width, half.len()), (14, 14, 20));
    let mean =
        |pixels: &[u8]| pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
    assert!((mean(&half.pixels) - mean(&images.pixels)).abs() < 0.5);

    let colour = colour_pictures(&mut Pcg32::new(9), 20);
    // RGB565: five bits of red and blue, six of green.
    let shown = seen(&colour, View::Display);
    for (i, (&a, &b)) in colour.pixels.iter().zip(&shown.pixels).enumerate() {
        let (levels, most) = if i % 3 == 1 { (64.0, 2) } else { (32.0, 4) };
        let step = f64::from(b) * (levels - 1.0) / 255.0;
        assert!((step - step.round()).abs() < 0.13, "{b} of {levels} levels");
        assert!(a.abs_diff(b) <= most + 1, "{a} becomes {b}");
    }
    let half = seen(&colour, View::Half);
    assert_eq!((half.height, half.width, half.channels), (6, 6, 3));
    for channel in 0..3 {
        let of = |images: &Images| -> Vec<u8> {
            images
                .pixels
                .iter()
                .skip(channel)
                .step_by(3)
                .copied()
                .collect()
        };
        assert!((mean(&of(&half)) - mean(&of(&colour))).abs() < 0.5);
    }
}

/// Share of 1,000 intervals that hold the truth.
fn covering(truth: f64, mut draw: impl FnMut(&mut Pcg32) -> Estimate) -> f64 {
    let mut rng = Pcg32::new(11);
    let holds = (0..1000).filter(|_| {
        let Estimate { low, high, .. } = draw(&mut rng);
        low <= truth && truth <= high
    });
    holds.count() as f64 / 1000.0
}

#[test]
fn intervals_hold_the_truth_in_95_of_100_cases() {
    let hits = |rng: &mut Pcg32, n: usize, p: f64| (0..n).filter(|_| uniform(rng) < p).count();
    for (n, p) in [(30, 0.5), (200, 0.05), (1000, 0.97)] {
        let held = covering(p, |rng| share(hits(rng, n, p), n));
        assert!((0.92..=0.98).contains(&held), "share of {n} at {p}: {held}");
    }
    let held = covering(0.8 / 0.9, |rng| {
        ratio((hits(rng, 300, 0.8), 300), (hits(rng, 300, 0.9), 300))
    });
    assert!((0.92..=0.98).contains(&held), "ratio: {held}");
    let skewed =
        |rng: &mut Pcg32| -> Vec<f64> { (0..400).map(|_| -(1.0 - uniform(rng)).ln()).collect() };
    let held = covering(1.0, |rng| {
        let values = skewed(rng);
        jackknife(|left_out| {
            let kept = values.iter().enumerate();
            let kept = kept.filter(|(i, _)| left_out != Some(i % GROUPS));
            let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (_, v)| (sum + v, n + 1.0));
            sum / n
        })
    });
    assert!((0.92..=0.98).contains(&held), "jackknife: {held}");
}

/// Figures of neighbours, by name.
const NEAR: [(&str, fn(&KnnMetrics) -> Estimate); 9] = [
    ("1-NN", |near| near.one_nearest),
    ("precision", |near| near.precision),
    ("density", |near| near.density),
    ("coverage", |near| near.coverage),
    ("recall", |near| near.recall),
    ("copies", |near| near.copies),
    ("copies' control", |near| near.copies_control),
    ("distance ratio", |near| near.distance_ratio),
    ("flagged", |near| near.flagged),
];

/// Neighbours depend on each other, and limits are found from samples: intervals that take
/// images for independent are too narrow. Fakes are nearly as wide as the real images, or
/// collapsed.
#[test]
fn an_interval_of_neighbours_that_is_printed_holds_the_mean_in_90_of_100_cases() {
    const CASES: usize = 200;
    for (n, width) in [(32, 0.8), (80, 0.8), (200, 0.8), (80, 0.3), (200, 0.3)] {
        let mut rng = Pcg32::new(21);
        let train = normal_points(&mut rng, 400, 6);
        let mut sample = |scale: f32| {
            let mut points = normal_points(&mut rng, n, 6);
            points.values.iter_mut().for_each(|v| *v *= scale);
            Sample::new(points, &train)
        };
        let found: Vec<KnnMetrics> = (0..CASES)
            .map(|_| compare(&sample(1.0), &sample(width)))
            .collect();
        for (name, of) in NEAR {
            let has_interval = found.iter().all(|near| of(near).has_interval());
            assert_eq!(has_interval, n >= 80, "{name} of {n} images");
            if !has_interval {
                continue;
            }
            let mean = found.iter().map(|near| of(near).value).sum::<f64>() / CASES as f64;
            let estimates = found.iter().map(of);
            let holds = estimates.filter(|e| e.low <= mean && mean <= e.high);
            let held = holds.count() as f64 / CASES as f64;
            println!("{name} of {n}, {width}: {mean:.3}, held {held:.3}");
            assert!(held >= 0.9, "{name} of {n} images, {width}: {held}");
        }
    }
}

#[test]
fn a_real_picture_is_flagged_in_5_of_100_cases() {
    let mut rng = Pcg32::new(5);
    let mut flagged = 0;
    for _ in 0..200 {
        let mut scores = |n| -> Vec<f32> { (0..n).map(|_| uniform(&mut rng) as f32).collect() };
        let (calibration, new) = (scores(99), scores(20));
        flagged += p_values(&calibration, &new)
            .iter()
            .filter(|&&p| p <= 0.05)
            .count();
    }
    let share = flagged as f64 / 4000.0;
    assert!((share - 0.05).abs() < 0.012, "{share}");
    // Ties count against the image less, not more.
    assert_eq!(p_values(&[1.0, 2.0, 2.0], &[2.0, 3.0]), [0.75, 0.25]);
}

#[test]
fn distances_of_distributions_are_what_theory_says() {
    let mut rng = Pcg32::new(2);
    let points = normal_points(&mut rng, 400, 6);
    let map = |f: &dyn Fn(f32) -> f32| Points {
        values: points.values.iter().map(|&v| f(v)).collect(),
        width: 6,
    };
    let close = |a: f64, b: f64| (a - b).abs() < 1e-3 * b.abs().max(1.0);
    assert!(close(frechet(&points, &points).value, 0.0));
    // A shift by 2 in each of 6 directions.
    assert!(close(frechet(&points, &map(&|v| v + 2.0)).value, 24.0));
    // Twice as wide: tr(A) + tr(4A) - 2 tr(2A) = tr(A), and the mean moves by itself.
    let mean = |k: usize| points.values.iter().skip(k).step_by(6).sum::<f32>() / 400.0;
    let trace = |k: usize| {
        let column = points.values.iter().skip(k).step_by(6);
        column.map(|v| f64::from(v - mean(k)).powi(2)).sum::<f64>() / 399.0
    };
    let expected: f64 = (0..6).map(|k| trace(k) + f64::from(mean(k)).powi(2)).sum();
    assert!(close(frechet(&points, &map(&|v| 2.0 * v)).value, expected));
    // The kernel distance has no bias: alike sets come out on both sides of 0.
    let signs = (0..40).filter(|_| {
        let (a, b) = (
            normal_points(&mut rng, 60, 6),
            normal_points(&mut rng, 60, 6),
        );
        kernel_distance(&a, &b).value > 0.0
    });
    assert!((10..=30).contains(&signs.count()));
    let moved = kernel_distance(&points, &map(&|v| v + 1.0));
    assert!(moved.low > 0.0, "{moved:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Against every pair of points, one by one.
    #[test]
    fn neighbours_are_those_of_a_plain_search(
        seed in any::<u64>(), n in 7usize..90, m in 7usize..90, width in 1usize..5,
    ) {
        let mut rng = Pcg32::new(seed);
        let (a, b) = (normal_points(&mut rng, n, width), normal_points(&mut rng, m, width));
        let distance = |a: &Points, i: usize, b: &Points, j: usize| -> f64 {
            let pairs = a.row(i).iter().zip(b.row(j));
            pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum()
        };
        for (i, found) in a.nearest_distances(&b, [1, 3]).into_iter().enumerate() {
            let mut all: Vec<f64> = (0..m).map(|j| distance(&a, i, &b, j)).collect();
            all.sort_by(f64::total_cmp);
            for (found, expected) in found.into_iter().zip([all[0], all[2]]) {
                prop_assert!((f64::from(found) - expected).abs() < 1e-4 * (1.0 + expected));
            }
        }
        for (i, found) in a.nearest(&b).into_iter().enumerate() {
            let least = (0..m).map(|j| distance(&a, i, &b, j)).fold(f64::MAX, f64::min);
            prop_assert!((distance(&a, i, &b, found) - least).abs() < 1e-4 * (1.0 + least));
        }
        let mut all = a.clone();
        all.values.extend(&b.values);
        let told = (0..n + m).map(|i| {
            let others = (0..n + m).filter(|&j| j != i);
            let nearest = others.min_by(|&j, &k| {
                distance(&all, i, &all, j).total_cmp(&distance(&all, i, &all, k))
            });
            (nearest.unwrap() < n) == (i < n)
        });
        let found = neighbourhood(&a, &b, 3).told;
        let differing = told.zip(found).filter(|(expected, found)| expected != found);
        prop_assert!(differing.count() <= 1);
    }
}

#[test]
fn a_run_stops_when_ten_looks_found_nothing_better() {
    let readings = |risks: &[f64]| -> Vec<Reading> {
        let each = risks.iter().zip(1u64..);
        let each = each.map(|(&risk, step)| Reading {
            step,
            risk,
            two_sample_risk: risk,
            precision: 1.0 - risk,
            coverage: 1.0 - risk,
        });
        each.collect()
    };
    let worse = |n: usize| [&[0.9, 0.5][..], &vec![0.5; n]].concat();
    assert!(!is_stalled(&[], 0));
    assert!(!is_stalled(&readings(&worse(9)), 0));
    assert!(is_stalled(&readings(&worse(10)), 0));
    assert!(!is_stalled(&readings(&[&worse(9)[..], &[0.4]].concat()), 0));
}
