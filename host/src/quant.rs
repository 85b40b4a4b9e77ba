//! From floats to a `.gan` file.
//!
//! The folded generator is run on seeded latents; each tensor gets the range, out of the
//! full one and a ladder of clipped ones, that leaves the smallest squared error behind
//! its activation. Weights are symmetric with one scale per output channel. What rounding
//! the weights and the inputs of a layer moves its sums by on average, its bias takes back
//! (after Nagel et al. 2019).

use gan_core::encode::{CriticSpec, LayerSpec, ModelSpec, encode, encode_critic, encoded_bytes};
use gan_core::error::FileError;
use gan_core::latent::{LATENT_SCALE, ONE_HOT};
use gan_core::types::{LUT16_LEN, WeightBits, Window};
use gan_core::{
    Activation as CoreActivation, Function, ModelError, Multiplier, Op as CoreOp, Quant, Shape,
};
use rayon::prelude::*;

use crate::config::{Config, Image};
use crate::generator::{FloatGenerator, FloatLayer};
use crate::nn::Activation;
use crate::nn::network::{BlockSpec, Op};
use crate::sample::{Order, float_input};

/// Latents that a run is calibrated on unless it says otherwise.
pub const CALIBRATION_IMAGES: usize = 512;

/// What of a model's size and accuracy can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Latents that ranges and corrections are measured on.
    pub calibration_images: usize,
    /// Of the dense layer's weights.
    pub dense_bits: WeightBits,
    /// Sums of 16 bits before tanh and the like (1 KB of table), or of 8 as TensorFlow Lite
    /// has them.
    pub wide_table: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calibration_images: CALIBRATION_IMAGES,
            dense_bits: WeightBits::Eight,
            wide_table: true,
        }
    }
}

/// Seeds of calibration begin here, far from those that people type.
const CALIBRATION_SEED: u64 = 1 << 48;

/// Ranges that are tried for each end, each a little smaller than the one before: sums
/// before tanh may reach ten times as far as anything can be seen of.
const CLIP_STEPS: i32 = 50;
const CLIP_SHARE: f32 = 0.95;

/// Why a generator has no int8 form.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A weight or an activation is not a number.
    #[error("layer {layer} has values that are not numbers: the training has diverged")]
    NotANumber {
        /// Counted from 0.
        layer: usize,
    },
    /// A bias is too large for 32 bits beside the weights of its channel.
    #[error(
        "layer {layer}, channel {channel}: the bias is too large to be rounded; train with a \
         lower learning rate"
    )]
    Bias {
        /// Counted from 0.
        layer: usize,
        /// Counted from 0.
        channel: usize,
    },
    /// The runtime refuses the result.
    #[error("the int8 model would be refused: {0}")]
    Refused(#[from] ModelError),
}

/// A layer in integers, owned.
struct IntLayer {
    op: CoreOp,
    input_shape: Shape,
    output_shape: Shape,
    weight_bits: WeightBits,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    pre_activation: Quant,
    output: Quant,
    activation: IntActivation,
    function: Function,
}

impl IntLayer {
    fn spec(&self) -> LayerSpec<'_> {
        LayerSpec {
            op: self.op,
            input_shape: self.input_shape,
            output_shape: self.output_shape,
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            pre_activation: self.pre_activation,
            output: self.output,
            weight_bits: self.weight_bits,
            function: self.function,
            activation: match &self.activation {
                IntActivation::Clamp { min } => CoreActivation::Clamp {
                    min: *min,
                    max: 127,
                },
                IntActivation::Lut8(table) => CoreActivation::Lut8(table),
                IntActivation::Lut16(table) => CoreActivation::Lut16(table),
            },
        }
    }
}

enum IntActivation {
    Clamp { min: i8 },
    Lut8(Box<[u8; 256]>),
    Lut16(Box<[[u8; 2]; LUT16_LEN]>),
}

/// Quantizes and encodes a generator.
pub fn quantize(generator: &FloatGenerator, options: &Options) -> Result<Vec<u8>, QuantizeError> {
    quantize_tuned(generator, generator, options)
}

/// As [`quantize`], with weights of `tuned`, whose rounded form is to do what `generator` does
/// unrounded.
pub fn quantize_tuned(
    generator: &FloatGenerator,
    tuned: &FloatGenerator,
    options: &Options,
) -> Result<Vec<u8>, QuantizeError> {
    let order = Order {
        count: options.calibration_images.max(1),
        seed: CALIBRATION_SEED,
        class: None,
    };
    let input = Input {
        x: float_input(
            generator,
            &order.each(generator.config.data.class_names.len()),
        ),
        shape: flat(generator.config.input_len()),
        quant: Quant {
            scale: LATENT_SCALE,
            zero_point: 0,
        },
        latent: generator.config.generator.latent,
    };
    let dense_output = |i, _| map_shape(generator.config.generator.dense_map(i));
    let pairs = generator.layers.iter().zip(&tuned.layers);
    let layers = round_layers(pairs, input, dense_output, options)?;
    encode_model(generator, &layers)
}

/// A channel whose value never changes, far from those of its layer's other channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoudConstant {
    /// Counted from 0.
    pub layer: usize,
    /// Of the layer's output, counted from 0.
    pub channel: usize,
    /// Its value.
    pub value: f32,
    /// The largest value of the other channels, without its sign.
    pub others: f32,
}

/// Pictures over which a channel counts as constant.
const CONSTANT_IMAGES: usize = 64;

/// Channels that take the integers' resolution from others of their layer: all channels have one
/// scale, and theirs is set by a constant, such as the bias of a channel without weights.
pub fn loud_constants(generator: &FloatGenerator) -> Vec<LoudConstant> {
    let order = Order {
        count: CONSTANT_IMAGES,
        seed: CALIBRATION_SEED,
        class: None,
    };
    let classes = generator.config.data.class_names.len();
    let mut x = float_input(generator, &order.each(classes));
    let mut found = Vec::new();
    // The last layer's scale is that of grey levels.
    let inner = generator.layers.len().saturating_sub(1);
    for (layer, of_layer) in generator.layers.iter().take(inner).enumerate() {
        let c = of_layer.op.c_out();
        x = of_layer.sums(&x);
        of_layer.activate(&mut x);
        let mut ranges = vec![[f32::MAX, f32::MIN]; c];
        for row in x.chunks_exact(c) {
            for (range, &v) in ranges.iter_mut().zip(row) {
                *range = [range[0].min(v), range[1].max(v)];
            }
        }
        let size = |range: &[f32; 2]| range[0].abs().max(range[1].abs());
        let is_constant = |range: &[f32; 2]| range[1] - range[0] <= 1e-3 * size(range);
        let others = ranges.iter().filter(|range| !is_constant(range));
        let others = others.map(size).fold(0.0, f32::max);
        for (channel, range) in ranges.iter().enumerate() {
            if is_constant(range) && others > 0.0 && size(range) > LOUD * others {
                let value = range[1];
                found.push(LoudConstant {
                    layer,
                    channel,
                    value,
                    others,
                });
            }
        }
    }
    found
}

/// A constant of so many times what the others reach costs them more than a bit.
const LOUD: f32 = 2.0;

/// Checks that the runtime can draw what a configuration describes, by quantizing a generator
/// of it whose weights are all 0.
pub fn check(config: &Config, dataset: &str) -> Result<(), String> {
    let blank = |block: BlockSpec| FloatLayer {
        weight: vec![0.0; block.op.weight_shape().0 * block.op.weight_shape().1],
        bias: vec![0.0; block.op.c_out()],
        op: block.op,
        activation: block.activation,
    };
    let generator = FloatGenerator {
        config: config.clone(),
        dataset: dataset.to_owned(),
        step: 0,
        layers: config.generator_blocks()?.into_iter().map(blank).collect(),
    };
    let options = Options {
        calibration_images: 1,
        ..Options::default()
    };
    let quantized = quantize(&generator, &options);
    quantized.map(drop).map_err(|error| {
        format!("the generator could be trained, but not be written for a device: {error}")
    })
}

/// Quantizes a critic of two dense layers and writes it into a model's `file`; `seen` `[n, len]`
/// is some of what it may see, as the integers mean it.
pub fn quantize_critic(
    file: &[u8],
    layers: &[FloatLayer],
    seen: Vec<f32>,
    halved: bool,
    passing: i8,
) -> Result<Vec<u8>, QuantizeError> {
    let model = gan_core::Model::parse(file)?;
    let n_in = layers.first().map_or(0, |layer| layer.op.input_len());
    let last = model.layers().last().map(|layer| layer.output);
    let input = Input {
        x: seen,
        shape: flat(n_in),
        quant: last.ok_or(ModelError::from(FileError::LayerCount { found: 0 }))?,
        latent: n_in,
    };
    let pairs = layers.iter().zip(layers);
    let layers = round_layers(pairs, input, |_, c| flat(c), &Options::default())?;
    let [first, second] = layers.as_slice() else {
        let found = layers.len();
        return Err(ModelError::from(FileError::LayerCount { found }).into());
    };
    let spec = CriticSpec {
        halved,
        passing,
        layers: [first.spec(), second.spec()],
    };
    match encode_critic(file, &spec, &mut []) {
        Err(ModelError::File(FileError::BufferTooSmall { need_bytes, .. })) => {
            let mut bytes = vec![0; need_bytes];
            encode_critic(file, &spec, &mut bytes)?;
            Ok(bytes)
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Vec::new()),
    }
}

/// A map as the runtime has it.
pub(crate) fn map_shape(map: Image) -> Shape {
    Shape {
        h: map.height,
        w: map.width,
        c: map.channels,
    }
}

fn flat(c: usize) -> Shape {
    Shape { h: 1, w: 1, c }
}

/// What a first layer reads.
struct Input {
    /// `[n, len]`
    x: Vec<f32>,
    shape: Shape,
    quant: Quant,
    /// Values from here on are classes.
    latent: usize,
}

/// Rounds layers one after the other, each for what the rounded ones before leave it:
/// `(whole, tuned)`, see [`quantize_tuned`]. `dense_output`: the map of a layer of so many dense
/// outputs.
fn round_layers<'l>(
    pairs: impl Iterator<Item = (&'l FloatLayer, &'l FloatLayer)>,
    input: Input,
    dense_output: impl Fn(usize, usize) -> Shape,
    options: &Options,
) -> Result<Vec<IntLayer>, QuantizeError> {
    let Input {
        mut x,
        mut shape,
        mut quant,
        latent,
    } = input;
    let mut rounded_x = x.clone();
    let mut layers = Vec::new();
    for (i, (whole, layer)) in pairs.enumerate() {
        let mut sums = whole.sums(&x);
        if !sums.iter().chain(&layer.weight).all(|v| v.is_finite()) {
            return Err(QuantizeError::NotANumber { layer: i });
        }
        let bits = weight_bits(layer.op, options);
        let latent = if i == 0 { latent } else { usize::MAX };
        let rows = round_rows(layer, bits, latent, Some(quant.scale));
        let rounded = FloatLayer {
            weight: in_place(layer, &rows),
            ..layer.clone()
        };
        let mut rounded_sums = rounded.sums(&rounded_x);
        let correction = correction(layer.activation, &sums, &rounded_sums, channels(layer.op));
        for sums in rounded_sums.chunks_exact_mut(correction.len()) {
            sums.iter_mut()
                .zip(&correction)
                .for_each(|(sum, c)| *sum += c);
        }
        let largest_scale = rows.iter().map(|row| row.scale).fold(0.0, f64::max);
        let products = f64::from(quant.scale) * largest_scale;
        let wide = options.wide_table.then_some(products as f32);
        let tensor = TensorQuants::choose(layer.activation, &sums, channels(layer.op), wide);
        let (rows, input) = ((bits, rows), (shape, quant));
        let op = runtime_op(layer.op, |n_out| dense_output(i, n_out));
        let int = int_layer(layer, rows, input, &tensor, &correction, op);
        let int = int.map_err(|channel| QuantizeError::Bias { layer: i, channel })?;
        layer.activate(&mut sums);
        tensor.round(layer.activation, &mut rounded_sums);
        (x, rounded_x) = (sums, rounded_sums);
        (shape, quant) = (int.output_shape, int.output);
        layers.push(int);
    }
    Ok(layers)
}

/// Bits of a layer's weights.
pub fn weight_bits(op: Op, options: &Options) -> WeightBits {
    match op {
        Op::Dense { .. } => options.dense_bits,
        _ => WeightBits::Eight,
    }
}

/// Outputs with a bias of their own in the runtime.
fn channels(op: Op) -> usize {
    match op {
        Op::Dense { n_out, .. } => n_out,
        Op::Conv(conv) | Op::ConvTranspose(conv) => conv.c_out,
    }
}

/// What to add to each output channel of `rounded` so that its activations come nearest to
/// those of `sums` `[rows, c]`: the mean difference, weighted by the square of the
/// activation's slope, for where it is flat nothing is seen of a difference.
fn correction(act: Activation, sums: &[f32], rounded: &[f32], c: usize) -> Vec<f32> {
    let (mut differences, mut weights) = (vec![0f64; c], vec![0f64; c]);
    for (sums, rounded) in sums.chunks_exact(c).zip(rounded.chunks_exact(c)) {
        for (i, (sum, rounded)) in sums.iter().zip(rounded).enumerate() {
            let weight = f64::from(act.slope(act.apply(*sum))).powi(2);
            differences[i] += weight * f64::from(sum - rounded);
            weights[i] += weight;
        }
    }
    let means = differences.iter().zip(weights);
    means
        .map(|(sum, weight)| (sum / weight.max(1e-9)) as f32)
        .collect()
}

/// Quantization of a layer's sum and of its output.
struct TensorQuants {
    pre_activation: Quant,
    output: Quant,
    wide: bool,
}

impl TensorQuants {
    /// For sums `[rows, c]` of products of at most scale `wide`, if tables are to be wide.
    fn choose(act: Activation, sums: &[f32], c: usize, wide: Option<f32>) -> Self {
        let same = |sum| (sum, sum);
        let narrow_or_wide = |sums: &[f32]| match wide {
            Some(products) => wide_quant(act, sums, products),
            None => best_quant(sums, c, act, false),
        };
        let (sum, output) = match act {
            Activation::Relu => same(best_quant(sums, c, act, true)),
            Activation::Linear => same(best_quant(sums, c, act, false)),
            Activation::Tanh => {
                let output = Quant {
                    scale: 1.0 / 128.0,
                    zero_point: 0,
                };
                (narrow_or_wide(sums), output)
            }
            Activation::Sigmoid => {
                let output = Quant {
                    scale: 1.0 / 256.0,
                    zero_point: -128,
                };
                (narrow_or_wide(sums), output)
            }
            Activation::LeakyRelu(_) => {
                let outputs: Vec<f32> = sums.iter().map(|&v| act.apply(v)).collect();
                let output = best_quant(&outputs, c, Activation::Linear, false);
                (narrow_or_wide(sums), output)
            }
        };
        let has_table = !matches!(act, Activation::Relu | Activation::Linear);
        Self {
            pre_activation: sum,
            output,
            wide: has_table && wide.is_some(),
        }
    }

    /// Sums to what the next layer reads of them.
    fn round(&self, act: Activation, sums: &mut [f32]) {
        sums.par_chunks_mut(1 << 14).for_each(|sums| {
            for sum in sums {
                let v = if self.wide {
                    *sum
                } else {
                    dequantize(
                        quantize_value(*sum, &self.pre_activation),
                        &self.pre_activation,
                    )
                };
                *sum = dequantize(quantize_value(act.apply(v), &self.output), &self.output);
            }
        });
    }
}

/// Room above the largest sum that was seen, before a wide table.
const WIDE_HEADROOM: f32 = 1.25;
/// Where tanh is 1 to half a step of its output.
const TANH_REACH: f32 = 3.5;

/// 16 bits for sums before a wide table. Its straight lines are the shorter, the smaller the
/// range; but a multiplier of more than a half would leave the runtime's fast path, and
/// resolve what products of scale `products` have not.
fn wide_quant(act: Activation, sums: &[f32], products: f32) -> Quant {
    let largest = sums
        .iter()
        .fold(f32::MIN_POSITIVE * 65536.0, |max, v| max.max(v.abs()));
    let reach = match act {
        Activation::Tanh => largest.min(TANH_REACH),
        // (tanh(x / 2) + 1) / 2
        Activation::Sigmoid => largest.min(2.0 * TANH_REACH),
        _ => largest,
    };
    Quant {
        scale: (WIDE_HEADROOM * reach / 32767.0).max(2.0 * products),
        zero_point: 0,
    }
}

/// The range of `[low, high]` and its clipped forms with the smallest squared error of
/// the activation's output; sums are `[rows, c]`. `positive`: ReLU follows, so the range begins at 0 and its
/// zero point is -128.
fn best_quant(sums: &[f32], c: usize, act: Activation, positive: bool) -> Quant {
    let low = sums.iter().fold(0f32, |low, &v| low.min(v));
    let high = sums.iter().fold(0f32, |high, &v| high.max(v));
    let low = if positive { 0.0 } else { low };
    // A fixed stride keeps the search fast; the end points come from all values. It shares no
    // divisor with the channels, so that every one has its turn.
    let mut stride = sums.len().div_ceil(1 << 15) | 1;
    while gcd(stride, c) > 1 {
        stride += 2;
    }
    let sample: Vec<f32> = sums.iter().copied().step_by(stride).collect();
    let error = |quant: &Quant| -> f64 {
        let errors = sample.iter().map(|&v| {
            let back = act.apply(dequantize(quantize_value(v, quant), quant));
            f64::from(back - act.apply(v)).powi(2)
        });
        errors.sum()
    };
    let share = |i: i32| CLIP_SHARE.powi(i);
    let mut best = quant_of(low, high);
    let mut least = error(&best);
    let mut consider = |low: f32, high: f32| {
        let quant = quant_of(low, high);
        let error = error(&quant);
        if error < least {
            (best, least) = (quant, error);
            return true;
        }
        false
    };
    // One end after the other: the error has one valley along each.
    let mut ends = (low, high);
    for i in 1..CLIP_STEPS {
        if consider(ends.0, high * share(i)) {
            ends.1 = high * share(i);
        }
    }
    for i in 1..CLIP_STEPS {
        if low < 0.0 {
            consider(low * share(i), ends.1);
        }
    }
    best
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Scale and zero point that put `[low, high]`, 0 included, on `[-128, 127]`.
fn quant_of(low: f32, high: f32) -> Quant {
    let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE * 256.0);
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0);
    Quant {
        scale,
        zero_point: zero_point as i8,
    }
}

fn quantize_value(v: f32, quant: &Quant) -> i8 {
    let q = (v / quant.scale).round() + f32::from(quant.zero_point);
    q.clamp(-128.0, 127.0) as i8
}

/// The real number that `q` stands for.
pub fn dequantize(q: i8, quant: &Quant) -> f32 {
    f32::from(i16::from(q) - i16::from(quant.zero_point)) * quant.scale
}

/// The most that a bias may be in steps of a layer's products: it leaves room for the largest
/// sum of products that a layer may have.
const MOST_BIAS_STEPS: f64 = 5e8;

/// Puts a layer's integers together. *Errors*: a channel whose bias is too large.
fn int_layer(
    layer: &FloatLayer,
    (weight_bits, rows): (WeightBits, Vec<RoundedRow>),
    (input_shape, input): (Shape, Quant),
    tensor: &TensorQuants,
    correction: &[f32],
    (op, output_shape): (CoreOp, Shape),
) -> Result<IntLayer, usize> {
    let mut int = IntLayer {
        op,
        input_shape,
        output_shape,
        weight_bits,
        weights: Vec::new(),
        bias: Vec::new(),
        multipliers: Vec::new(),
        pre_activation: tensor.pre_activation,
        output: tensor.output,
        activation: activation(layer.activation, tensor),
        function: function(layer.activation),
    };
    for (o, (row, correction)) in rows.into_iter().zip(correction).enumerate() {
        let bias = layer.bias[o % layer.bias.len()];
        int.weights.extend(row.steps);
        let product_scale = f64::from(input.scale) * row.scale;
        let bias = (f64::from(bias + correction) / product_scale).round();
        if bias.abs() > MOST_BIAS_STEPS {
            return Err(o);
        }
        int.bias.push(bias as i32);
        int.multipliers.push(multiplier(
            product_scale / f64::from(tensor.pre_activation.scale),
        ));
    }
    Ok(int)
}

/// Shares of an output channel's largest weight that are tried for its largest step.
const WEIGHT_CLIPS: [f64; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// The weights of one output channel (dense: value) in the runtime's order.
struct RoundedRow {
    places: Vec<Place>,
    scale: f64,
    steps: Vec<i8>,
}

impl RoundedRow {
    /// Scale and steps with the smallest squared error; the scale is `least_scale` or more.
    fn of(layer: &FloatLayer, places: Vec<Place>, bits: WeightBits, least_scale: f64) -> Self {
        let most = match bits {
            WeightBits::Eight => 127.0,
            WeightBits::Four => 7.0,
        };
        let weights = places.iter().map(|&(at, unit)| layer.weight[at] * unit);
        let weights: Vec<f32> = weights.collect();
        let largest = weights.iter().fold(0f32, |max, w| max.max(w.abs()));
        let largest = f64::from(largest.max(f32::MIN_POSITIVE * 256.0));
        let step = |w: f32, scale: f64| (f64::from(w) / scale).round().clamp(-most, most);
        let error = |scale: f64| -> f64 {
            let errors = weights
                .iter()
                .map(|&w| step(w, scale) * scale - f64::from(w));
            errors.map(|e| e * e).sum()
        };
        // Of 24 bits, so that other runtimes can be told the very scale.
        let scales = WEIGHT_CLIPS.map(|share| (share * largest / most).max(least_scale));
        let scales = scales.map(|scale| f64::from(scale as f32));
        let scale = scales
            .into_iter()
            .min_by(|&a, &b| error(a).total_cmp(&error(b)))
            .unwrap_or(scales[0]);
        let steps = weights.iter().map(|&w| step(w, scale) as i8).collect();
        Self {
            places,
            scale,
            steps,
        }
    }
}

/// The most that a bias is to be in steps of its channel's products, by the choice of their
/// scale: a channel whose weights are 0 or next to it would lose its bias otherwise.
const WANTED_BIAS_STEPS: f64 = (1 << 27) as f64;

/// A layer's weights, rounded; inputs from `latent` on are classes. With the scale of the
/// inputs the scale of a row is large enough for its bias.
fn round_rows(
    layer: &FloatLayer,
    bits: WeightBits,
    latent: usize,
    input_scale: Option<f32>,
) -> Vec<RoundedRow> {
    let (n, places) = rows_of(layer.op, latent);
    let least_scale = |o: usize| {
        let bias = f64::from(layer.bias[o % layer.bias.len()].abs());
        input_scale.map_or(0.0, |scale| bias / f64::from(scale) / WANTED_BIAS_STEPS)
    };
    let rows = (0..n).into_par_iter();
    rows.map(|o| RoundedRow::of(layer, places(o), bits, least_scale(o)))
        .collect()
}

/// Rounded weights as floats, in the layer's own order.
fn in_place(layer: &FloatLayer, rows: &[RoundedRow]) -> Vec<f32> {
    let mut weight = layer.weight.clone();
    for row in rows {
        for (&(at, unit), &step) in row.places.iter().zip(&row.steps) {
            weight[at] = (f64::from(step) * row.scale) as f32 / unit;
        }
    }
    weight
}

/// A layer's weights as the runtime will have them, in floats, in the layer's own order;
/// inputs from `latent` on are classes.
pub fn rounded_weights(layer: &FloatLayer, bits: WeightBits, latent: usize) -> Vec<f32> {
    in_place(layer, &round_rows(layer, bits, latent, None))
}

/// The runtime's operator and the map that it writes.
pub(crate) fn runtime_op(op: Op, dense_output: impl Fn(usize) -> Shape) -> (CoreOp, Shape) {
    match op {
        Op::Dense { n_out, .. } => (CoreOp::Dense, dense_output(n_out)),
        Op::ConvTranspose(conv) | Op::Conv(conv) => {
            let g = conv.geometry;
            let full = |i: usize| (g.small[i] - 1) * g.stride + g.kernel;
            let window = Window {
                kernel: g.kernel,
                stride: g.stride,
                crop_top: g.top,
                crop_left: g.left,
                crop_bottom: full(0) - g.top - g.big[0],
                crop_right: full(1) - g.left - g.big[1],
            };
            let shape = Shape {
                h: g.big[0],
                w: g.big[1],
                c: conv.c_out,
            };
            (CoreOp::ConvTranspose(window), shape)
        }
    }
}

/// What a class's weight is stored as a share of: the runtime's input has more than 1.
fn class_unit() -> f32 {
    1.0 / (f32::from(ONE_HOT) * LATENT_SCALE)
}

/// A weight's place in a layer, and what it is multiplied by in the file.
pub(crate) type Place = (usize, f32);

/// Number of output channels (dense: values), and the weights of each in the runtime's
/// order; inputs from `latent` on are classes.
pub(crate) fn rows_of(op: Op, latent: usize) -> (usize, impl Fn(usize) -> Vec<Place> + Sync) {
    let places = move |o: usize| match op {
        Op::Dense { n_in, n_out, .. } => {
            let unit = |i: usize| if i < latent { 1.0 } else { class_unit() };
            (0..n_in).map(|i| (i * n_out + o, unit(i))).collect()
        }
        Op::ConvTranspose(conv) | Op::Conv(conv) => {
            let taps = conv.geometry.taps();
            let at = |tap: usize, i: usize| ((i * taps + tap) * conv.c_out + o, 1.0);
            let taps = 0..taps;
            taps.flat_map(|tap| (0..conv.c_in).map(move |i| at(tap, i)))
                .collect()
        }
    };
    (channels(op), places)
}

/// Mantissa and shift of a positive real number (TensorFlow Lite's `QuantizeMultiplier`).
pub(crate) fn multiplier(real: f64) -> Multiplier {
    let mut exponent = real.log2().floor() as i32 + 1;
    let mut mantissa = (real * 2f64.powi(31 - exponent)).round();
    if mantissa >= 2f64.powi(31) {
        mantissa /= 2.0;
        exponent += 1;
    }
    if exponent < -31 {
        return Multiplier {
            mantissa: 0,
            shift: 0,
        };
    }
    if exponent > 30 {
        return Multiplier {
            mantissa: i32::MAX,
            shift: 30,
        };
    }
    Multiplier {
        mantissa: mantissa as i32,
        shift: exponent as i8,
    }
}

/// The runtime's activation: a clamp where that will do, else a table.
fn activation(act: Activation, tensor: &TensorQuants) -> IntActivation {
    let TensorQuants {
        pre_activation: sum,
        output,
        wide,
    } = tensor;
    if matches!(act, Activation::Linear | Activation::Relu) {
        let relu = act == Activation::Relu;
        let min = if relu { sum.zero_point } else { -128 };
        return IntActivation::Clamp { min };
    }
    if *wide {
        let entry = |i: usize| {
            let value = act.apply((i as f32 - 256.0) * 128.0 * sum.scale);
            let steps = value / output.scale + f32::from(output.zero_point);
            let wide = (steps * 256.0).round().clamp(-32768.0, 32767.0);
            (wide as i16).to_le_bytes()
        };
        return IntActivation::Lut16(Box::new(std::array::from_fn(entry)));
    }
    let entry = |i: usize| {
        let q = i8::from_ne_bytes([(i as u8) ^ 0x80]);
        let value = act.apply(dequantize(q, sum));
        quantize_value(value, output) as u8
    };
    IntActivation::Lut8(Box::new(std::array::from_fn(entry)))
}

/// The activation as the file names it.
fn function(act: Activation) -> Function {
    match act {
        Activation::Linear => Function::Linear,
        Activation::Relu => Function::Relu,
        // Below 1, which the nearest number of 24 bits need not be.
        Activation::LeakyRelu(slope) => Function::LeakyRelu {
            slope: (slope as f32).min(1f32.next_down()),
        },
        Activation::Tanh => Function::Tanh,
        Activation::Sigmoid => Function::Sigmoid,
    }
}

fn encode_model(generator: &FloatGenerator, layers: &[IntLayer]) -> Result<Vec<u8>, QuantizeError> {
    let specs: Vec<LayerSpec> = layers.iter().map(IntLayer::spec).collect();
    let config = &generator.config;
    let labels: Vec<&str> = config.data.class_names.iter().map(String::as_str).collect();
    let latent = config.generator.latent;
    let spec = ModelSpec {
        name: &config.name,
        dataset: &generator.dataset,
        labels: &labels,
        latent_len: u16::try_from(latent)
            .map_err(|_| ModelError::from(FileError::TooLarge { value: latent }))?,
        steps: u32::try_from(generator.step).unwrap_or(u32::MAX),
        seed: config.training.seed,
        layers: &specs,
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes)?;
    Ok(bytes)
}
