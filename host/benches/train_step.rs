//! Time of one training step of each preset (both networks, forward and backward, 64
//! images), and of drawing as many with the int8 runtime. `tools/bench/pytorch_step.py`
//! compares the steps with PyTorch's.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dfdx::prelude::Cpu;
use gan_core::Model;
use gan_core::latent::Pcg32;
use host::config::{Config, Image, PRESETS};
use host::data::Images;
use host::quant;
use host::sample::{Order, int8};
use host::train::checkpoint::averaged;
use host::train::trainer::Trainer;

/// A trainer of a preset and as many images of noise as a few batches take: what is in an
/// image changes no time.
fn trainer(preset: &str) -> (Trainer<Cpu>, Images) {
    let mut config = Config::preset(preset).expect("a preset");
    let Image {
        height,
        width,
        channels,
    } = config.image;
    let mut noise = Pcg32::new(1);
    let len = 1024 * height * width * channels;
    let mut images = Images {
        height,
        width,
        channels,
        pixels: (0..len).map(|_| noise.next_u32() as u8).collect(),
        labels: Vec::new(),
    };
    if preset == "fashion" {
        config.data.class_names = (0..10).map(|i| i.to_string()).collect();
        images.labels = (0..1024).map(|i| (i % 10) as u8).collect();
    }
    let trainer = Trainer::new(config, Cpu::default());
    (trainer.expect("a valid preset"), images)
}

fn training_steps(criterion: &mut Criterion) {
    for (preset, _) in PRESETS {
        let mut group = criterion.benchmark_group(preset);
        group.sample_size(10);
        let mut prepared = None;
        group.throughput(Throughput::Elements(64));
        group.bench_function("training step", |b| {
            let (trainer, images) = prepared.get_or_insert_with(|| trainer(preset));
            b.iter(|| trainer.train_step(images).expect("memory"));
        });
    }
}

fn int8_pictures(criterion: &mut Criterion) {
    let (mut trainer, _) = trainer("fashion");
    let generator = averaged(&mut trainer, "noise").expect("a whole generator");
    let bytes = quant::quantize(&generator, &quant::Options::default()).expect("finite weights");
    let model = Model::parse(&bytes).expect("a valid model");
    let order = Order {
        count: 64,
        seed: 0,
        class: None,
    };
    let mut group = criterion.benchmark_group("fashion");
    group.throughput(Throughput::Elements(64));
    group.bench_function("int8 images", |b| {
        b.iter(|| int8(&model, &order).expect("an arena that fits"));
    });
}

criterion_group!(all, training_steps, int8_pictures);
criterion_main!(all);
