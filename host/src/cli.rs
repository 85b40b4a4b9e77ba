//! The arguments of each command.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use host::config::{Data, SIDES_PX};
use host::data::{Colour, Fit};
use host::export::{FORMATS, Format};
use host::risk::classifier::LARGEST_SIDE_PX;

/// Train a GAN on your own images, quantize it to int8, draw with integers.
#[derive(Parser)]
#[command(
    name = "gan",
    version,
    after_help = "Exit status: 0 done, or a run saved on Ctrl-C; 1 failed; 2 wrong usage."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train on images; writes a run folder with the generator as float and int8
    Train(Train),
    /// Quantize a run's generator to int8 again
    Quantize(Quantize),
    /// Draw images from a checkpoint (float) or a .gan file (int8)
    Sample(Sample),
    /// Measure how far a run's integers are from its floats
    Compare(Compare),
    /// Measure how far generated images are from real ones: the confidence risk
    Evaluate(Evaluate),
    /// Train a classifier on images; `evaluate` compares images by its features
    Features(Features),
    /// Write the seeds whose images pass, one by one, into a .gan file; the device uses no others
    ///
    /// An image passes if its p-value is large enough: the share of held-out real images that are
    /// at least as far from the training images as it is, by the features of `gan features` or
    /// those of the set. Each seed that is kept takes 4 bytes of the file.
    Vet(Vet),
    /// Train a critic into a .gan file; the device uses it to choose among candidates
    Critic(Critic),
    /// Import a generator that PyTorch trained; writes a run folder as training does
    Import(Import),
    /// Write a model for another runtime
    Export(Export),
    /// List the runs in a folder and how they ended
    Runs(Runs),
    /// Show a .gan file's layers, classes, flash and memory
    Inspect(Inspect),
    /// Show versions, features and devices
    Doctor(Doctor),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// CUDA where this program was built with it, else the processor
    Auto,
    /// The processor
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
}

/// How images come to the network's format.
#[derive(Args, Default)]
pub struct Reading {
    /// Images of another aspect: crop, pad or stretch [default: crop]
    #[arg(long)]
    pub fit: Option<Fit>,
    /// Colour behind transparent pixels and beside padded images: #rrggbb or a name like black
    /// [default: white]
    #[arg(long, value_name = "COLOUR")]
    pub background: Option<Colour>,
    /// Exchange rows and columns of IDX files, as EMNIST's need
    #[arg(long)]
    pub transpose: bool,
    /// Continue although more than 1 % of a folder's files cannot be used
    #[arg(long, alias = "accept-losses")]
    pub skip_invalid: bool,
}

/// The real images and the features by which images are judged.
#[derive(Args)]
pub struct JudgeArgs {
    /// The real images: what `train --data` takes [default: the run's own, or the embedded set
    /// of the format]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// A file of features, made by `gan features`
    #[arg(long, value_name = "FILE")]
    pub features: Option<PathBuf>,
}

#[derive(Args)]
pub struct Train {
    /// Networks and recipe: color16, color32, color64, grey64 or another size, with -tiny for
    /// small boards; fashion (28x28 grey), avatar (16x16 faces), article, article-bn
    /// [default: chosen from the images of --data; fashion without --data]
    #[arg(long, conflicts_with = "config")]
    pub preset: Option<String>,
    /// Start from the networks of another run, trained on similar images; the classes may differ
    #[arg(long, value_name = "RUN", requires = "data", conflicts_with_all = ["preset", "config", "size", "flash", "channels"])]
    pub from: Option<PathBuf>,
    /// Side of the images in pixels, instead of the one that suits those of --data: 16, 20, 24,
    /// 28, 32, 40, 48, 56, 64, 80 or 96
    #[arg(long, value_name = "PIXELS", value_parser = parse_side, conflicts_with_all = ["preset", "config"], requires = "data")]
    pub size: Option<usize>,
    /// Flash for the model, such as 256K: the larger network that fits is taken
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = parse_bytes,
        conflicts_with_all = ["preset", "config"],
        requires = "data"
    )]
    pub flash: Option<usize>,
    /// Networks and recipe of your own, a TOML file like those in host/presets
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Images: a folder of images (subfolders are classes), IDX files or a tile sheet; with
    /// --resume the place that they were moved to
    /// [default: the embedded set of the preset's format]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Cut --data, an image, into tiles of this size
    #[arg(long, value_name = "WxH", value_parser = parse_tile, requires = "data")]
    pub tile: Option<(usize, usize)>,
    #[command(flatten)]
    pub reading: Reading,
    /// Names for the classes of --data, with commas between them
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', requires = "data")]
    pub labels: Vec<String>,
    /// Groups of alike images to make classes of, where the images have no classes; 0 for none
    /// [default: with color and grey networks one for each 20 images, up to 14; else none]
    #[arg(long, value_name = "NUMBER")]
    pub groups: Option<usize>,
    /// Channels, 1 (grey) or 3 (RGB), instead of the preset's
    #[arg(long)]
    pub channels: Option<usize>,
    /// Run folder [default: runs/NAME]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Updates of each network; with --resume a finished run is trained up to this number
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Train for this time instead of a number of steps: 90s, 8m, 2h
    #[arg(long, value_parser = parse_duration, conflicts_with = "steps")]
    pub budget: Option<Duration>,
    /// Images per step
    #[arg(long)]
    pub batch: Option<usize>,
    /// Seed of the first weights, the order of the images and the latents
    #[arg(long)]
    pub seed: Option<u64>,
    /// A finished run whose images the generator learns too, usually of a larger generator; it
    /// needs the same latent and classes
    #[arg(long, value_name = "RUN")]
    pub teacher: Option<PathBuf>,
    /// Evaluate the confidence risk every so many steps: keep the least risky generator, and
    /// stop when it gets no better
    #[arg(long, value_name = "STEPS")]
    pub watch_risk: Option<u64>,
    /// Where to compute
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Show images in the terminal from time to time
    #[arg(long)]
    pub preview: bool,
    /// With --resume, continue although the images are not those that the run began with
    #[arg(long, requires = "resume")]
    pub accept_changed_data: bool,
    /// Go on with a run that was interrupted: from where Ctrl-C or SIGTERM saved it, or from its
    /// last regular checkpoint after a kill, a closed terminal or a loss of power
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["preset", "config", "from", "size", "flash", "tile", "labels", "groups", "fit", "background", "transpose", "channels", "out", "budget", "batch", "seed", "teacher", "watch_risk"]
    )]
    pub resume: Option<PathBuf>,
}

#[derive(Args)]
pub struct Quantize {
    /// Run folder
    pub run: PathBuf,
    /// Latents that the ranges are measured on, 1 or more
    #[arg(long, default_value_t = host::quant::CALIBRATION_IMAGES, value_parser = at_least_one)]
    pub calibration_images: usize,
    /// Bits of the dense layer's weights, 8 or 4
    #[arg(long, default_value_t = 8, value_parser = one_of::<8, 4>)]
    pub dense_bits: u8,
    /// Bits of the sums before tanh: 16, or 8 as TensorFlow Lite has them
    #[arg(long, default_value_t = 16, value_parser = one_of::<16, 8>)]
    pub tanh_bits: u8,
    /// Steps of training the rounded weights to draw what the float ones draw (400 take
    /// some 10 s)
    #[arg(long, default_value_t = 0)]
    pub finetune: u64,
}

#[derive(Args)]
pub struct Sample {
    /// An int8 model (.gan) or a run folder with one, or a checkpoint or generator (.safetensors)
    pub file: PathBuf,
    /// Images
    #[arg(long, default_value_t = 80)]
    pub count: usize,
    /// Seed of the first image; each further one has the next
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Name or number of the class [default: all in turn]
    #[arg(long, allow_hyphen_values = true)]
    pub class: Option<String>,
    /// X.png for a grid, X.idx or X.idx.gz for the data set's own format with a labels file,
    /// X.npy for the generator's own numbers, with their inputs in X-input.npy
    #[arg(long, default_value = "sample.png")]
    pub out: PathBuf,
    /// Show the images in the terminal too
    #[arg(long)]
    pub terminal: bool,
}

#[derive(Args)]
pub struct Compare {
    /// Run folder
    pub run: PathBuf,
    /// Latents
    #[arg(long, default_value_t = host::compare::COMPARE_IMAGES)]
    pub count: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Evaluate {
    /// A run folder (float and int8), a .gan file, a generator (.safetensors), a folder of
    /// images or an IDX file
    pub subject: PathBuf,
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Format that a folder of images is judged in: height x width, and x3 for colour
    /// [default: that of --features or of --data, where that has at most 256 pixels a side]
    #[arg(long, value_name = "HxW[x3]", value_parser = parse_format)]
    pub format: Option<host::config::Image>,
    /// Images to judge, at most half as many as are held out
    #[arg(long, default_value_t = host::risk::judge::DEFAULT_COUNT)]
    pub count: usize,
    /// Seed of the first image
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// An ONNX file whose outputs are the features, for comparison with published figures; its
    /// input is `[n, c, h, w]`, RGB or grey from 0 to 1. Needs `--features onnx` of cargo
    #[arg(long, value_name = "FILE", conflicts_with = "features")]
    pub features_onnx: Option<PathBuf>,
    /// Choose each int8 image among up to so many by the file's critic, as the firmware does
    #[arg(long, value_name = "CANDIDATES", default_value_t = 0)]
    pub gate: u32,
    /// Write a page with the cards, the riskiest and least risky images and their nearest
    /// training images
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Features {
    /// Images to learn from, and their classes if they have any
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// Format of the images: height x width, and x3 for colour
    #[arg(long, value_name = "HxW[x3]", default_value = "28x28", value_parser = parse_format)]
    pub format: host::config::Image,
    /// Names for the classes of --data, with commas between them
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', requires = "data")]
    pub labels: Vec<String>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "features.safetensors")]
    pub out: PathBuf,
    /// Seed of the first weights, the order and the shifts: another seed is another judge
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub struct Import {
    /// The generator's `state_dict`, written by `safetensors.torch.save_file`
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Its layers, a TOML file like those in host/presets; `[import]` in it may name its
    /// modules, see docs/interop.md
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Run folder [default: runs/NAME]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct Export {
    /// A run folder or a .gan file, for floats a run folder or a generator (.safetensors)
    pub model: PathBuf,
    /// Format of the file
    #[arg(long, value_parser = exported_format())]
    pub format: Format,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Prefix of the names in a C header, after `gan_` [default: the model's name]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Args)]
pub struct Vet {
    /// A .gan file or a run folder
    pub file: PathBuf,
    /// Seeds to keep, as many of each class
    #[arg(long, default_value_t = 256)]
    pub count: usize,
    /// Keep images whose p-value is above this. It is the share, from 0 to 1, of held-out real
    /// images that are at least as far from the training images
    #[arg(long, alias = "max-risk", default_value_t = host::risk::knn_metrics::FLAGGED)]
    pub min_p_value: f64,
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// File to write [default: the file itself]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct Critic {
    /// A .gan file or a run folder
    pub file: PathBuf,
    /// Share of the images that need no further candidate
    #[arg(long, default_value_t = 0.8)]
    pub passing: f64,
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// File to write [default: the file itself]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct Runs {
    /// Folder with the runs
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Inspect {
    /// A .gan file or a run folder
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Reading {
    /// Puts what was given in the place of what `data` says.
    pub fn change(&self, data: &mut Data) {
        data.fit = self.fit.unwrap_or(data.fit);
        data.background = self.background.unwrap_or(data.background);
        data.transpose |= self.transpose;
        data.skip_invalid |= self.skip_invalid;
    }

    /// Images of a path, or the embedded ones, read like this.
    pub fn data(&self, path: Option<PathBuf>) -> Data {
        let mut data = Data {
            path,
            ..Data::default()
        };
        self.change(&mut data);
        data
    }
}

fn one_of<const A: u8, const B: u8>(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|n| [A, B].contains(n));
    number.ok_or_else(|| format!("{A} or {B}"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&n| n > 0);
    number.ok_or_else(|| "a whole number, 1 or more".into())
}

fn parse_tile(text: &str) -> Result<(usize, usize), String> {
    let sides = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides
        .filter(|&(w, h)| w > 0 && h > 0)
        .ok_or_else(|| "write it as 16x16".into())
}

/// A side in pixels that there are networks for.
fn parse_side(text: &str) -> Result<usize, String> {
    let side_px = text
        .parse()
        .ok()
        .filter(|side_px| SIDES_PX.contains(side_px));
    side_px.ok_or_else(|| {
        let sides = SIDES_PX.map(|side_px| side_px.to_string()).join(", ");
        format!("there are {sides}")
    })
}

/// A number of bytes, or of KiB or MiB with K or M behind it.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let upper = text.to_ascii_uppercase();
    let text = upper.strip_suffix('B').unwrap_or(&upper);
    let (number, unit) = match (text.strip_suffix('K'), text.strip_suffix('M')) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        (None, None) => (text, 1),
    };
    let bytes = number.parse::<usize>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "write it as 262144, 256K or 2M".into())
}

/// Names of the formats that a model can be exported to.
fn exported_format() -> impl TypedValueParser<Value = Format> {
    let value = |format: &Format| PossibleValue::new(format.name).help(format.about);
    PossibleValuesParser::new(FORMATS.iter().map(value)).try_map(|name| {
        let mut formats = FORMATS.iter().copied();
        formats
            .find(|format| format.name == name)
            .ok_or("no such format")
    })
}

fn parse_format(text: &str) -> Result<host::config::Image, String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok()).collect();
    let (height, width, channels) = match sizes.as_deref() {
        Some(&[height, width]) => (height, width, 1),
        Some(&[height, width, channels @ (1 | 3)]) => (height, width, channels),
        _ => return Err("write it as 28x28, or as 64x64x3 for colour".into()),
    };
    let sides = 1..=LARGEST_SIDE_PX;
    if !(sides.contains(&height) && sides.contains(&width)) {
        return Err(format!("from 1 to {LARGEST_SIDE_PX} pixels a side"));
    }
    Ok(host::config::Image {
        height,
        width,
        channels,
    })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 90s, 8m or 2h".to_owned();
    let split = text.char_indices().next_back().ok_or_else(wrong)?.0;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if duration < Duration::from_secs(1) {
        return Err("at least 1s".into());
    }
    Ok(duration)
}
