//! The float layers: equal to plain loops, their gradients equal to finite differences,
//! and the fast form equal to dfdx's own ops.

use dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape, PutTape, Tape, Tensor, TensorFromVec};
use dfdx::tensor_ops::{SumTo, TryMul};
use host::nn::backend::values;
use host::nn::{Activation, Backend, Conv, Geometry, Margins, Mat, Wanted, generic};
use tests::{Case, Noise, cases};

type M<T = NoneTape> = Mat<f64, Cpu, T>;
type Taped = OwnedTape<f64, Cpu>;

const BOTH: Wanted = Wanted {
    input: true,
    weights: true,
};
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

/// The layers under test, in both forms.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Conv(Conv),
    ConvTranspose(Conv),
    Dense(usize),
    Norm(Activation),
    Bias(Activation),
}

impl Layer {
    /// Runs the layer on `[x, parameters...]`.
    fn run<T: Tape<f64, Cpu>>(self, fast: bool, x: M<T>, p: &[M]) -> M<T> {
        let y = match (self, fast) {
            (Self::Conv(c), true) => Cpu::conv2d(x, &p[0], c, BOTH),
            (Self::Conv(c), false) => generic::conv2d(x, &p[0], c),
            (Self::ConvTranspose(c), true) => Cpu::conv_transpose2d(x, &p[0], c, BOTH),
            (Self::ConvTranspose(c), false) => generic::conv_transpose2d(x, &p[0], c),
            (Self::Dense(c), true) => Cpu::dense(x, &p[0], c, BOTH),
            (Self::Dense(c), false) => generic::dense(x, &p[0], c),
            (Self::Norm(a), true) => Cpu::norm_act(x, &p[0], &p[1], a).map(|(y, _)| y),
            (Self::Norm(a), false) => generic::norm_act(x, &p[0], &p[1], a).map(|(y, _)| y),
            (Self::Bias(a), true) => Cpu::bias_act(x, &p[0], a),
            (Self::Bias(a), false) => generic::bias_act(x, &p[0], a),
        };
        y.expect("the device has memory")
    }

    /// Loss `sum(y * weights)`, its gradient for the input and each parameter.
    fn gradients(self, fast: bool, x: &M, p: &[M], weights: &M) -> Vec<Vec<f64>> {
        let y = self.run(fast, x.clone().put_tape(Taped::default()), p);
        let loss: Tensor<(), f64, Cpu, Taped> = y.try_mul(weights.clone()).unwrap().sum();
        let grads = loss.backward();
        let all = [x].into_iter().chain(p);
        all.map(|t| values(&grads.get(t))).collect()
    }
}

/// Checks one layer: both forms agree, forward and backward, and with finite differences.
fn check(name: &str, layer: Layer, x: &M, p: &[M], noise: &mut Noise) {
    let y = layer.run(true, x.clone(), p);
    close(&values(&y), &values(&layer.run(false, x.clone(), p)), name);
    let cols = dfdx::shapes::HasShape::shape(&y).1;
    let weights = mat(&noise.units(values(&y).len()), cols);
    let fast = layer.gradients(true, x, p, &weights);
    let slow = layer.gradients(false, x, p, &weights);
    let loss = |tensors: &[M]| -> f64 {
        let y = values(&layer.run(true, tensors[0].clone(), &tensors[1..]));
        y.iter().zip(values(&weights)).map(|(y, w)| y * w).sum()
    };
    let tensors: Vec<M> = [x].into_iter().chain(p).cloned().collect();
    for (t, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
        close(fast, slow, &format!("{name}, gradient {t} of both forms"));
        let at = values(&tensors[t]);
        let cols = dfdx::shapes::HasShape::shape(&tensors[t]).1;
        for i in 0..at.len() {
            let moved = |by: f64| {
                let (mut at, mut tensors) = (at.clone(), tensors.clone());
                at[i] += by;
                tensors[t] = mat(&at, cols);
                loss(&tensors)
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

#[test]
fn transposed_convolution_equals_plain_loops_and_its_gradient_finite_differences() {
    for (name, case) in cases() {
        let mut noise = Noise(1);
        let taps = case.kernel * case.kernel;
        let x = noise.units(BATCH * case.small[0] * case.small[1] * case.c_small);
        let w = noise.units(case.c_small * taps * case.c_big);
        let layer = Layer::ConvTranspose(transposed(&case));
        let (x_mat, w_mat) = (mat(&x, case.c_small), mat(&w, taps * case.c_big));
        let naive: Vec<f64> = x
            .chunks(x.len() / BATCH)
            .flat_map(|x| tests::conv_transpose(&case, x, &w))
            .collect();
        let y = layer.run(true, x_mat.clone(), std::slice::from_ref(&w_mat));
        close(&values(&y), &naive, name);
        check(name, layer, &x_mat, &[w_mat], &mut noise);
    }
}

#[test]
fn convolution_equals_plain_loops_and_its_gradient_finite_differences() {
    for (name, case) in cases() {
        let mut noise = Noise(2);
        let taps = case.kernel * case.kernel;
        let big = case.big();
        let geometry = Geometry::conv(big, case.kernel, case.stride, margins(case.margin));
        let geometry = geometry.expect("every case has an output");
        assert_eq!(geometry.small, case.small, "{name}");
        let layer = Layer::Conv(Conv {
            geometry,
            c_in: case.c_big,
            c_out: case.c_small,
        });
        let x = noise.units(BATCH * big[0] * big[1] * case.c_big);
        let w = noise.units(taps * case.c_big * case.c_small);
        let (x_mat, w_mat) = (mat(&x, case.c_big), mat(&w, case.c_small));
        let naive: Vec<f64> = x
            .chunks(x.len() / BATCH)
            .flat_map(|x| tests::conv(&case, x, &w))
            .collect();
        let y = layer.run(true, x_mat.clone(), std::slice::from_ref(&w_mat));
        close(&values(&y), &naive, name);
        check(name, layer, &x_mat, &[w_mat], &mut noise);
    }
}

#[test]
fn dense_equals_plain_loops_and_its_gradient_finite_differences() {
    let mut noise = Noise(3);
    let (n_in, n_out) = (7, 12);
    let (x, w) = (noise.units(BATCH * n_in), noise.units(n_in * n_out));
    let mut naive = vec![0.0; BATCH * n_out];
    for (b, o) in (0..BATCH).flat_map(|b| (0..n_out).map(move |o| (b, o))) {
        naive[b * n_out + o] = (0..n_in).map(|i| x[b * n_in + i] * w[i * n_out + o]).sum();
    }
    let (x, w) = (mat(&x, n_in), mat(&w, n_out));
    let y = Layer::Dense(4).run(true, x.clone(), std::slice::from_ref(&w));
    close(&values(&y), &naive, "dense");
    check("dense", Layer::Dense(4), &x, &[w], &mut noise);
}

#[test]
fn normalization_bias_and_activations_equal_their_formulas() {
    let all = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Tanh,
    ];
    let formula = |act: Activation, v: f64| match act {
        Activation::Linear => v,
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu if v < 0.0 => 0.2 * v,
        Activation::LeakyRelu => v,
        Activation::Tanh => v.tanh(),
    };
    for act in all {
        let mut noise = Noise(4);
        let (rows, c) = (37, 3);
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
        let (x, gamma, beta) = (mat(&x, c), mat(&gamma, c), mat(&beta, c));
        let params = [gamma, beta];
        let y = Layer::Norm(act).run(true, x.clone(), &params);
        close(&values(&y), &normed, "norm");
        let y = Layer::Bias(act).run(true, x.clone(), &params[1..]);
        close(&values(&y), &biased, "bias");
        check(
            &format!("norm {act:?}"),
            Layer::Norm(act),
            &x,
            &params,
            &mut noise,
        );
        check(
            &format!("bias {act:?}"),
            Layer::Bias(act),
            &x,
            &params[1..],
            &mut noise,
        );
    }
}
