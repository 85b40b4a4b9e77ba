//! Activations: values, gradients, int8 form, and names in a configuration and in other runtimes.
//!
//! To add one, add a variant to [`Activation`] and an arm to each `match` below. A `.gan` file
//! names it by [`Function`].

use std::fmt;

use dfdx::prelude::{Device, Tape, TryPReLU};
use gan_core::{Function, Quant};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Float, Mat};

/// The function that follows a layer's sum. Its derivative is a function of its output, so that
/// training keeps no inputs.
///
/// A configuration holds its name, or `{ leaky_relu = 0.01 }` for a slope other than
/// [`LEAKY_SLOPE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x` where positive, `slope * x` elsewhere; the slope is at least 0 and below 1
    LeakyRelu(f64),
    /// hyperbolic tangent
    Tanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
}

/// Runs a loop over `$act` in one copy for each activation: a choice within the loop would
/// keep it from the processor's vectors.
macro_rules! by_activation {
    ($act:ident, $body:expr) => {
        match $act {
            Activation::Linear => {
                let $act = Activation::Linear;
                $body
            }
            Activation::Relu => {
                let $act = Activation::Relu;
                $body
            }
            Activation::LeakyRelu(slope) => {
                let $act = Activation::LeakyRelu(slope);
                $body
            }
            Activation::Tanh => {
                let $act = Activation::Tanh;
                $body
            }
            Activation::Sigmoid => {
                let $act = Activation::Sigmoid;
                $body
            }
        }
    };
}

/// Slope of [`Activation::LeakyRelu`] below zero where none is given (Radford et al. 2016).
pub const LEAKY_SLOPE: f64 = 0.2;
pub(super) use by_activation;

/// An operator of TensorFlow Lite: its number in `BuiltinOperator`, and its version for int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TfliteOperator {
    /// Its code in `schema.fbs`.
    pub code: i32,
    /// The oldest one that has what is used here.
    pub version: i32,
}

/// TensorFlow Lite's form of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TfliteActivation {
    /// Part of the operator before it: nothing, or a clamp.
    Fused,
    /// An operator of its own.
    Operator(TfliteOperator),
}

/// The input from which tanh rounds to 127 / 128, the largest int8 output.
const TANH_REACH: f32 = 2.567;
/// The input beyond which tanh changes no int8 output through a 16-bit table, with room.
const TANH_REACH_16_BITS: f32 = 3.5;

impl Activation {
    /// Its name in a configuration, and in an exported PyTorch model.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// ONNX's operator.
    pub const fn onnx(self) -> &'static str {
        match self {
            Self::Linear => "Identity",
            Self::Relu => "Relu",
            Self::LeakyRelu(_) => "LeakyRelu",
            Self::Tanh => "Tanh",
            Self::Sigmoid => "Sigmoid",
        }
    }

    /// How TensorFlow Lite computes it in int8.
    pub fn tflite(self) -> TfliteActivation {
        let operator = |code, version| TfliteActivation::Operator(TfliteOperator { code, version });
        match self {
            Self::Linear | Self::Relu => TfliteActivation::Fused,
            Self::LeakyRelu(_) => operator(98, 2),
            Self::Tanh => operator(28, 2),
            Self::Sigmoid => operator(14, 2),
        }
    }

    /// The slope below zero of a leaky ReLU, the only activation with a parameter.
    pub const fn negative_slope(self) -> Option<f64> {
        match self {
            Self::LeakyRelu(slope) => Some(slope),
            _ => None,
        }
    }

    /// The function's value at `x`.
    #[inline(always)]
    pub fn apply<E: Float>(self, x: E) -> E {
        match self {
            Self::Linear => x,
            // Not `max`, which would hide a NaN.
            Self::Relu => {
                if x < E::zero() {
                    E::zero()
                } else {
                    x
                }
            }
            Self::LeakyRelu(slope) => x.max(x * E::of(slope)),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => (E::one() + (-x).exp()).recip(),
        }
    }

    /// The derivative where the function's value is `y`.
    #[inline(always)]
    pub fn slope_of_output<E: Float>(self, y: E) -> E {
        let step = |below: E| if y > E::zero() { E::one() } else { below };
        match self {
            Self::Linear => E::one(),
            Self::Relu => step(E::zero()),
            Self::LeakyRelu(slope) => step(E::of(slope)),
            Self::Tanh => E::one() - y * y,
            Self::Sigmoid => y * (E::one() - y),
        }
    }

    /// The derivative at `x`.
    pub fn slope<E: Float>(self, x: E) -> E {
        self.slope_of_output(self.apply(x))
    }

    /// The function in dfdx's own ops.
    pub fn on_tape<E: Float, D: Device<E>, T: Tape<E, D>>(
        self,
        x: Mat<E, D, T>,
    ) -> Result<Mat<E, D, T>, D::Err> {
        match self {
            Self::Linear => Ok(x),
            Self::Relu => x.try_relu(),
            Self::LeakyRelu(slope) => x.try_prelu(E::of(slope)),
            Self::Tanh => x.try_tanh(),
            Self::Sigmoid => x.try_sigmoid(),
        }
    }

    /// Its name in a `.gan` file. A slope is rounded to 24 bits, and stays below 1.
    pub fn to_gan(self) -> Function {
        match self {
            Self::Linear => Function::Linear,
            Self::Relu => Function::Relu,
            Self::LeakyRelu(slope) => Function::LeakyRelu {
                slope: (slope as f32).min(1f32.next_down()),
            },
            Self::Tanh => Function::Tanh,
            Self::Sigmoid => Function::Sigmoid,
        }
    }

    /// The activation that a `.gan` file names, if it does.
    pub fn from_gan(function: Function) -> Option<Self> {
        Some(match function {
            Function::Unnamed => return None,
            Function::Linear => Self::Linear,
            Function::Relu => Self::Relu,
            Function::LeakyRelu { slope } => Self::LeakyRelu(slope.into()),
            Function::Tanh => Self::Tanh,
            Function::Sigmoid => Self::Sigmoid,
        })
    }

    /// The int8 output of a function whose range is known; `None` where it is to be measured.
    pub const fn output_quant(self) -> Option<Quant> {
        let (scale, zero_point) = match self {
            Self::Tanh => (1.0 / 128.0, 0),
            Self::Sigmoid => (1.0 / 256.0, -128),
            Self::Linear | Self::Relu | Self::LeakyRelu(_) => return None,
        };
        Some(Quant { scale, zero_point })
    }

    /// The largest input of a 16-bit table that changes the output; `None` without a limit.
    pub fn reach_16_bits(self) -> Option<f32> {
        match self {
            Self::Tanh => Some(TANH_REACH_16_BITS),
            // (tanh(x / 2) + 1) / 2
            Self::Sigmoid => Some(2.0 * TANH_REACH_16_BITS),
            Self::Linear | Self::Relu | Self::LeakyRelu(_) => None,
        }
    }

    /// The same for an 8-bit table in the place of a 16-bit one.
    pub fn reach_8_bits(self) -> Option<f32> {
        match self {
            Self::Tanh => Some(TANH_REACH),
            Self::Sigmoid | Self::Linear | Self::Relu | Self::LeakyRelu(_) => None,
        }
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::LeakyRelu(slope) if slope != LEAKY_SLOPE => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(self.name(), &slope)?;
                map.end()
            }
            _ => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ActivationVisitor)
    }
}

struct ActivationVisitor;

/// Names of activations, for serde's errors.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Linear,
    Relu,
    LeakyRelu,
    Tanh,
    Sigmoid,
}

/// The activation that has a number.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    LeakyRelu,
}

impl<'de> Visitor<'de> for ActivationVisitor {
    type Value = Activation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an activation, or { leaky_relu = 0.01 }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Activation, E> {
        Ok(match Name::deserialize(name.into_deserializer())? {
            Name::Linear => Activation::Linear,
            Name::Relu => Activation::Relu,
            Name::LeakyRelu => Activation::LeakyRelu(LEAKY_SLOPE),
            Name::Tanh => Activation::Tanh,
            Name::Sigmoid => Activation::Sigmoid,
        })
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Activation, M::Error> {
        let entry = map.next_entry::<Key, f64>()?;
        let Some((Key::LeakyRelu, slope)) = entry else {
            return Err(de::Error::invalid_length(0, &self));
        };
        if map.next_key::<Key>()?.is_some() {
            return Err(de::Error::invalid_length(2, &self));
        }
        if !(0.0..1.0).contains(&slope) {
            return Err(de::Error::custom(format!(
                "leaky_relu is {slope}, use a slope from 0 to below 1"
            )));
        }
        Ok(Activation::LeakyRelu(slope))
    }
}
