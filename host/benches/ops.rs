//! What each op of a training step takes, and its share of all of them, for one preset:
//! `cargo bench -p host --bench ops -- color64` (fashion if none is named).
//!
//! The ops are run alone, on a batch of noise, and counted as often as a step runs them:
//! the generator's once; the discriminator's three times forward, twice for its own
//! gradients (real and generated images) and once for the generator's. The last lines compare
//! the products with the processor's peak, which a loop without memory accesses measures.
//! Set `RAYON_NUM_THREADS` to the cores to be compared.

use std::hint::black_box;
use std::time::Instant;

use gan_core::latent::Pcg32;
use host::config::Config;
use host::nn::buffers::Buffers;
use host::nn::conv::WeightGrad;
use host::nn::network::BlockSpec;
use host::nn::op::{Op, linear, linear_grads};
use host::nn::optim::Adam;
use host::nn::{BatchStats, norm};

const ROUNDS: usize = 7;

fn noise(len: usize) -> Vec<f32> {
    let mut rng = Pcg32::new(1);
    let unit = |bits: u32| bits as f32 / u32::MAX as f32 - 0.5;
    (0..len).map(|_| unit(rng.next_u32())).collect()
}

/// The fastest of a few runs, in milliseconds.
fn time_ms(mut op: impl FnMut()) -> f64 {
    op();
    let times = (0..ROUNDS).map(|_| {
        let begin = Instant::now();
        op();
        begin.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::MAX, f64::min)
}

/// How often a step runs an op.
struct Uses {
    forward: f64,
    weight_grads: f64,
    input_grads: f64,
}

/// The ops of one block: name and milliseconds a step.
fn block_ops(network: &str, spec: &BlockSpec, batch: usize, uses: &Uses) -> Vec<(String, f64)> {
    let op = &spec.op;
    let (rows, cols) = op.weight_shape();
    let buffers = Buffers::default();
    let (x, w) = (noise(batch * op.input_len()), noise(rows * cols));
    let mut y = noise(batch * op.output_len());
    let sums = y.clone();
    let mut gx = x.clone();
    let mut gw = WeightGrad {
        values: w.clone(),
        accumulate: false,
    };
    let forward = time_ms(|| linear(op, &x, &w, &mut y, &buffers));
    let weights = time_ms(|| linear_grads(op, (&x, &w), &sums, None, Some(&mut gw), &buffers));
    let input = time_ms(|| linear_grads(op, (&x, &w), &sums, Some(&mut gx), None, &buffers));
    let ones = vec![1.0; op.c_out()];
    let act = spec.activation;
    let (act_forward, act_grads) = if spec.norm {
        let stats = BatchStats::of(&sums, ones.len());
        let forward = time_ms(|| {
            let stats = BatchStats::of(&sums, ones.len());
            let (scale, offset) = norm::norm_affine(&stats, &ones, &ones);
            norm::affine_act(&sums, &scale, &offset, act, &mut y);
        });
        let mut g = sums.clone();
        let grads = time_ms(|| {
            norm::norm_act_grads((&sums, &y), &stats, &ones, act, &mut g);
        });
        (forward, grads)
    } else {
        let forward = time_ms(|| norm::affine_act(&sums, &ones, &ones, act, &mut y));
        let mut g = sums.clone();
        let grads = time_ms(|| {
            norm::bias_act_grads(&y, ones.len(), act, &mut g);
        });
        (forward, grads)
    };
    let passes = uses.weight_grads.max(uses.input_grads);
    let name = |part: &str| format!("{network} {}: {part}", spec.name);
    vec![
        (name("forward"), forward * uses.forward),
        (name("weight gradients"), weights * uses.weight_grads),
        (name("input gradients"), input * uses.input_grads),
        (
            name("normalization or bias, activation"),
            act_forward * uses.forward + act_grads * passes,
        ),
    ]
}

fn adam(params: usize) -> f64 {
    let grad = noise(params);
    let (mut value, mut first, mut second) = (grad.clone(), grad.clone(), vec![1.0; params]);
    let adam = Adam::at(1, 1e-9, 0.5, 0.99);
    time_ms(|| adam.update(&mut value, &grad, &mut first, &mut second))
}

/// Multiply-adds of one image.
fn mac_count(op: &Op) -> usize {
    let (rows, cols) = op.weight_shape();
    match op {
        Op::Dense { .. } => rows * cols,
        Op::Conv(conv) | Op::ConvTranspose(conv) => rows * cols * conv.geometry.small_len(),
    }
}

/// Accumulators of the peak loop: sixteen registers of the widest kind.
type Accumulators = [f32; 16 * 16];

const PEAK_ROUNDS: usize = 4_000_000;

#[inline(always)]
fn multiply_add(mut sums: Accumulators) -> Accumulators {
    for _ in 0..PEAK_ROUNDS {
        sums.iter_mut()
            .for_each(|sum| *sum = sum.mul_add(0.999, 0.001));
    }
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn multiply_add_avx512(sums: Accumulators) -> Accumulators {
    multiply_add(sums)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2(sums: Accumulators) -> Accumulators {
    multiply_add(sums)
}

/// The loop for this processor, if there is one.
#[expect(
    unsafe_code,
    reason = "the processor's features are known at run time only"
)]
fn peak_loop() -> Option<fn(Accumulators) -> Accumulators> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512F and FMA.
        return Some(|sums| unsafe { multiply_add_avx512(sums) });
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        return Some(|sums| unsafe { multiply_add_avx2(sums) });
    }
    cfg!(target_arch = "aarch64").then_some(multiply_add)
}

/// Multiply-adds that all threads can do without memory accesses, in GFLOPS.
fn peak_gflops() -> Option<f64> {
    let peak_loop = peak_loop()?;
    let threads = rayon::current_num_threads();
    let ms = time_ms(|| {
        rayon::broadcast(|_| black_box(peak_loop(black_box([1.0; 16 * 16]))));
    });
    let flop = 2 * threads * PEAK_ROUNDS * size_of::<Accumulators>() / size_of::<f32>();
    Some(flop as f64 / ms / 1e6)
}

fn main() {
    let preset = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let preset = preset.unwrap_or_else(|| "fashion".into());
    let Ok(config) = Config::preset(&preset) else {
        eprintln!("there is no preset `{preset}`");
        std::process::exit(2);
    };
    let generator = config.generator_blocks().expect("a valid preset");
    let discriminator = config.discriminator_blocks().expect("a valid preset");
    let batch = config.training.batch;
    let mut ops = Vec::new();
    let mut products_gflop = 0.0;
    for (network, blocks) in [
        (
            "generator",
            generator.into_iter().map(BlockSpec::from).collect(),
        ),
        ("discriminator", discriminator),
    ] {
        let mut params = 0;
        for (i, spec) in blocks.iter().enumerate() {
            let first = f64::from(u8::from(i == 0));
            let uses = if network == "generator" {
                Uses {
                    forward: 1.0,
                    weight_grads: 1.0,
                    input_grads: 1.0 - first,
                }
            } else {
                Uses {
                    forward: 3.0,
                    weight_grads: 2.0,
                    input_grads: 3.0 - 2.0 * first,
                }
            };
            ops.extend(block_ops(network, spec, batch, &uses));
            let passes = uses.forward + uses.weight_grads + uses.input_grads;
            products_gflop += passes * 2e-9 * (batch * mac_count(&spec.op)) as f64;
            let (rows, cols) = spec.op.weight_shape();
            params += rows * cols + 2 * spec.op.c_out();
        }
        ops.push((format!("{network}: Adam"), adam(params)));
    }
    let total: f64 = ops.iter().map(|(_, ms)| ms).sum();
    for (name, ms) in &ops {
        if *ms > 0.0 {
            println!(
                "{preset}: {name:<58} {ms:8.2} ms {:5.1} %",
                100.0 * ms / total
            );
        }
    }
    println!(
        "{preset}: {:<58} {total:8.2} ms",
        "all ops, one after the other"
    );
    let gflops = products_gflop / total * 1e3;
    println!(
        "{preset}: {products_gflop:.2} GFLOP of products at batch {batch}: {gflops:.1} GFLOPS"
    );
    match peak_gflops() {
        Some(peak) => println!(
            "{preset}: {:.0} % of this processor's peak of {peak:.1} GFLOPS on {} threads",
            100.0 * gflops / peak,
            rayon::current_num_threads()
        ),
        None => println!("{preset}: there is no loop for the peak of this processor"),
    }
}
