//! The float layers: equal to plain loops, their gradients equal to finite differences,
//! and the fast form equal to dfdx's own ops.

use dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, PutTape, Tape, Tensor, TensorFromVec};
use dfdx::tensor_ops::{SumTo, TryMul};
use gan_core::latent::Pcg32;
use host::config::{Augmentation, Image};
use host::nn::augment::Change;
use host::nn::backend::values;
use host::nn::network::{Block, BlockSpec, Network};
use host::nn::op::Op;
use host::nn::{Activation, Backend, Conv, Geometry, GradMask, Margins, Mat, Param, generic};
use host::train::augment::draw_change;
use tests::{Case, Noise, cases};

type M<T = NoneTape> = Mat<f64, Cpu, T>;
type Taped = OwnedTape<f64, Cpu>;
type Net = Network<f64, Cpu>;

const BATCH: usize = 3;

fn mat(values: &[f64], cols: usize) -> M {
    let shape = (values.len() / cols, cols);
    Cpu::default().tensor_from_vec(values.to_vec(), shape)
}

fn close(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let tolerance = 1e-6 * (1.0 + a.abs().max(b.abs()));
        assert!(
            (a - b).abs() < tolerance,
            "{what}: value {i} is {a}, not {b}"
        );
    }
}

fn spec(op: Op, norm: bool, activation: Activation) -> BlockSpec {
    BlockSpec {
        name: "block".into(),
        op,
        norm,
        spectral: false,
        activation,
    }
}

/// Which form of the layers runs.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Fast,
    Generic,
}

/// A network with these parameters, block by block as `Network::params` orders them.
fn network(form: Form, specs: &[BlockSpec], params: &[Vec<f64>]) -> Net {
    let device = Cpu::default();
    let blocks = specs.iter().map(|spec| {
        let (rows, cols) = spec.op.weight_shape();
        let (weight, gamma) = (vec![1.0; rows * cols], vec![1.0; spec.op.c_out()]);
        Block::new(spec.clone(), weight, gamma, &device).expect("memory")
    });
    let mut network = Net {
        blocks: blocks.collect(),
        buffers: Default::default(),
    };
    assert_eq!(network.params().len(), params.len());
    for (param, values) in network.params_mut().into_iter().zip(params) {
        param.restore(values.clone(), None);
        if form == Form::Generic {
            param.tensor = mat(values, param.shape.1);
        }
    }
    network
}

fn run<T: Tape<f64, Cpu>>(form: Form, network: &Net, x: M<T>) -> M<T> {
    let both = GradMask {
        input: true,
        weights: true,
    };
    let result = match form {
        Form::Fast => Cpu::forward_pass(network, x, both),
        Form::Generic => generic::forward_pass(network, x),
    };
    result.expect("the device has memory").0
}

/// Gradients of the loss `sum(y * weights)`: of the input, then of each parameter.
fn gradients(form: Form, network: &Net, x: &M, weights: &M) -> Vec<Vec<f64>> {
    let y = run(form, network, x.clone().put_tape(Taped::default()));
    let loss: Tensor<(), f64, Cpu, Taped> = y.try_mul(weights.clone()).unwrap().sum();
    let mut grads = loss.backward();
    let mut all = vec![values(&grads.get(x))];
    for (_, param) in network.params() {
        all.push(Cpu::last_gradient(&mut grads, param).expect("memory"));
    }
    all
}

fn input_cols(op: &Op) -> usize {
    match *op {
        Op::Dense { n_in, .. } => n_in,
        Op::Conv(conv) | Op::ConvTranspose(conv) => conv.c_in,
    }
}

/// A block without normalization or activation equals `naive`, and passes [`check`].
fn check_linear(name: &str, op: Op, x: &[f64], w: Vec<f64>, naive: &[f64], noise: &mut Noise) {
    let specs = [spec(op, false, Activation::Linear)];
    let params = [w, vec![0.0; op.c_out()]];
    let y = run(
        Form::Fast,
        &network(Form::Fast, &specs, &params),
        mat(x, input_cols(&op)),
    );
    close(&values(&y), naive, name);
    check(name, &specs, x, &params, noise);
}

/// Checks a chain of blocks: both forms agree, forward and backward, and with finite
/// differences.
fn check(name: &str, specs: &[BlockSpec], x: &[f64], params: &[Vec<f64>], noise: &mut Noise) {
    let cols = input_cols(&specs[0].op);
    let fast = network(Form::Fast, specs, params);
    let slow = network(Form::Generic, specs, params);
    let x_mat = mat(x, cols);
    let y = run(Form::Fast, &fast, x_mat.clone());
    close(
        &values(&y),
        &values(&run(Form::Generic, &slow, x_mat.clone())),
        name,
    );
    let weights = mat(
        &noise.units(values(&y).len()),
        dfdx::shapes::HasShape::shape(&y).1,
    );
    let loss = |x: &[f64], params: &[Vec<f64>]| -> f64 {
        let y = values(&run(
            Form::Fast,
            &network(Form::Fast, specs, params),
            mat(x, cols),
        ));
        y.iter().zip(values(&weights)).map(|(y, w)| y * w).sum()
    };
    let fast = gradients(Form::Fast, &fast, &x_mat, &weights);
    let slow = gradients(Form::Generic, &slow, &x_mat, &weights);
    let at: Vec<Vec<f64>> = [x.to_vec()].into_iter().chain(params.to_vec()).collect();
    for (t, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
        close(fast, slow, &format!("{name}, gradient {t} of both forms"));
        for i in 0..fast.len() {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[t][i] += by;
                loss(&at[0], &at[1..])
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let error = (difference - fast[i]).abs() / (1.0 + difference.abs());
            assert!(
                error < 1e-6,
                "{name}: gradient {t}[{i}] is {}, not {difference}",
                fast[i]
            );
        }
    }
}

fn margins([top, left, bottom, right]: [usize; 4]) -> Margins {
    Margins {
        top,
        left,
        bottom,
        right,
    }
}

fn transposed(case: &Case) -> Conv {
    let crop = margins(case.margin);
    let geometry = Geometry::conv_transpose(case.small, case.kernel, case.stride, crop);
    let geometry = geometry.expect("every case has an output");
    assert_eq!(geometry.big, case.big());
    Conv {
        geometry,
        c_in: case.c_small,
        c_out: case.c_big,
    }
}

fn strided(case: &Case) -> Conv {
    let geometry = Geometry::conv(case.big(), case.kernel, case.stride, margins(case.margin));
    let geometry = geometry.expect("every case has an output");
    assert_eq!(geometry.small, case.small);
    Conv {
        geometry,
        c_in: case.c_big,
        c_out: case.c_small,
    }
}

#[test]
fn transposed_convolution_equals_plain_loops_and_its_gradient_finite_differences() {
    for (name, case) in cases() {
        let mut noise = Noise(1);
        let op = Op::ConvTranspose(transposed(&case));
        let x = noise.units(BATCH * op.input_len());
        let (rows, cols) = op.weight_shape();
        let w = noise.units(rows * cols);
        let naive: Vec<f64> = x
            .chunks(x.len() / BATCH)
            .flat_map(|x| tests::conv_transpose(&case, x, &w))
            .collect();
        check_linear(name, op, &x, w, &naive, &mut noise);
    }
}

#[test]
fn convolution_equals_plain_loops_and_its_gradient_finite_differences() {
    for (name, case) in cases() {
        let mut noise = Noise(2);
        let op = Op::Conv(strided(&case));
        let x = noise.units(BATCH * op.input_len());
        let (rows, cols) = op.weight_shape();
        let w = noise.units(rows * cols);
        let naive: Vec<f64> = x
            .chunks(x.len() / BATCH)
            .flat_map(|x| tests::conv(&case, x, &w))
            .collect();
        check_linear(name, op, &x, w, &naive, &mut noise);
    }
}

#[test]
fn dense_equals_plain_loops_and_its_gradient_finite_differences() {
    let mut noise = Noise(3);
    let (n_in, n_out, c_out) = (7, 12, 4);
    let (x, w) = (noise.units(BATCH * n_in), noise.units(n_in * n_out));
    let mut naive = vec![0.0; BATCH * n_out];
    for (b, o) in (0..BATCH).flat_map(|b| (0..n_out).map(move |o| (b, o))) {
        naive[b * n_out + o] = (0..n_in).map(|i| x[b * n_in + i] * w[i * n_out + o]).sum();
    }
    let op = Op::Dense { n_in, n_out, c_out };
    check_linear("dense", op, &x, w, &naive, &mut noise);
}

#[test]
fn normalization_bias_and_activations_equal_their_formulas() {
    let all = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::LeakyRelu(0.01),
        Activation::Tanh,
        Activation::Sigmoid,
    ];
    let formula = |act: Activation, v: f64| match act {
        Activation::Linear => v,
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu(slope) if v < 0.0 => slope * v,
        Activation::LeakyRelu(_) => v,
        Activation::Tanh => v.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-v).exp()),
    };
    // A convolution that does nothing, so that the rest of the block is seen alone.
    let (rows, c) = (37, 3);
    let geometry = Geometry::conv([rows, 1], 1, 1, margins([0; 4])).expect("an output");
    let (c_in, c_out) = (c, c);
    let op = Op::Conv(Conv {
        geometry,
        c_in,
        c_out,
    });
    let identity: Vec<f64> = (0..c * c).map(|i| f64::from(i % (c + 1) == 0)).collect();
    for act in all {
        let mut noise = Noise(4);
        let x = noise.units(rows * c);
        let (gamma, beta) = (noise.units(c), noise.units(c));
        let channel = |ch: usize| x.iter().skip(ch).step_by(c).copied();
        let mut normed = x.clone();
        let mut biased = x.clone();
        for ch in 0..c {
            let mean = channel(ch).sum::<f64>() / rows as f64;
            let var = channel(ch).map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
            for i in (ch..x.len()).step_by(c) {
                let hat = (x[i] - mean) / (var + 1e-5).sqrt();
                normed[i] = formula(act, gamma[ch] * hat + beta[ch]);
                biased[i] = formula(act, x[i] + beta[ch]);
            }
        }
        let with_norm = [identity.clone(), gamma, beta.clone()];
        let with_bias = [identity.clone(), beta];
        for (norm, params, expected) in [
            (true, &with_norm[..], &normed),
            (false, &with_bias[..], &biased),
        ] {
            let specs = [spec(op, norm, act)];
            let net = network(Form::Fast, &specs, params);
            close(
                &values(&run(Form::Fast, &net, mat(&x, c))),
                expected,
                "block",
            );
            check(
                &format!("{act:?}, norm {norm}"),
                &specs,
                &x,
                params,
                &mut noise,
            );
        }
    }
}

#[test]
fn a_chain_of_blocks_equals_its_op_by_op_form_when_its_buffers_are_used_again() {
    let (_, case) = cases().into_iter().next().expect("a case");
    let up = Op::ConvTranspose(transposed(&case));
    let down = Op::Conv(strided(&case));
    let n_in = down.output_len();
    let specs = [
        spec(up, true, Activation::Relu),
        spec(down, false, Activation::LeakyRelu(0.2)),
        spec(
            Op::Dense {
                n_in,
                n_out: 2,
                c_out: 2,
            },
            false,
            Activation::Tanh,
        ),
    ];
    let mut noise = Noise(5);
    let x = noise.units(BATCH * up.input_len());
    let lens = specs.iter().flat_map(|spec| {
        let (rows, cols) = spec.op.weight_shape();
        let c = spec.op.c_out();
        [rows * cols]
            .into_iter()
            .chain(spec.norm.then_some(c))
            .chain([c])
    });
    let params: Vec<_> = lens
        .collect::<Vec<_>>()
        .into_iter()
        .map(|len| noise.units(len))
        .collect();
    check("chain", &specs, &x, &params, &mut noise);
    let net = network(Form::Fast, &specs, &params);
    let weights = mat(&noise.units(BATCH * 2), 2);
    let x = mat(&x, input_cols(&up));
    // On one thread, for on several it is chance how many buffers are in use at once.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("a thread").install(|| {
        let first = gradients(Form::Fast, &net, &x, &weights);
        let kept = net.buffers.kept_len();
        for _ in 0..3 {
            assert_eq!(first, gradients(Form::Fast, &net, &x, &weights));
        }
        let grown = net.buffers.kept_len();
        assert_eq!(grown, kept, "memory grows from pass to pass");
    });
}

#[test]
fn spectral_normalization_has_norm_one_and_the_gradient_of_finite_differences() {
    let (rows, cols) = (5, 4);
    let mut noise = Noise(6);
    let kept = noise.units(rows * cols);
    let weights = noise.units(rows * cols);
    let converged = |kept: &[f64]| {
        let mut param = Param::new(kept.to_vec(), (rows, cols), &Cpu::default()).expect("memory");
        param.normalize_spectrum();
        for _ in 0..300 {
            param.step(vec![0.0; rows * cols], |_, _| ());
        }
        param
    };
    let mut param = converged(&kept);
    let squares = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
    for _ in 0..1000 {
        let v = noise.units(cols);
        let product: Vec<f64> = param
            .values
            .chunks(cols)
            .map(|row| row.iter().zip(&v).map(|(w, v)| w * v).sum())
            .collect();
        assert!(squares(&product) <= squares(&v) * (1.0 + 1e-9));
    }
    let loss = |kept: &[f64]| -> f64 {
        let values = converged(kept).values;
        values.iter().zip(&weights).map(|(w, g)| w * g).sum()
    };
    let mut grad = Vec::new();
    param.step(weights.clone(), |_, g| grad = g.to_vec());
    for i in 0..kept.len() {
        let moved = |by: f64| {
            let mut kept = kept.clone();
            kept[i] += by;
            loss(&kept)
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (difference - grad[i]).abs() < 1e-6,
            "{difference} is not {}",
            grad[i]
        );
    }
}

/// The fast form of an augmentation and dfdx's own ops agree, forward and backward.
#[test]
fn an_augmentation_and_its_gradient_equal_those_of_dfdx() {
    const KINDS: [Augmentation; 4] = [
        Augmentation::Translation,
        Augmentation::Color,
        Augmentation::Cutout,
        Augmentation::Flip,
    ];
    let mut noise = Noise(3);
    for channels in [1, 3] {
        let image = Image {
            height: 6,
            width: 10,
            channels,
        };
        let shape = image.shape();
        for seed in 0..10 {
            let mut rng = Pcg32::new(seed);
            let change = |_| draw_change(shape, &KINDS, 1.0, &mut rng);
            let changes: Vec<Change> = (0..BATCH).map(change).collect();
            let x = mat(&noise.units(BATCH * shape.len()), shape.len());
            let weights = mat(&noise.units(BATCH * shape.len()), channels);
            let run = |form| {
                let x = x.clone().put_tape(Taped::default());
                match form {
                    Form::Fast => Cpu::augment(x, shape, changes.clone()),
                    Form::Generic => generic::augment(x, shape, &changes),
                }
                .expect("the device has memory")
            };
            let grad = |form| {
                let loss: Tensor<(), f64, Cpu, Taped> =
                    run(form).try_mul(weights.clone()).unwrap().sum();
                values(&loss.backward().get(&x))
            };
            close(
                &values(&run(Form::Fast)),
                &values(&run(Form::Generic)),
                "image",
            );
            close(&grad(Form::Fast), &grad(Form::Generic), "gradient");
        }
    }
}
