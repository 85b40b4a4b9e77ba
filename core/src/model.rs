//! A model that has passed every check.

use heapless::Vec;

use crate::critic::Critic;
use crate::error::{CriticError, FileError, InferError, LayerError, ModelError};
use crate::format::{self, Header, Sections};
use crate::latent::{LATENT_SCALE, ONE_HOT, fill_latent};
use crate::layer::Layer;
use crate::plan::{Mode, Plan};
use crate::slice::part_at;
use crate::types::{MAX_LAYERS, Quant, Shape};

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
        for index in 0..found {
            let at = format::entry_at(index);
            let layer = parse_layer(&mut sections, at, shape, input);
            let layer = layer.map_err(|error| ModelError::Layer { index, error })?;
            (shape, input) = (layer.output_shape, layer.output);
            layers
                .push(layer)
                .map_err(|_| FileError::LayerCount { found })?;
        }
        let gate = format::gate_at(bytes);
        let critic = match gate.critic {
            Some(at) => Some(parse_critic(&mut sections, at, shape, input)?),
            None => None,
        };
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

    /// Names of the classes, first to last. To look each up by [`label`](Self::label) would take
    /// time in proportion to the square of their number.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let lines = self.header.text.as_bytes().split(|&byte| byte == b'\n');
        let labels = lines.skip(2).take(self.class_count());
        labels.map(|label| core::str::from_utf8(label).unwrap_or_default())
    }

    /// The class that a user asked for; see [`find_class`].
    pub fn find_class(&self, asked: &str) -> Option<usize> {
        find_class(self.labels(), asked)
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

    /// The judge of its images, if it has one.
    pub const fn critic(&self) -> Option<&Critic<'a>> {
        self.critic.as_ref()
    }

    /// Seeds whose images of `class` (0 in a model without classes) were found good, in
    /// rising order; none where nobody has vetted any.
    pub fn vetted_seeds(&self, class: usize) -> impl Iterator<Item = u64> + use<'a> {
        let each = self.vetted_count();
        let from = class.saturating_mul(each);
        let seeds = part_at(self.seeds, from, each).iter();
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

    /// Height, width and channels of the images.
    pub fn output_shape(&self) -> Shape {
        let none = Shape { h: 0, w: 0, c: 0 };
        self.layers.last().map_or(none, |layer| layer.output_shape)
    }

    /// Exact size of the arena that drawing takes, a multiple of 4.
    pub fn required_bytes(&self, mode: Mode) -> usize {
        4 * self.required_words(mode)
    }

    /// The part of [`required_bytes`](Self::required_bytes) that is rows between layers; streamed,
    /// the least that can be held without computing a row twice. The rest is scratch.
    pub fn row_bytes(&self, mode: Mode) -> usize {
        Plan::new(self.layers(), mode).row_bytes
    }

    /// [`required_bytes`](Self::required_bytes) as the words that
    /// [`run`](Self::run) takes.
    pub fn required_words(&self, mode: Mode) -> usize {
        // The critic runs when the image is done.
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

/// Reads and checks the layer whose entry is at `at` and which reads a map of this shape, whose
/// values mean `input`.
fn parse_layer<'a>(
    sections: &mut Sections<'a>,
    at: usize,
    shape: Shape,
    input: Quant,
) -> Result<Layer<'a>, LayerError> {
    let layer = format::read_layer(sections, at, input)?;
    if layer.input_shape != shape {
        return Err(LayerError::InputShape);
    }
    layer.check()?;
    Ok(layer)
}

/// Reads and checks the critic at `at` of images whose values mean `input`.
fn parse_critic<'a>(
    sections: &mut Sections<'a>,
    at: usize,
    picture: Shape,
    input: Quant,
) -> Result<Critic<'a>, CriticError> {
    let head = format::read_critic_head(sections, at)?;
    let mut read = |index, input| {
        let layer = format::read_critic_layer(sections, at, index, input);
        let checked = layer.and_then(|layer| layer.check().map(|()| layer));
        checked.map_err(|error| CriticError::Layer { index, error })
    };
    let first = read(0, input)?;
    let layers = [first, read(1, first.output)?];
    Critic::new(picture, head.halved, head.passing, layers)
}

/// The class that `asked` names among `labels`: by its exact name, else by its name in any case
/// of ASCII letters, else by its number from 0 on.
pub fn find_class<'a>(
    mut labels: impl Iterator<Item = &'a str> + Clone,
    asked: &str,
) -> Option<usize> {
    let class_count = labels.clone().count();
    let exact = labels.clone().position(|label| label == asked);
    let by_name = exact.or_else(|| labels.position(|label| label.eq_ignore_ascii_case(asked)));
    by_name.or_else(|| asked.parse().ok().filter(|&class| class < class_count))
}

#[cfg(test)]
mod tests {
    use super::Model;
    use crate::error::InferError;
    use crate::plan::Mode;
    use crate::types::Shape;

    const RICH: &[u8] = include_bytes!("../fuzz/seeds/rich.gan");
    const PLAIN: &[u8] = include_bytes!("../fuzz/seeds/plain.gan");

    #[test]
    fn a_file_says_what_it_was_made_of() {
        let model = Model::parse(RICH).unwrap();
        assert_eq!((model.name(), model.dataset()), ("hostile", "none"));
        assert!(model.labels().eq(["left", "right"]));
        assert_eq!([model.label(1), model.label(2)], [Some("right"), None]);
        assert_eq!(
            (model.latent_len(), model.class_count(), model.input_len()),
            (3, 2, 5)
        );
        assert_eq!(
            (model.steps(), model.seed(), model.layers().len()),
            (1, 2, 3)
        );
        assert_eq!(model.output_shape(), Shape { h: 8, w: 8, c: 3 });
        assert_eq!(model.vetted_count(), 3);
        assert!(model.vetted_seeds(1).eq([5, 6, 4_000_000_000]));
        assert_eq!(model.vetted_seeds(2).count(), 0);
    }

    #[test]
    fn an_input_is_the_latent_and_the_class() {
        let model = Model::parse(RICH).unwrap();
        let mut input = [1; 5];
        model.fill_input(1, Some(1), &mut input).unwrap();
        assert_eq!(input, [-15, -59, -5, 0, 96]);
        for asked in [None, Some(2)] {
            let error = InferError::Class {
                asked,
                class_count: 2,
            };
            assert_eq!(model.fill_input(1, asked, &mut input), Err(error));
        }
        let plain = Model::parse(PLAIN).unwrap();
        assert!(plain.fill_input(1, Some(0), &mut [0; 6]).is_err());
        assert!(plain.fill_input(1, None, &mut [0; 6]).is_ok());
    }

    #[test]
    fn every_shorter_file_and_every_flipped_bit_is_refused() {
        assert!((0..PLAIN.len()).all(|len| Model::parse(&PLAIN[..len]).is_err()));
        let mut bytes = PLAIN.to_vec();
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert!(Model::parse(&bytes).is_err(), "byte {at}");
            bytes[at] ^= 0x10;
        }
        let model = Model::parse(&bytes).unwrap();
        let [streamed, whole] = [Mode::Streamed, Mode::WholeLayers];
        assert!(model.required_bytes(streamed) < model.required_bytes(whole));
    }
}
