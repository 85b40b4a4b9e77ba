//! Time of one training step of each preset, both networks, forward and backward, and of
//! drawing with the int8 runtime.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dfdx::prelude::Cpu;
use gan_core::Model;
use host::config::Config;
use host::data::Images;
use host::quant;
use host::sample::{Order, int8};
use host::train::checkpoint::averaged;
use host::train::trainer::Trainer;

/// Pictures of noise: the time does not depend on what they show.
fn noise(config: &Config, classes: u8) -> Images {
    let image = config.image;
    let (n, len) = (256, image.height * image.width * image.channels);
    let pixel = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    Images {
        height: image.height,
        width: image.width,
        channels: image.channels,
        pixels: (0..n * len).map(pixel).collect(),
        labels: (0..n)
            .filter(|_| classes > 0)
            .map(|i| i as u8 % classes)
            .collect(),
    }
}

fn benches(criterion: &mut Criterion) {
    for (preset, classes) in [("fashion", 10), ("avatar", 0)] {
        let mut config = Config::preset(preset)
            .expect("a preset")
            .expect("a valid one");
        config.data.class_names = (0..classes).map(|class| class.to_string()).collect();
        let batch = config.training.batch;
        let images = noise(&config, classes);
        let mut trainer = Trainer::new(config, Cpu::default()).expect("a valid preset");

        let mut group = criterion.benchmark_group(preset);
        group.sample_size(20);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function("training step", |b| {
            b.iter(|| trainer.train_step(&images).expect("memory"));
        });

        let generator = averaged(&mut trainer, "noise").expect("a whole generator");
        let bytes = quant::quantize(&generator, 16).expect("finite weights");
        let model = Model::parse(&bytes).expect("a valid model");
        let order = Order {
            count: batch,
            seed: 0,
            class: None,
        };
        group.bench_function("int8 pictures", |b| {
            b.iter(|| int8(&model, &order).expect("an arena that fits"));
        });
    }
}

criterion_group!(all, benches);
criterion_main!(all);
