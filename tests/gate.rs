//! What keeps risky images off a display: vetted seeds and the critic, in files that tell
//! the truth and in malformed ones.

use gan_core::choose::Memory;
use gan_core::encode::{
    CriticSpec, LayerSpec, ModelSpec, encode, encode_critic, encode_seeds, encoded_bytes,
};
use gan_core::error::{CriticError, FileError, LayerError, SeedsError};
use gan_core::latent::Pcg32;
use gan_core::{
    Activation, Critic, Function, Mode, Model, ModelError, Multiplier, Op, Quant, Shape, WeightBits,
};
use proptest::prelude::*;

use crate::format::{file, fix_crc};

const CLAMP: Activation<'static> = Activation::Clamp {
    min: -128,
    max: 127,
};

fn flat(c: usize) -> Shape {
    Shape { h: 1, w: 1, c }
}

/// A dense layer with random weights.
struct Dense {
    sizes: [usize; 2],
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<Multiplier>,
    zero_point: i8,
}

impl Dense {
    fn random(rng: &mut Pcg32, n_in: usize, n_out: usize) -> Self {
        let mut value = |below: u32| (rng.next_u32() % below) as i32;
        let multiplier = Multiplier {
            mantissa: (1 << 30) + 12_345,
            shift: -5,
        };
        Self {
            sizes: [n_in, n_out],
            weights: (0..n_in * n_out)
                .map(|_| (value(255) - 127) as i8)
                .collect(),
            bias: (0..n_out).map(|_| value(4001) - 2000).collect(),
            multipliers: vec![multiplier; n_out],
            zero_point: (value(21) - 10) as i8,
        }
    }

    fn spec(&self) -> LayerSpec<'_> {
        let quant = Quant {
            scale: 0.25,
            zero_point: self.zero_point,
        };
        LayerSpec {
            op: Op::Dense,
            input_shape: flat(self.sizes[0]),
            output_shape: flat(self.sizes[1]),
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            pre_activation: quant,
            output: quant,
            function: Function::Unnamed,
            weight_bits: WeightBits::Eight,
            activation: CLAMP,
        }
    }
}

/// A generator without classes that is one dense layer.
fn generator(rng: &mut Pcg32, picture: Shape) -> Vec<u8> {
    let dense = Dense::random(rng, 6, picture.len());
    let mut layer = dense.spec();
    layer.output_shape = picture;
    let quant = Quant {
        scale: 1.0 / 128.0,
        zero_point: 0,
    };
    (layer.pre_activation, layer.output) = (quant, quant);
    model_of(&[layer], 6)
}

fn model_of(layers: &[LayerSpec<'_>], latent_len: u16) -> Vec<u8> {
    let spec = ModelSpec {
        name: "m",
        dataset: "d",
        labels: &[],
        latent_len,
        steps: 0,
        seed: 0,
        layers,
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes).unwrap();
    bytes
}

fn with_critic(file: &[u8], spec: &CriticSpec<'_>) -> Result<Vec<u8>, ModelError> {
    let mut out = vec![0xAA; file.len() + 100_000];
    let len = encode_critic(file, spec, &mut out)?;
    out.truncate(len);
    Ok(out)
}

fn with_seeds(file: &[u8], seeds: &[u32]) -> Result<Vec<u8>, ModelError> {
    let mut out = vec![0xAA; file.len() + 4 * seeds.len() + 64];
    let len = encode_seeds(file, seeds, &mut out)?;
    out.truncate(len);
    Ok(out)
}

/// The image of a seed, `[h, w, c]`.
fn picture(model: &Model<'_>, class: Option<usize>, seed: u64) -> Vec<i8> {
    let mut input = vec![0; model.input_len()];
    model.fill_input(seed, class, &mut input).unwrap();
    let mut arena = vec![0; model.required_words(Mode::Streamed)];
    let mut picture = Vec::new();
    let take = |_, row: &[i8]| picture.extend_from_slice(row);
    model.run(&input, &mut arena, take).unwrap();
    picture
}

/// What a critic sees of an image, pixel by pixel.
fn seen(picture: &[i8], shape: Shape, halved: bool) -> Vec<i8> {
    if !halved {
        return picture.to_vec();
    }
    let at = |y: usize, x: usize, c: usize| f64::from(picture[(y * shape.w + x) * shape.c + c]);
    let up = |a: f64, b: f64| ((a + b) / 2.0).ceil();
    let mut seen = Vec::new();
    for (y, x) in (0..shape.h / 2).flat_map(|y| (0..shape.w / 2).map(move |x| (2 * y, 2 * x))) {
        for c in 0..shape.c {
            let rows = [y, y + 1].map(|y| up(at(y, x, c), at(y, x + 1, c)));
            seen.push(up(rows[0], rows[1]) as i8);
        }
    }
    seen
}

/// Everything that choosing takes.
fn choose(
    model: &Model<'_>,
    class: Option<usize>,
    from: u64,
    candidates: u32,
) -> (u64, Option<i8>) {
    let mut memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
    };
    let choice = model.choose_seed(class, from, candidates, &mut memory, || ());
    let choice = choice.unwrap();
    (choice.seed, choice.score)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Against the critic's layers as a model of their own, whose latent is the image.
    #[test]
    fn the_first_candidate_that_passes_is_chosen_or_the_best(
        seed in any::<u64>(), h in 1usize..8, w in 1usize..8, is_rgb: bool, halved: bool,
        hidden in 1usize..20, passing in any::<i8>(), from in 0u64..1000, candidates in 1u32..6,
    ) {
        let mut rng = Pcg32::new(seed);
        let shape = Shape { h: h + 1, w: w + 1, c: if is_rgb { 3 } else { 1 } };
        let side = 1 + usize::from(halved);
        let n_in = shape.h / side * (shape.w / side) * shape.c;
        let layers = [Dense::random(&mut rng, n_in, hidden), Dense::random(&mut rng, hidden, 1)];
        let spec = CriticSpec { halved, passing, layers: [layers[0].spec(), layers[1].spec()] };
        let plain = generator(&mut rng, shape);
        let bytes = with_critic(&plain, &spec).unwrap();
        let model = Model::parse(&bytes).unwrap();
        prop_assert_eq!(model.critic().unwrap().passing(), passing);

        let alone = model_of(&spec.layers, n_in as u16);
        let alone = Model::parse(&alone).unwrap();
        let mut arena = vec![0; alone.required_words(Mode::Streamed)];
        let mut score = |seed: u64| {
            let seen = seen(&picture(&Model::parse(&plain).unwrap(), None, seed), shape, halved);
            let mut score = 0;
            alone.run(&seen, &mut arena, |_, values| score = values[0]).unwrap();
            score
        };
        let looked: Vec<(u64, i8)> =
            (from..from + u64::from(candidates)).map(|seed| (seed, score(seed))).collect();
        let passes = looked.iter().position(|(_, score)| *score >= passing);
        let looked = &looked[..passes.map_or(looked.len(), |at| at + 1)];
        // The first of the best.
        let best = looked.iter().rev().max_by_key(|(_, score)| *score).unwrap();
        prop_assert_eq!(choose(&model, None, from, candidates), (best.0, Some(best.1)));
        // Nobody looks.
        prop_assert_eq!(choose(&model, None, from, 0), (from, None));
        // And the images are the same as without a critic.
        prop_assert_eq!(picture(&model, None, from), picture(&Model::parse(&plain).unwrap(), None, from));
    }
}

#[test]
fn vetted_seeds_are_shown_in_turn_and_no_others() {
    // Two classes.
    let bytes = with_seeds(file(), &[3, 9, 70, 5, 6, 4_000_000_000]).unwrap();
    let model = Model::parse(&bytes).unwrap();
    assert_eq!(model.vetted_count(), 3);
    assert_eq!(model.vetted_seeds(0).collect::<Vec<_>>(), [3, 9, 70]);
    assert_eq!(
        model.vetted_seeds(1).collect::<Vec<_>>(),
        [5, 6, 4_000_000_000]
    );
    assert_eq!(model.vetted_seeds(2).count(), 0);
    assert_eq!(model.vetted_seeds(usize::MAX).count(), 0);
    let next = |class, from| model.next_seed(Some(class), from);
    assert_eq!(
        [next(0, 0), next(0, 3), next(0, 4), next(0, 71)],
        [3, 3, 9, 3]
    );
    assert_eq!([next(1, 7), next(1, u64::MAX)], [4_000_000_000, 5]);
    assert_eq!(choose(&model, Some(0), 4, 4), (9, None));
    // As before without them.
    assert_eq!(with_seeds(&bytes, &[]).unwrap()[..40], file()[..40]);
    let none = with_seeds(&bytes, &[]).unwrap();
    let none = Model::parse(&none).unwrap();
    assert_eq!((none.vetted_count(), none.next_seed(Some(0), 4)), (0, 4));
}

#[test]
fn seeds_and_critics_can_be_replaced() {
    let mut rng = Pcg32::new(4);
    let seen = [16, 4].map(|n| Dense::random(&mut rng, n, 3));
    let last = Dense::random(&mut rng, 3, 1);
    let critic = |halved: bool, passing| CriticSpec {
        halved,
        passing,
        layers: [seen[usize::from(halved)].spec(), last.spec()],
    };
    let first = with_critic(file(), &critic(false, 1)).unwrap();
    let vetted = with_seeds(&first, &[1, 2]).unwrap();
    let model = Model::parse(&vetted).unwrap();
    assert_eq!(
        model.critic().map(|c| (c.passing(), c.is_halved())),
        Some((1, false))
    );
    assert_eq!(model.vetted_count(), 1);
    assert_eq!(with_seeds(&vetted, &[]).unwrap(), {
        // Only the alignment of what was behind stays.
        let mut padded = first.clone();
        padded.resize(with_seeds(&vetted, &[]).unwrap().len(), 0);
        let len = padded.len() as u32;
        padded[8..12].copy_from_slice(&len.to_le_bytes());
        fix_crc(&mut padded);
        padded
    });
    let second = with_critic(&vetted, &critic(true, -2)).unwrap();
    let model = Model::parse(&second).unwrap();
    assert_eq!(
        model.critic().map(|c| (c.passing(), c.is_halved())),
        Some((-2, true))
    );
    assert_eq!(model.vetted_count(), 0, "another critic, other seeds");
    // One that does not fit the images, seeds that do not fit the classes, no room.
    let wrong = CriticSpec {
        halved: true,
        ..critic(false, 0)
    };
    assert_eq!(
        with_critic(file(), &wrong),
        Err(ModelError::Critic(CriticError::Layer {
            index: 0,
            error: LayerError::InputShape
        }))
    );
    let (found, class_count) = (3, 2);
    let error = Err(SeedsError::Count { found, class_count }.into());
    assert_eq!(with_seeds(file(), &[1, 2, 3]), error);
    let need_bytes = first.len();
    assert_eq!(
        encode_critic(file(), &critic(false, 1), &mut []),
        Err(ModelError::File(FileError::BufferTooSmall {
            need_bytes,
            have_bytes: 0
        }))
    );
}

#[test]
fn a_lie_about_the_gate_does_not_panic() {
    let mut rng = Pcg32::new(9);
    let layers = [Dense::random(&mut rng, 4, 3), Dense::random(&mut rng, 3, 1)];
    let critic = CriticSpec {
        halved: true,
        passing: 0,
        layers: [layers[0].spec(), layers[1].spec()],
    };
    let bytes = with_critic(file(), &critic).unwrap();
    let bytes = with_seeds(&bytes, &[8, 9]).unwrap();
    let fields = (40..48).chain(file().len()..bytes.len());
    let mut refused = 0;
    for at in fields {
        for value in 0..=255 {
            let mut lie = bytes.clone();
            lie[at] = value;
            fix_crc(&mut lie);
            match Model::parse(&lie) {
                Ok(model) => drop(choose(&model, Some(1), 0, 2)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1000, "{refused}");
    for len in 0..bytes.len() {
        assert!(Model::parse(&bytes[..len]).is_err());
    }
}
