//! Time of one training step on the embedded pictures (both networks, forward and
//! backward, 64 pictures) and of drawing as many with the int8 runtime.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dfdx::prelude::Cpu;
use gan_core::Model;
use host::config::Config;
use host::data::{self, DataRequest};
use host::quant;
use host::sample::{Order, int8};
use host::train::checkpoint::averaged;
use host::train::trainer::Trainer;

fn benches(criterion: &mut Criterion) {
    let mut config = Config::preset("fashion")
        .expect("a preset")
        .expect("a valid one");
    let request = DataRequest {
        height: config.image.height,
        width: config.image.width,
        channels: config.image.channels,
        ..Default::default()
    };
    let data = data::load(&request, &|_, _| ()).expect("the embedded set");
    config.data.class_names.clone_from(&data.class_names);
    let batch = config.training.batch;
    let mut trainer = Trainer::new(config, Cpu::default()).expect("a valid preset");

    let mut group = criterion.benchmark_group("fashion");
    group.sample_size(20);
    group.throughput(Throughput::Elements(batch as u64));
    group.bench_function("training step", |b| {
        b.iter(|| trainer.train_step(&data.train).expect("memory"));
    });

    let generator = averaged(&mut trainer, &data.name).expect("a whole generator");
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

criterion_group!(all, benches);
criterion_main!(all);
