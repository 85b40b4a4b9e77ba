//! Features by an ONNX file of the user's, run with tract.

use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{Rgb, Rgb32FImage};
use sha2::{Digest, Sha256};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, format_err};

use super::knn::Points;
use crate::data::Images;
use crate::files::{MOST_BYTES, read_regular};

/// A model with one input `[n, c, h, w]` of `f32` from 0 to 1, `c` 3 (RGB) or 1, and one output
/// for each image, of any shape: its features.
pub struct Onnx {
    model: InferenceModel,
    /// Channels, height and width that it wants; the images' own where it does not say.
    wanted: [Option<usize>; 3],
}

/// Images that are run at once.
const BATCH: usize = 32;

impl Onnx {
    /// Reads a file; also the first 12 hexadecimal digits of its SHA-256.
    pub fn read(path: &Path) -> Result<(Self, String), String> {
        let bytes = read_regular(path, MOST_BYTES).map_err(|e| e.to_string())?;
        let model = onnx().model_for_read(&mut bytes.as_slice());
        let model = model.map_err(|e| format!("{e:#}"))?;
        let fact = model.input_fact(0).map_err(|e| format!("{e:#}"))?;
        let dims: Vec<Option<usize>> = fact
            .shape
            .dims()
            .map(|dim| dim.concretize()?.to_usize().ok())
            .collect();
        let &[_, c, h, w] = dims.as_slice() else {
            return Err(format!(
                "its input has {} dimensions, not 4: images, channels, height, width",
                dims.len()
            ));
        };
        if !matches!(c, None | Some(1 | 3)) {
            return Err("its input has neither 1 nor 3 channels".into());
        }
        let digest = Sha256::digest(&bytes);
        let hash = digest.iter().take(6).map(|byte| format!("{byte:02x}"));
        let wanted = [c, h, w];
        Ok((Self { model, wanted }, hash.collect()))
    }

    /// The features of images, brought to the size that the model wants.
    pub fn features(&self, images: &Images) -> Result<Points, String> {
        let own = [images.channels, images.height, images.width];
        let [c, h, w]: [usize; 3] = std::array::from_fn(|i| self.wanted[i].unwrap_or(own[i]));
        let mut points = Points::default();
        for start in (0..images.len()).step_by(BATCH) {
            let batch = start..(start + BATCH).min(images.len());
            let n = batch.len();
            let values: Vec<f32> = batch.flat_map(|i| planes(images, i, [c, h, w])).collect();
            let found = self
                .run(values, [n, c, h, w])
                .map_err(|e| format!("{e:#}"))?;
            if found.is_empty() || found.len() % n != 0 {
                return Err(format!("{} values for {n} images", found.len()));
            }
            points.width = found.len() / n;
            points.values.extend(found);
        }
        Ok(points)
    }

    fn run(&self, values: Vec<f32>, shape: [usize; 4]) -> TractResult<Vec<f32>> {
        let fact = f32::fact(shape).into();
        let plan = self.model.clone().with_input_fact(0, fact)?;
        let plan = plan.into_optimized()?.into_runnable()?;
        let input = Tensor::from_shape(&shape, &values)?;
        let outputs = plan.run(tvec!(input.into()))?;
        let first = outputs
            .first()
            .ok_or_else(|| format_err!("it has no output"))?;
        let values = first.cast_to::<f32>()?;
        Ok(values
            .to_plain_array_view::<f32>()?
            .iter()
            .copied()
            .collect())
    }
}

/// Image `i` as `[c, h, w]`, from 0 to 1.
fn planes(images: &Images, i: usize, [c, h, w]: [usize; 3]) -> Vec<f32> {
    let pixels = images.image(i).chunks_exact(images.channels);
    let colours = pixels.flat_map(|pixel| {
        let at = |k: usize| f32::from(pixel[k.min(images.channels - 1)]) / 255.0;
        [at(0), at(1), at(2)]
    });
    let (from_w, from_h) = (images.width as u32, images.height as u32);
    let picture = Rgb32FImage::from_raw(from_w, from_h, colours.collect());
    let picture = picture.unwrap_or_default();
    let picture = if (h, w) == (images.height, images.width) {
        picture
    } else {
        resize(&picture, w as u32, h as u32, FilterType::Triangle)
    };
    let plane = |k: usize| {
        picture.pixels().map(move |&Rgb(rgb)| match c {
            // Colour for a model of grey images: its luma (ITU-R BT.601).
            1 => 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2],
            _ => rgb[k],
        })
    };
    (0..c).flat_map(plane).collect()
}
