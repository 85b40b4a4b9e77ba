//! A model that has passed every check.

use heapless::Vec;

use crate::error::{InferError, ModelError};
use crate::fixed::Multiplier;
use crate::format::{self, Header, MAX_LAYERS};
use crate::gate::Critic;
use crate::latent::{LATENT_SCALE, ONE_HOT, fill_latent};
use crate::layout::{self, quads};
use crate::plan::{MAX_SCRATCH_WORDS, Mode, Plan, scratch_words};

/// Height, width and channels of a map, NHWC without the N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// In pixels.
    pub h: usize,
    /// In pixels.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// Values of the map.
    pub const fn len(self) -> usize {
        self.h * self.w * self.c
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What an int8 value means: `(q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Above 0; for information, inference does not read it.
    pub scale: f32,
    /// The value that means 0.
    pub zero_point: i8,
}

/// What follows the requantized sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation<'a> {
    /// `min..=max`: the whole range for none, from the zero point for ReLU.
    Clamp {
        /// Smallest output.
        min: i8,
        /// Largest output.
        max: i8,
    },
    /// Output for each clamped sum from -128 to 127, as `i8` bits.
    Table(&'a [u8; 256]),
    /// Ends of 512 straight lines over sums from -32768 to 32767, little-endian `i16`, of
    /// which the high byte is the output. The sum has 16 bits and the zero point 0.
    WideTable(&'a [[u8; 2]; WIDE_TABLE_LEN]),
}

/// Entries of a [wide table](Activation::WideTable).
pub const WIDE_TABLE_LEN: usize = 513;

/// Bits of a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightBits {
    /// From -127 to 127.
    Eight,
    /// From -7 to 7, two in a byte; dense layers only.
    Four,
}

impl Activation<'_> {
    /// Bytes of the table, if there is one.
    pub(crate) const fn table_bytes(&self) -> usize {
        match self {
            Self::Clamp { .. } => 0,
            Self::Table(table) => table.len(),
            Self::WideTable(table) => table.as_flattened().len(),
        }
    }
}

/// Kernel, stride and crops of a transposed convolution, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the kernel.
    pub kernel: usize,
    /// Output pixels per input pixel.
    pub stride: usize,
    /// Rows cut off above.
    pub crop_top: usize,
    /// Columns cut off on the left.
    pub crop_left: usize,
    /// Rows cut off below.
    pub crop_bottom: usize,
    /// Columns cut off on the right.
    pub crop_right: usize,
}

/// A layer's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fully connected.
    Dense,
    /// Transposed convolution.
    ConvTranspose(Window),
}

/// Bits of the `f32` values above zero and below infinity.
const POSITIVE_FINITE: core::ops::Range<u32> = 1..0x7f80_0000;

/// One layer of a checked model, in place.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Operator.
    pub op: Op,
    /// What it reads.
    pub input_shape: Shape,
    /// What it writes.
    pub output_shape: Shape,
    /// Of the input.
    pub input: Quant,
    /// Of the sum, before a table.
    pub sum: Quant,
    /// Of the output.
    pub output: Quant,
    /// Clamp or table.
    pub activation: Activation<'a>,
    /// Of the weights.
    pub weight_bits: WeightBits,
    /// See [`layout`](crate::layout).
    pub(crate) weights: &'a [u8],
    pub(crate) bias: &'a [u8],
    pub(crate) mantissas: &'a [u8],
    pub(crate) shifts: &'a [u8],
    /// `i32` `[ky][phase][c_out]`: the sum of the weights times minus the input's zero
    /// point; empty where that is 0.
    pub(crate) corrections: &'a [u8],
}

impl<'a> Layer<'a> {
    /// Bias and multiplier of each output channel (dense: value) from `first` on.
    pub fn channels(&self, first: usize) -> impl Iterator<Item = (i32, Multiplier)> + use<'a> {
        let words = |bytes: &'a [u8]| {
            let words = bytes.get(4 * first..).unwrap_or(&[]).as_chunks::<4>().0;
            words.iter().map(|&word| i32::from_le_bytes(word))
        };
        let (biases, mantissas) = (words(self.bias), words(self.mantissas));
        let multipliers = mantissas.zip(self.shifts.get(first..).unwrap_or(&[]));
        biases.zip(multipliers).map(|(bias, (mantissa, &shift))| {
            let shift = shift as i8;
            (bias, Multiplier { mantissa, shift })
        })
    }

    /// The weights as [`LayerSpec`](crate::format::LayerSpec) has them: `[c_out][k][k][c_in]` or
    /// `[n_out][n_in]`.
    pub fn weights(&self) -> impl Iterator<Item = i8> {
        let (input, output) = (self.input_shape, self.output_shape);
        let (outputs, kernel, inputs) = match self.op {
            Op::Dense => (output.len(), 1, input.len()),
            Op::ConvTranspose(v) => (output.c, v.kernel, input.c),
        };
        let of_output = move |o| (0..kernel * kernel * inputs).map(move |i| (o, i));
        (0..outputs).flat_map(of_output).map(move |(o, i)| {
            let (tap, c) = (i / inputs, i % inputs);
            let at = match self.op {
                Op::Dense => layout::dense_index(input, output, o, c),
                Op::ConvTranspose(v) => {
                    let place = (o, tap / kernel, tap % kernel, c);
                    layout::conv_index(v, (input.c, output.c), place)
                }
            };
            self.weight(at)
        })
    }

    /// The weight at a place of the [`layout`].
    fn weight(&self, at: usize) -> i8 {
        match self.weight_bits {
            WeightBits::Eight => self.weights.get(at).map_or(0, |&w| w as i8),
            WeightBits::Four => {
                let pair = self.weights.get(at / 16 * 8 + at % 8).map_or(0, |&w| w);
                let half = pair >> (at / 8 % 2 * 4) & 0xf;
                ((half ^ 8) as i8).wrapping_sub(8)
            }
        }
    }

    /// Weights and biases, without what fills them up to multiples of four.
    pub fn parameter_count(&self) -> usize {
        let weights = match self.op {
            Op::Dense => self.input_shape.len() * self.output_shape.len(),
            Op::ConvTranspose(v) => v.kernel * v.kernel * self.input_shape.c * self.output_shape.c,
        };
        weights + self.bias.len() / 4
    }

    /// Bytes of weights, biases, multipliers, corrections and table.
    pub fn flash_bytes(&self) -> usize {
        self.weights.len()
            + self.bias.len()
            + self.mantissas.len()
            + self.shifts.len()
            + self.corrections.len()
            + self.activation.table_bytes()
    }

    /// Multiplications executed for one picture: taps that land inside both maps.
    pub fn mac_count(&self) -> u64 {
        let Op::ConvTranspose(v) = self.op else {
            return self.input_shape.len() as u64 * self.output_shape.len() as u64;
        };
        let landing = |input: usize, output: usize, crop: usize| -> u64 {
            let taps = (0..input).flat_map(|i| (0..v.kernel).map(move |k| i * v.stride + k));
            let landing = taps.filter(|&at| at >= crop && at - crop < output);
            landing.count() as u64
        };
        landing(self.input_shape.h, self.output_shape.h, v.crop_top)
            * landing(self.input_shape.w, self.output_shape.w, v.crop_left)
            * self.input_shape.c as u64
            * self.output_shape.c as u64
    }

    /// Byte of the first weight that fills up and is not 0.
    fn wrong_filling(&self) -> Option<usize> {
        let (n_in, c_out) = match self.op {
            Op::Dense => (
                self.input_shape.len(),
                self.output_shape.w * self.output_shape.c,
            ),
            Op::ConvTranspose(_) => (self.input_shape.c, self.output_shape.c),
        };
        let is_wrong = |&at: &usize| self.weight(at) != 0;
        let place = match self.op {
            Op::Dense => {
                let blocks = (0..self.output_shape.h).flat_map(|_| 0..quads(c_out));
                let quads_in = quads(n_in);
                blocks.enumerate().find_map(|(block, quad)| {
                    let used = (c_out - 4 * quad, 4 * quads_in - n_in);
                    let first = match used {
                        // The last inputs' filling only.
                        (4.., filled) => quads_in - usize::from(filled > 0),
                        _ => 0,
                    };
                    let places = (first..quads_in).flat_map(|i| (0..16).map(move |at| (i, at)));
                    let filling =
                        places.filter(|(i, at)| at / 4 >= used.0 || 4 * i + at % 4 >= n_in);
                    let mut places = filling.map(|(i, at)| (block * quads_in + i) * 16 + at);
                    places.find(is_wrong)
                })
            }
            Op::ConvTranspose(window) => {
                let taps =
                    (0..window.kernel).flat_map(|ky| (0..window.kernel).map(move |kx| (ky, kx)));
                let filling = n_in..4 * quads(n_in);
                let outputs = taps.flat_map(|(ky, kx)| (0..c_out).map(move |o| (o, ky, kx)));
                let mut places = outputs.flat_map(|(o, ky, kx)| {
                    let place = move |c| layout::conv_index(window, (n_in, c_out), (o, ky, kx, c));
                    filling.clone().map(place)
                });
                places.find(is_wrong)
            }
        };
        place.map(|at| match self.weight_bits {
            WeightBits::Eight => at,
            WeightBits::Four => at / 16 * 8 + at % 8,
        })
    }

    /// The first correction that is not what the weights say.
    fn wrong_correction(&self) -> Option<usize> {
        let Op::ConvTranspose(window) = self.op else {
            return None;
        };
        let channels = (self.input_shape.c, self.output_shape.c);
        let zero_point = i32::from(self.input.zero_point);
        let places = (0..window.kernel).flat_map(|ky| {
            let phases = (0..window.stride).map(move |r| (ky, r));
            phases.flat_map(|(ky, r)| (0..channels.1).map(move |o| (ky, r, o)))
        });
        let stored = self.corrections.as_chunks::<4>().0.iter();
        stored.zip(places).position(|(&stored, place)| {
            let sum = layout::tap_sum(window, channels, place, self.weights);
            i32::from_le_bytes(stored) != sum.wrapping_mul(-zero_point)
        })
    }

    /// Checks every value that arithmetic relies on.
    pub(crate) fn check(&self, layer: usize) -> Result<(), ModelError> {
        // Scales as bits: even a comparison would pull in floating point.
        let [sum, output] = [self.sum, self.output].map(|q| (q.scale.to_bits(), q.zero_point));
        if !POSITIVE_FINITE.contains(&sum.0) || !POSITIVE_FINITE.contains(&output.0) {
            return Err(ModelError::Scale { layer });
        }
        match self.activation {
            Activation::Clamp { .. } if sum != output => {
                return Err(ModelError::OutputQuant { layer });
            }
            Activation::WideTable(_) if sum.1 != 0 => {
                return Err(ModelError::ZeroPoint {
                    layer,
                    found: sum.1,
                });
            }
            _ => {}
        }
        if scratch_words(self) > MAX_SCRATCH_WORDS {
            return Err(ModelError::ArenaSize { layer });
        }
        // A sum has at most this many products of at most 255 * 127, and stays below
        // 2^30, so that it can be doubled. Taps on the margins of a plane add what the
        // corrections take away; on the way the sum may wrap.
        let (input, output) = (self.input_shape, self.output_shape);
        let terms = match self.op {
            Op::Dense => input.len(),
            Op::ConvTranspose(v) => {
                let axes = [v.vertical(input, output), v.horizontal(input, output)];
                let [rows, columns] = axes.map(|axis| axis.most_landing());
                rows * columns * input.c
            }
        };
        let room = ((1usize << 30) - 1).checked_sub(terms.saturating_mul(255 * 127));
        for (channel, (bias, multiplier)) in self.channels(0).enumerate() {
            if room.is_none_or(|room| bias.unsigned_abs() as usize > room) {
                return Err(ModelError::Overflow { layer, channel });
            }
            if !multiplier.is_valid() {
                return Err(ModelError::Multiplier { layer, channel });
            }
        }
        let mut weights = self.weights.iter();
        let too_low = match self.weight_bits {
            WeightBits::Eight => weights.position(|&w| w == 0x80),
            WeightBits::Four => weights.position(|&w| w & 0xf == 8 || w >> 4 == 8),
        };
        if let Some(index) = too_low.or_else(|| self.wrong_filling()) {
            return Err(ModelError::Weight { layer, index });
        }
        match self.wrong_correction() {
            Some(index) => Err(ModelError::Correction { layer, index }),
            None => Ok(()),
        }
    }
}

/// A `.gan` file that has passed every check; drawing from it can only fail for want of
/// arena or a wrong input.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    header: Header<'a>,
    file_bytes: usize,
    layers: Vec<Layer<'a>, MAX_LAYERS>,
    critic: Option<Critic<'a>>,
    /// `[classes][n]`, `u32`
    seeds: &'a [[u8; 4]],
}

impl<'a> Model<'a> {
    /// Checks a whole file: lengths, checksum, shapes, sections, ranges, every byte that has
    /// to be zero, and that neither a sum nor the arena's size can overflow. It takes time in
    /// proportion to the file's length.
    ///
    /// The file may lie anywhere; Cortex-M4, M7 and M33 draw four times as fast from one at
    /// a multiple of four bytes (which a bare `include_bytes!` does not promise).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let (header, mut sections) = format::read_header(bytes)?;
        let mut layers: Vec<Layer<'a>, MAX_LAYERS> = Vec::new();
        let mut shape = Shape {
            h: 1,
            w: 1,
            c: header.latent_len + header.class_count,
        };
        let mut input = Quant {
            scale: LATENT_SCALE,
            zero_point: 0,
        };
        let found = header.layer_count;
        for i in 0..found {
            let layer = format::read_layer(&mut sections, format::record_at(i), i, input)?;
            if layer.input_shape != shape {
                return Err(ModelError::InputShape { layer: i });
            }
            layer.check(i)?;
            (shape, input) = (layer.output_shape, layer.output);
            layers
                .push(layer)
                .map_err(|_| ModelError::LayerCount { found })?;
        }
        let gate = format::gate_at(bytes);
        let critic = gate
            .critic
            .map(|at| format::read_critic(&mut sections, at, (shape, input), found));
        let critic = critic.transpose()?;
        let seeds = format::read_seeds(&mut sections, gate.seeds, header.class_count)?;
        sections.finish()?;
        Ok(Self {
            header,
            file_bytes: bytes.len(),
            layers,
            critic,
            seeds,
        })
    }

    /// The layers, first to last; at least one.
    pub fn layers(&self) -> &[Layer<'a>] {
        &self.layers
    }

    fn line(&self, number: usize) -> Option<&'a str> {
        // By bytes: the standard's search for a character has a panic in it.
        let mut lines = self.header.text.as_bytes().split(|&byte| byte == b'\n');
        core::str::from_utf8(lines.nth(number)?).ok()
    }

    /// The model's name.
    pub fn name(&self) -> &'a str {
        self.line(0).unwrap_or_default()
    }

    /// Name of the data it was trained on.
    pub fn dataset(&self) -> &'a str {
        self.line(1).unwrap_or_default()
    }

    /// Names of the classes, first to last. To walk them by [`label`](Self::label) would take
    /// time in proportion to the square of their number.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let lines = self.header.text.as_bytes().split(|&byte| byte == b'\n');
        let labels = lines.skip(2).take(self.class_count());
        labels.map(|label| core::str::from_utf8(label).unwrap_or_default())
    }

    /// Name of a class.
    pub fn label(&self, class: usize) -> Option<&'a str> {
        self.line(class.checked_add(2)?)
    }

    /// Classes, 0 for none.
    pub fn class_count(&self) -> usize {
        self.header.class_count
    }

    /// Values of the latent.
    pub fn latent_len(&self) -> usize {
        self.header.latent_len
    }

    /// Values of the input: the latent and the one-hot class.
    pub fn input_len(&self) -> usize {
        self.header.latent_len + self.header.class_count
    }

    /// Training steps behind the weights.
    pub fn steps(&self) -> u32 {
        self.header.steps
    }

    /// Seed of the training.
    pub fn seed(&self) -> u64 {
        self.header.seed
    }

    /// The judge of its pictures, if it has one.
    pub const fn critic(&self) -> Option<&Critic<'a>> {
        self.critic.as_ref()
    }

    /// Seeds whose pictures of `class` (0 in a model without classes) were found good, in
    /// rising order; none where nobody has vetted any.
    pub fn vetted_seeds(&self, class: usize) -> impl Iterator<Item = u64> + use<'a> {
        let each = self.vetted_count();
        let from = class.saturating_mul(each);
        let seeds = self.seeds.get(from..).and_then(|seeds| seeds.get(..each));
        let seeds = seeds.unwrap_or(&[]).iter();
        seeds.map(|&seed| u64::from(u32::from_le_bytes(seed)))
    }

    /// Vetted seeds of each class.
    pub fn vetted_count(&self) -> usize {
        let classes = self.class_count().max(1);
        self.seeds.len().checked_div(classes).unwrap_or(0)
    }

    /// Checksum of the file.
    pub fn crc32(&self) -> u32 {
        self.header.crc32
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// Height, width and channels of the pictures.
    pub fn output_shape(&self) -> Shape {
        let none = Shape { h: 0, w: 0, c: 0 };
        self.layers.last().map_or(none, |layer| layer.output_shape)
    }

    /// Exact size of the arena that drawing takes, a multiple of 4.
    pub fn required_bytes(&self, mode: Mode) -> usize {
        4 * self.required_words(mode)
    }

    /// What of [`required_bytes`](Self::required_bytes) is rows between layers: streamed,
    /// the least that can be held without computing a row twice. The rest is scratch.
    pub fn row_bytes(&self, mode: Mode) -> usize {
        Plan::new(self.layers(), mode).row_bytes
    }

    /// [`required_bytes`](Self::required_bytes) as the words that
    /// [`run`](Self::run) takes.
    pub fn required_words(&self, mode: Mode) -> usize {
        // The critic looks when the picture is done.
        let critic = self.critic.map_or(0, |critic| critic.words());
        Plan::new(self.layers(), mode).words().max(critic)
    }

    /// Fills the input for `seed` and `class`: the latent, then the one-hot class.
    ///
    /// *Errors*: `input` not of [`input_len`](Self::input_len) values; a class that does
    /// not exist, or none where the model has classes.
    pub fn fill_input(
        &self,
        seed: u64,
        class: Option<usize>,
        input: &mut [i8],
    ) -> Result<(), InferError> {
        let (need, have) = (self.input_len(), input.len());
        let class_count = self.class_count();
        if need != have {
            return Err(InferError::InputLength { need, have });
        }
        if class.map_or(class_count > 0, |class| class >= class_count) {
            let asked = class;
            return Err(InferError::Class { asked, class_count });
        }
        let parts = input.split_at_mut_checked(self.latent_len());
        let (latent, one_hot) = parts.unwrap_or_default();
        fill_latent(seed, latent);
        for (i, value) in one_hot.iter_mut().enumerate() {
            *value = if Some(i) == class { ONE_HOT } else { 0 };
        }
        Ok(())
    }
}
