//! What both networks are trained for, on what, and what stops a run that goes wrong.

use dfdx::prelude::{AsArray, Backward, Cpu, OwnedTape, PutTape, TensorFromVec};
use gan_core::latent::Pcg32;
use host::config::{Augmentation, Config, Image, Loss, Training};
use host::data::{DataRequest, Dataset, load};
use host::nn::augment::{Change, change_images};
use host::sample::{self, Order};
use host::train::augment::{Strength, draw_change};
use host::train::checkpoint;
use host::train::divergence::{Divergence, DivergenceMonitor};
use host::train::loss::{self, Anchors, Scores};
use host::train::trainer::{StepReport, Trainer};
use tests::Noise;

const BATCH: usize = 5;

fn scores(values: &[f64]) -> Scores<Cpu> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    let len = values.len();
    Cpu::default().tensor_from_vec(values, (len,))
}

/// The discriminator's loss in plain f64, from the papers' formulas.
fn plain_loss(t: &Training, anchors: Anchors, real: &[f64], fake: &[f64]) -> f64 {
    let mean = |v: Vec<f64>| v.iter().sum::<f64>() / v.len() as f64;
    let over = |v: &[f64], f: &dyn Fn(f64) -> f64| mean(v.iter().map(|&v| f(v)).collect());
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let target = 1.0 - f64::from(t.label_smoothing);
    let real_entropy =
        |v: f64| -(target * sigmoid(v).ln() + (1.0 - target) * (1.0 - sigmoid(v)).ln());
    let weights = (f64::from(t.real_weight), f64::from(t.fake_weight));
    let loss = match t.loss {
        Loss::Bce => {
            weights.0 * over(real, &real_entropy)
                + weights.1 * over(fake, &|v| -(1.0 - sigmoid(v)).ln())
        }
        Loss::Hinge => {
            weights.0 * over(real, &|v| (1.0 - v).max(0.0))
                + weights.1 * over(fake, &|v| (1.0 + v).max(0.0))
        }
        Loss::Relativistic => {
            let leads: Vec<f64> = real.iter().zip(fake).map(|(r, f)| r - f).collect();
            over(&leads, &real_entropy)
        }
    };
    let (real_anchor, fake_anchor) = (f64::from(anchors.real), f64::from(anchors.fake));
    let distance = over(real, &|v| (v - fake_anchor).max(0.0).powi(2))
        + over(fake, &|v| (real_anchor - v).max(0.0).powi(2));
    loss + f64::from(t.lecam) * distance
}

#[test]
fn losses_equal_their_formulas_and_their_gradients_finite_differences() {
    let mut noise = Noise(1);
    let anchors = Anchors {
        real: 0.4,
        fake: -0.3,
    };
    for (loss, label_smoothing, lecam) in [
        (Loss::Bce, 0.0, 0.0),
        (Loss::Bce, 0.1, 0.3),
        (Loss::Hinge, 0.0, 0.3),
        (Loss::Relativistic, 0.1, 0.0),
    ] {
        let training = Training {
            loss,
            label_smoothing,
            lecam,
            real_weight: 0.9,
            fake_weight: 0.2,
            ..Training::default()
        };
        let both: Vec<f64> = noise.units(2 * BATCH).iter().map(|v| 3.0 * v).collect();
        let (real, fake) = (scores(&both[..BATCH]), scores(&both[BATCH..]));
        let found = loss::discriminator(
            &training,
            anchors,
            real.clone().put_tape(OwnedTape::<f32, Cpu>::default()),
            fake.clone().put_tape(OwnedTape::default()),
        )
        .unwrap();
        let plain = |both: &[f64]| plain_loss(&training, anchors, &both[..BATCH], &both[BATCH..]);
        let value = f64::from(found.array());
        assert!((value - plain(&both)).abs() < 1e-5, "{training:?}");
        let grads = found.backward();
        let grads = [grads.get(&real).as_vec(), grads.get(&fake).as_vec()].concat();
        for (i, &grad) in grads.iter().enumerate() {
            let moved = |by: f64| {
                let mut both = both.clone();
                both[i] += by;
                plain(&both)
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (difference - f64::from(grad)).abs() < 1e-4,
                "{training:?} {i}"
            );
        }
    }
}

#[test]
fn the_generator_is_trained_towards_higher_scores() {
    let real = scores(&[1.0, -0.5]);
    for loss in [Loss::Bce, Loss::Hinge, Loss::Relativistic] {
        let fake = scores(&[0.3, -2.0]);
        let taped = fake.clone().put_tape(OwnedTape::<f32, Cpu>::default());
        let found = loss::generator(loss, taped, Some(real.clone())).unwrap();
        let grads = found.backward().get(&fake).as_vec();
        assert!(grads.iter().all(|&g| g < 0.0), "{loss:?}: {grads:?}");
    }
}

const IMAGE: Image = Image {
    height: 8,
    width: 12,
    channels: 3,
};

fn changes(kinds: &[Augmentation], seed: u64) -> Vec<Change> {
    let mut rng = Pcg32::new(seed);
    let changes = (0..BATCH).map(|_| draw_change(IMAGE.shape(), kinds, 1.0, &mut rng));
    changes.collect()
}

fn augmented(x: &[f32], kinds: &[Augmentation], seed: u64) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    change_images(x, IMAGE.shape(), &changes(kinds, seed), &mut y);
    y
}

/// `BATCH` images in which every value is another, and none is 0.
fn distinct() -> Vec<f32> {
    let len = BATCH * IMAGE.height * IMAGE.width * IMAGE.channels;
    (1..=len).map(|i| i as f32 / len as f32).collect()
}

#[test]
fn a_translation_shifts_each_picture_whole_and_a_cutout_clears_a_rectangle() {
    let x = distinct();
    let (h, w, c) = (IMAGE.height as isize, IMAGE.width as isize, IMAGE.channels);
    let pictures = |v: &[f32]| {
        v.chunks(x.len() / BATCH)
            .map(<[f32]>::to_vec)
            .collect::<Vec<_>>()
    };
    let at = |picture: &[f32], y: isize, x: isize| {
        let inside = (0..h).contains(&y) && (0..w).contains(&x);
        inside.then(|| picture[(y * w + x) as usize * c])
    };
    let mut shifts = Vec::new();
    for seed in 0..20 {
        let moved = augmented(&x, &[Augmentation::Translation], seed);
        for (from, to) in pictures(&x).iter().zip(pictures(&moved)) {
            let fits = |(dy, dx): (isize, isize)| {
                (0..h * w).all(|i| {
                    let (y, x) = (i / w, i % w);
                    at(&to, y, x) == Some(at(from, y - dy, x - dx).unwrap_or(0.0))
                })
            };
            let mut tried = (-1..=1).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
            shifts.push(
                tried
                    .find(|&shift| fits(shift))
                    .expect("a shift of an eighth"),
            );
        }
        let cut = augmented(&x, &[Augmentation::Cutout], seed);
        for (from, to) in pictures(&x).iter().zip(pictures(&cut)) {
            let cleared: Vec<_> = (0..h * w)
                .filter(|&i| at(&to, i / w, i % w) == Some(0.0))
                .collect();
            let kept = |i: isize| at(&to, i / w, i % w) == at(from, i / w, i % w);
            assert!((0..h * w).all(|i| kept(i) != cleared.contains(&i)));
            let rows = cleared.iter().map(|i| i / w);
            let columns = cleared.iter().map(|i| i % w);
            let span = |v: &mut dyn Iterator<Item = isize>| {
                let v: Vec<_> = v.collect();
                v.iter().max().unwrap() - v.iter().min().unwrap() + 1
            };
            let (rows, columns) = (span(&mut rows.into_iter()), span(&mut columns.into_iter()));
            assert_eq!(rows * columns, cleared.len() as isize);
            assert!(rows <= h / 2 && columns <= w / 2);
        }
    }
    shifts.sort_unstable();
    shifts.dedup();
    assert!(shifts.len() > 8, "only {shifts:?}");
}

#[test]
fn a_flipped_batch_has_images_and_their_mirror_images_only() {
    let x = distinct();
    let (len, row) = (x.len() / BATCH, IMAGE.width * IMAGE.channels);
    let mut flipped = 0;
    for seed in 0..10 {
        let y = augmented(&x, &[Augmentation::Flip], seed);
        for (before, after) in x.chunks_exact(len).zip(y.chunks_exact(len)) {
            let mirror = before.chunks_exact(row).flat_map(|row| {
                let pixels = row.chunks_exact(IMAGE.channels);
                pixels.rev().flatten().copied()
            });
            let is_mirror = mirror.eq(after.iter().copied());
            assert!(is_mirror || after == before);
            flipped += usize::from(is_mirror);
        }
    }
    let all = 10 * BATCH;
    assert!(
        (all / 4..=3 * all / 4).contains(&flipped),
        "{flipped} of {all}"
    );
}

#[test]
fn images_are_changed_as_often_as_the_discriminator_knows_the_real_ones() {
    let (kinds, shape) = (
        [Augmentation::Translation, Augmentation::Color],
        IMAGE.shape(),
    );
    let share_changed = |strength: Strength| {
        let mut rng = Pcg32::new(1);
        let change = |_| draw_change(shape, &kinds, strength.probability, &mut rng);
        let changed = (0..1000).map(change).filter(|change| change.own != 1.0);
        changed.count() as f64 / 1000.0
    };
    let batches = |strength: &mut Strength, count: usize, scores: [f32; 4]| {
        (0..count).for_each(|_| strength.follow(&scores, 0.0, 0.6));
    };
    let mut strength = Strength::start(0.6);
    // 3 of 4 are taken for real images: a mean sign of 0.5.
    batches(&mut strength, 20_000, [0.1, 2.0, 5.0, -0.1]);
    assert_eq!(share_changed(strength), 0.0);
    batches(&mut strength, 7_500, [0.1, 2.0, 5.0, 3.0]);
    let half = share_changed(strength);
    assert!((0.4..0.55).contains(&half), "{half}");
    batches(&mut strength, 20_000, [0.1, 2.0, 5.0, 3.0]);
    assert_eq!(share_changed(strength), 1.0);
    batches(&mut strength, 20_000, [0.1, 2.0, -5.0, 3.0]);
    assert_eq!(share_changed(strength), 0.0);
    let mut always = Strength::start(0.0);
    always.follow(&[-1.0; 4], 0.0, 0.0);
    assert_eq!(share_changed(always), 1.0);
}

fn embedded() -> Dataset {
    let request = DataRequest {
        height: 28,
        width: 28,
        channels: 1,
        ..Default::default()
    };
    load(&request, &|_, _| ()).unwrap()
}

/// Everything that training can add, at once.
fn everything() -> Config {
    let mut config = Config::preset("fashion").unwrap();
    config.discriminator.spectral_norm = true;
    for layer in &mut config.discriminator.conv {
        layer.norm = false;
    }
    config.training.loss = Loss::Relativistic;
    config.training.lecam = 0.1;
    config.training.label_smoothing = 0.1;
    config.training.discriminator_learning_rate = Some(4e-4);
    config.training.augment = Some(vec![
        Augmentation::Translation,
        Augmentation::Color,
        Augmentation::Cutout,
    ]);
    config.training.augment_target = 0.0;
    config.training.batch = 16;
    config.data.class_names = embedded().class_names;
    config
}

fn save(trainer: &mut Trainer<Cpu>, path: &std::path::Path) {
    let file = checkpoint::encode_trainer(trainer, "data", None).unwrap();
    checkpoint::write(path, &file).unwrap();
}

#[test]
fn a_run_with_everything_goes_on_from_a_checkpoint_as_if_nothing_had_been() {
    for augment_target in [0.0, 0.6] {
        let mut config = everything();
        config.training.augment_target = augment_target;
        goes_on_from_a_checkpoint(config);
    }
}

fn goes_on_from_a_checkpoint(config: Config) {
    let data = embedded();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut trainer = Trainer::new(config, Cpu::default()).unwrap();
    let step = |trainer: &mut Trainer<Cpu>| trainer.train_step(&data.train).unwrap();
    let first: Vec<_> = (0..3).map(|_| step(&mut trainer)).collect();
    assert!(
        first
            .iter()
            .all(|report| report.discriminator_loss.is_finite())
    );
    save(&mut trainer, &path("three"));
    let mut resumed: Trainer<Cpu> =
        checkpoint::restore(&path("three"), None, Cpu::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(step(&mut trainer), step(&mut resumed));
    }
    save(&mut trainer, &path("a"));
    save(&mut resumed, &path("b"));
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(read("a") == read("b"), "the checkpoints differ");
}

#[test]
fn a_run_without_augmentation_reports_none() {
    for augment in [None, Some(vec![])] {
        let mut config = everything();
        config.training.augment = augment;
        let mut trainer = Trainer::new(config, Cpu::default()).unwrap();
        let report = trainer.train_step(&embedded().train).unwrap();
        assert_eq!(report.augment_probability, 0.0);
    }
}

#[test]
fn a_teacher_draws_the_generator_nearer_and_has_to_fit() {
    let data = embedded();
    let mut config = everything();
    config.training.batch = 32;
    // Weights as large as these draw strong images without any training.
    let mut strong = config.clone();
    strong.training.init_std = 0.2;
    let mut trainer = Trainer::new(strong, Cpu::default()).unwrap();
    trainer.train_step(&data.train).unwrap();
    let teacher = checkpoint::averaged(&mut trainer, "data").unwrap();
    let order = Order {
        count: 20,
        seed: 0,
        class: None,
    };
    let distance = |taught: bool| {
        let mut config = config.clone();
        (config.training.seed, config.training.teacher_weight) = (2, 100.0);
        config.training.learning_rate = 5e-3;
        let mut trainer = Trainer::new(config, Cpu::default()).unwrap();
        if taught {
            trainer.learn_from(teacher.clone()).unwrap();
        }
        for _ in 0..20 {
            trainer.train_step(&data.train).unwrap();
        }
        let student = checkpoint::averaged(&mut trainer, "data").unwrap();
        let (a, b) = (
            sample::float(&student, &order),
            sample::float(&teacher, &order),
        );
        let squares = a.pixels.iter().zip(&b.pixels);
        squares
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum::<f64>()
    };
    let (taught, untaught) = (distance(true), distance(false));
    assert!(taught < 0.8 * untaught, "{taught} and {untaught}");
    let mut other = everything();
    other.generator.latent = 16;
    let mut trainer = Trainer::new(other, Cpu::default()).unwrap();
    let error = trainer.learn_from(teacher).unwrap_err().to_string();
    let says = [
        "the teacher draws images of 28x28x1, a latent of 32",
        "a latent of 16",
    ];
    assert!(says.iter().all(|says| error.contains(says)), "{error}");
}

#[test]
fn the_watch_notices_collapse_saturation_and_nan_but_not_a_healthy_run() {
    let healthy = StepReport {
        step: 0,
        discriminator_loss: 0.7,
        generator_loss: 1.7,
        discriminator_error: 0.25,
        learning_rate: 2e-4,
        augment_probability: 0.0,
        fake_variance: 0.3,
    };
    let found = |report: StepReport| {
        let mut watch = DivergenceMonitor::new(0.35);
        (1..=1000).find_map(|step| watch.check(&StepReport { step, ..report }).err())
    };
    assert_eq!(found(healthy), None);
    let collapsed = found(StepReport {
        fake_variance: 0.03,
        ..healthy
    });
    assert!(
        matches!(collapsed, Some(Divergence::Collapsed { step: 300, .. })),
        "{collapsed:?}"
    );
    let saturated = found(StepReport {
        discriminator_error: 1e-4,
        ..healthy
    });
    assert!(
        matches!(saturated, Some(Divergence::Saturated { step: 300, .. })),
        "{saturated:?}"
    );
    let warnings = |discriminator_error| {
        let mut watch = DivergenceMonitor::new(0.35);
        let report = StepReport {
            discriminator_error,
            ..healthy
        };
        let warned = (1..=1000).filter(|_| {
            watch.check(&report).unwrap();
            watch.memorized().is_some()
        });
        warned.count()
    };
    assert_eq!((warnings(0.11), warnings(0.09)), (0, 1));
    let nan = found(StepReport {
        generator_loss: f32::NAN,
        ..healthy
    });
    assert_eq!(nan, Some(Divergence::NotANumber { step: 1 }));
}
