//! The limits of a configuration: sizes, memory, and the fields of a `.gan` file.

use gan_core::types::{MAX_LAYERS, MAX_MAP_LEN};

use super::Config;
use crate::memory::{TooMuch, reserved};
use crate::nn::network::BlockSpec;

/// Largest side, kernel or number of channels that a network may have.
const LARGEST_SIZE: usize = 1 << 14;

impl Config {
    /// Checks that there is memory for the weights with their gradients and moments, and for
    /// the maps of a batch with their gradients.
    pub(super) fn check_memory(&self, blocks: &[BlockSpec]) -> Result<(), TooMuch> {
        let weights = blocks.iter().map(|block| {
            let (rows, columns) = block.op.weight_shape();
            rows.saturating_mul(columns)
        });
        let weights = weights.fold(0, usize::saturating_add);
        reserved::<[f32; 4]>("the number of weights", &[weights])?;
        let values = blocks.iter().map(|block| block.op.output_len());
        let values = values.fold(0, usize::saturating_add);
        reserved::<[f32; 2]>("training.batch", &[self.training.batch, values])?;
        Ok(())
    }

    /// Checks that no size is absurd, so that products of them are numbers.
    pub(super) fn check_sizes(&self) -> Result<(), String> {
        let first = &self.generator.dense;
        let mut sizes = vec![
            ("image.height".to_owned(), self.image.height),
            ("image.width".into(), self.image.width),
            ("generator.latent".into(), self.generator.latent),
            ("generator.dense.height".into(), first.height),
            ("generator.dense.width".into(), first.width),
            ("generator.dense.channels".into(), first.channels),
        ];
        let mut push = |at: String, of: [usize; 3], margins: (&str, [usize; 4])| {
            let [channels, kernel, stride] = of;
            let named = [
                ("channels", channels),
                ("kernel", kernel),
                ("stride", stride),
            ];
            let margins = margins.1.map(|margin| (margins.0, margin));
            let named = named.into_iter().chain(margins);
            sizes.extend(named.map(|(name, size)| (format!("{at}, {name}"), size)));
        };
        for (layer, i) in self.generator.conv_transpose.iter().zip(1..) {
            let of = [layer.channels, layer.kernel, layer.stride];
            let at = format!("generator.conv_transpose number {i}");
            push(at, of, ("crop", layer.crop));
        }
        for (layer, i) in self.discriminator.conv.iter().zip(1..) {
            let of = [layer.channels, layer.kernel, layer.stride];
            let at = format!("discriminator.conv number {i}");
            push(at, of, ("pad", layer.pad));
        }
        let dense = [
            ("generator.hidden", &self.generator.hidden),
            ("discriminator.dense", &self.discriminator.dense),
        ];
        for (key, layers) in dense {
            for (layer, i) in layers.iter().zip(1..) {
                sizes.push((format!("{key} number {i}, units"), layer.units));
            }
        }
        if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > LARGEST_SIZE) {
            return Err(format!("{name} is {size}, the largest is {LARGEST_SIZE}"));
        }
        self.check_format_limits()
    }

    /// Checks what a `.gan` file has room for, so that nothing is trained that it has not.
    fn check_format_limits(&self) -> Result<(), String> {
        let convs = &self.generator.conv_transpose;
        let layers = self.generator.hidden.len() + 1 + convs.len();
        if layers > MAX_LAYERS {
            return Err(format!(
                "the generator has {layers} layers, the most that a device draws is {MAX_LAYERS}"
            ));
        }
        for (i, layer) in convs.iter().enumerate() {
            let sizes = [("kernel", layer.kernel), ("stride", layer.stride)];
            let crops = layer.crop.map(|crop| ("crop", crop));
            for (key, size) in sizes.into_iter().chain(crops) {
                if size > usize::from(u8::MAX) {
                    let (number, most) = (i + 1, u8::MAX);
                    return Err(format!(
                        "generator.conv_transpose number {number}: a {key} of {size}, the most \
                         that a device draws is {most}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Checks that a map has sizes within the limits.
pub(super) fn check_map(
    at: &str,
    [height, width]: [usize; 2],
    channels: usize,
) -> Result<(), String> {
    if height.max(width) > LARGEST_SIZE || height * width * channels > MAX_MAP_LEN {
        return Err(format!(
            "{at} makes {height}x{width}x{channels} values, the most is {MAX_MAP_LEN}"
        ));
    }
    Ok(())
}
