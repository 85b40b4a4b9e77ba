//! Pictures from a generator, float or int8.

use std::ops::Range;

use gan_core::gate::Memory;
use gan_core::latent::fill_latent;
use gan_core::{Critic, InferError, Mode, Model};
use rayon::prelude::*;

use crate::data::Images;
use crate::generator::{FloatGenerator, grey_level, input_row};

/// Which pictures: seeds from `seed` on, of one class or of all in turn.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Pictures.
    pub count: usize,
    /// Of the first; each further one has the next.
    pub seed: u64,
    /// None: the classes take turns.
    pub class: Option<usize>,
}

impl Order {
    /// Seed and class of picture `i` of a model with `classes` classes.
    pub fn at(&self, i: usize, classes: usize) -> (u64, Option<usize>) {
        let turn = (classes > 0).then(|| self.class.unwrap_or(i % classes));
        (self.seed.wrapping_add(i as u64), turn)
    }

    fn labels(&self, classes: usize) -> Vec<u8> {
        let labels = (0..self.count).filter_map(|i| self.at(i, classes).1);
        labels.map(|class| class as u8).collect()
    }
}

/// The float input of some of an order's pictures. *Shape*: `[n, latent + classes]`.
pub fn float_input(generator: &FloatGenerator, order: &Order, pictures: Range<usize>) -> Vec<f32> {
    let classes = generator.config.data.class_names.len();
    let mut latent = vec![0; generator.config.generator.latent];
    let mut input = Vec::new();
    for i in pictures {
        let (seed, class) = order.at(i, classes);
        fill_latent(seed, &mut latent);
        input.extend(input_row(&latent, class, classes));
    }
    input
}

/// Pictures drawn at once in floats; bounds the memory.
const FLOAT_BATCH: usize = 64;

/// Draws with floats.
pub fn float(generator: &FloatGenerator, order: &Order) -> Images {
    let classes = generator.config.data.class_names.len();
    let image = generator.image();
    Images {
        height: image.height,
        width: image.width,
        channels: image.channels,
        pixels: float_values(generator, order, grey_level),
        labels: order.labels(classes),
    }
}

/// What the float generator draws, each value through `map`. *Shape*: `[n, h, w, c]`.
pub fn float_values<T>(
    generator: &FloatGenerator,
    order: &Order,
    map: impl Fn(f32) -> T,
) -> Vec<T> {
    let mut values = Vec::new();
    for start in (0..order.count).step_by(FLOAT_BATCH) {
        let end = (start + FLOAT_BATCH).min(order.count);
        let input = float_input(generator, order, start..end);
        values.extend(generator.draw(&input).into_iter().map(&map));
    }
    values
}

/// Draws several orders with floats, one after the other.
pub fn float_all(generator: &FloatGenerator, orders: &[Order]) -> Images {
    let drawn = orders.iter().map(|order| float(generator, order));
    let drawn = drawn.reduce(|mut all, images| {
        all.append(&images);
        all
    });
    drawn.unwrap_or_default()
}

/// Draws with the runtime of the device, one picture per thread at a time.
pub fn int8(model: &Model<'_>, order: &Order) -> Result<Images, InferError> {
    int8_of(model, &each(model, order))
}

/// Seed and class of each of an order's pictures.
pub fn each(model: &Model<'_>, order: &Order) -> Vec<(u64, Option<usize>)> {
    let pictures = 0..order.count;
    pictures.map(|i| order.at(i, model.class_count())).collect()
}

/// Seeds, from `order`'s on, of what a device shows when it walks: the vetted ones in a model
/// that has some, each chosen out of up to `candidates` by a critic that it has.
pub fn shown(
    model: &Model<'_>,
    order: &Order,
    candidates: u32,
) -> Result<Vec<(u64, Option<usize>)>, InferError> {
    let mut memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
    };
    let mut from = order.seed;
    let next = |i| {
        let (_, class) = order.at(i, model.class_count());
        let choice = model.choose_seed(class, from, candidates, &mut memory, || ())?;
        from = choice.seed.wrapping_add(1);
        Ok((choice.seed, class))
    };
    (0..order.count).map(next).collect()
}

/// Draws pictures of these seeds and classes with the runtime of the device.
pub fn int8_of(model: &Model<'_>, each: &[(u64, Option<usize>)]) -> Result<Images, InferError> {
    let shape = model.output_shape();
    Ok(Images {
        height: shape.h,
        width: shape.w,
        channels: shape.c,
        pixels: int8_values(model, each, gan_core::image::grey_level)?,
        labels: each.iter().filter_map(|e| Some(e.1? as u8)).collect(),
    })
}

/// What the runtime of the device draws, each value through `map`. *Shape*: `[n, h, w, c]`.
pub fn int8_values<T: Copy + Default + Send>(
    model: &Model<'_>,
    each: &[(u64, Option<usize>)],
    map: impl Fn(i8) -> T + Sync,
) -> Result<Vec<T>, InferError> {
    let len = model.output_shape().len();
    let mut values = vec![T::default(); each.len() * len];
    let pictures = values.par_chunks_exact_mut(len).enumerate();
    pictures.try_for_each_init(
        || {
            let arena = vec![0; model.required_words(Mode::Streamed)];
            (vec![0; model.input_len()], arena)
        },
        |(input, arena), (i, picture)| {
            let (seed, class) = each[i];
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
