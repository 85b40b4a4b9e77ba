//! Images from a generator, float or int8.

use gan_core::choose::Memory;
use gan_core::latent::fill_latent;
use gan_core::{Critic, InferError, Mode, Model};
use rayon::prelude::*;

use crate::data::Images;
use crate::generator::{FloatGenerator, grey_level, input_row};

/// The seed and the class that determine an image of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleKey {
    /// Seed of the latent.
    pub seed: u64,
    /// The class; none in a model without classes.
    pub class: Option<usize>,
}

/// Which images: seeds from `seed` on, of one class or of all in turn.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The number of images.
    pub count: usize,
    /// Seed of the first image; each further one has the next.
    pub seed: u64,
    /// The class; where there is none, the classes take turns.
    pub class: Option<usize>,
}

impl Order {
    /// The key of image `i` of a model with `classes` classes.
    pub fn at(&self, i: usize, classes: usize) -> SampleKey {
        SampleKey {
            seed: self.seed.wrapping_add(i as u64),
            class: (classes > 0).then(|| self.class.unwrap_or(i % classes)),
        }
    }

    /// The keys of all images of a model with `classes` classes.
    pub fn each(&self, classes: usize) -> Vec<SampleKey> {
        (0..self.count).map(|i| self.at(i, classes)).collect()
    }
}

/// The float input of the images of these keys. *Shape*: `[n, latent + classes]`.
pub fn float_input(generator: &FloatGenerator, keys: &[SampleKey]) -> Vec<f32> {
    let classes = generator.config.data.class_names.len();
    let mut latent = vec![0; generator.config.generator.latent];
    let mut input = Vec::new();
    for &SampleKey { seed, class } in keys {
        fill_latent(seed, &mut latent);
        input.extend(input_row(&latent, class, classes));
    }
    input
}

/// Images drawn at once in floats; bounds the memory.
const FLOAT_BATCH: usize = 64;

/// Draws with floats.
pub fn float(generator: &FloatGenerator, order: &Order) -> Images {
    let classes = generator.config.data.class_names.len();
    float_of(generator, &order.each(classes))
}

/// Draws the images of these keys with floats.
pub fn float_of(generator: &FloatGenerator, keys: &[SampleKey]) -> Images {
    let image = generator.image();
    Images {
        height: image.height,
        width: image.width,
        channels: image.channels,
        pixels: float_values(generator, keys, grey_level),
        labels: labels(keys),
    }
}

fn labels(keys: &[SampleKey]) -> Vec<u8> {
    let classes = keys.iter().filter_map(|key| key.class);
    classes.map(|class| class as u8).collect()
}

/// Images of the float generator, each value through `map`. *Shape*: `[n, h, w, c]`.
pub fn float_values<T>(
    generator: &FloatGenerator,
    keys: &[SampleKey],
    map: impl Fn(f32) -> T,
) -> Vec<T> {
    let batches = keys.chunks(FLOAT_BATCH);
    let drawn = batches.flat_map(|batch| generator.draw(&float_input(generator, batch)));
    drawn.map(map).collect()
}

/// Draws with the runtime of the device, one image per thread at a time.
pub fn int8(model: &Model<'_>, order: &Order) -> Result<Images, InferError> {
    int8_of(model, &order.each(model.class_count()))
}

/// Seeds, from `order`'s on, of what a device shows when it interpolates between latents: the
/// vetted ones in a model that has some, each chosen out of up to `candidates` by a critic that
/// it has. Fewer than asked for where the vetted ones begin anew, for the same images would come
/// again.
pub fn shown(
    model: &Model<'_>,
    order: &Order,
    candidates: u32,
) -> Result<Vec<SampleKey>, InferError> {
    let mut memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
    };
    let mut from = order.seed;
    let mut shown = Vec::new();
    for i in 0..order.count {
        let SampleKey { class, .. } = order.at(i, model.class_count());
        let choice = model.choose_seed(class, from, candidates, &mut memory, || ())?;
        if choice.seed < from {
            break;
        }
        from = choice.seed.wrapping_add(1);
        shown.push(SampleKey {
            seed: choice.seed,
            class,
        });
    }
    Ok(shown)
}

/// Draws the images of these keys with the runtime of the device.
pub fn int8_of(model: &Model<'_>, keys: &[SampleKey]) -> Result<Images, InferError> {
    let shape = model.output_shape();
    Ok(Images {
        height: shape.h,
        width: shape.w,
        channels: shape.c,
        pixels: int8_values(model, keys, gan_core::image::grey_level)?,
        labels: labels(keys),
    })
}

/// Images of the int8 runtime, each value through `map`. *Shape*: `[n, h, w, c]`.
pub fn int8_values<T: Copy + Default + Send>(
    model: &Model<'_>,
    keys: &[SampleKey],
    map: impl Fn(i8) -> T + Sync,
) -> Result<Vec<T>, InferError> {
    let len = model.output_shape().len();
    let mut values = vec![T::default(); keys.len() * len];
    let pictures = values.par_chunks_exact_mut(len).enumerate();
    pictures.try_for_each_init(
        || {
            let arena = vec![0; model.required_words(Mode::Streamed)];
            (vec![0; model.input_len()], arena)
        },
        |(input, arena), (i, picture)| {
            let SampleKey { seed, class } = keys[i];
            model.fill_input(seed, class, input)?;
            model.run(input, arena, |row, values| {
                let row = picture.chunks_exact_mut(values.len()).nth(row);
                let row = row.into_iter().flatten().zip(values);
                row.for_each(|(value, &q)| *value = map(q));
            })
        },
    )?;
    Ok(values)
}
