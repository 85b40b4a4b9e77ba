//! `gan sample`: images from a file.

use anyhow::{Context, bail};
use gan_core::Model;
use gan_core::model::find_class;
use host::config::Image;
use host::console::{self, counted};
use host::data::{Images, idx};
use host::generator::FloatGenerator;
use host::memory::reserved;
use host::sample::{self, Order, SampleKey};
use host::say;
use host::train::checkpoint::load_generator;
use host::train::run::grid_columns;
use host::{npy, picture};

use crate::cli::Sample;

pub fn run(args: &Sample) -> anyhow::Result<()> {
    anyhow::ensure!(args.count > 0, "--count must be 1 or more");
    let _lock = super::lock_run_of(&args.out)?;
    let file = super::gan_of(&args.file);
    let is_gan = file.extension().is_some_and(|ending| ending == "gan");
    let is_array = args.out.extension().is_some_and(|ending| ending == "npy");
    let (images, columns) = if is_gan {
        let bytes = super::read_gan(&file)?;
        let model = super::parse_gan(&bytes, &file)?;
        let names: Vec<_> = model.labels().collect();
        super::ensure_drawable(&model, &file)?;
        ensure_room(args, model.input_len(), model.output_shape().len())?;
        let order = order(args, &names)?;
        if is_array {
            return write_int8_array(args, &model, &order);
        }
        (sample::int8(&model, &order)?, grid_columns(names.len()))
    } else {
        let generator = load_generator(&file)?;
        let names: Vec<_> = generator
            .config
            .data
            .class_names
            .iter()
            .map(String::as_str)
            .collect();
        let Image {
            height,
            width,
            channels,
        } = generator.image();
        ensure_room(
            args,
            generator.config.input_len(),
            height * width * channels,
        )?;
        let order = order(args, &names)?;
        if is_array {
            return write_float_array(args, &generator, &order);
        }
        (sample::float(&generator, &order), grid_columns(names.len()))
    };
    write(args, &images, columns)?;
    say!("{}: {}", args.out.display(), counted(images.len(), "image"));
    Ok(())
}

/// Bytes that each pixel takes at most: in floats and written, or in a grid of colours, twice
/// as wide and high, and as PNG.
const BYTES_PER_PIXEL: usize = 48;

/// Checks that there is room for as many images as `--count` asks for.
fn ensure_room(args: &Sample, input_len: usize, picture_len: usize) -> anyhow::Result<()> {
    let each =
        size_of::<SampleKey>() + input_len * size_of::<f32>() + picture_len * BYTES_PER_PIXEL;
    reserved::<u8>("--count", &[args.count, each])?;
    Ok(())
}

fn order(args: &Sample, names: &[&str]) -> anyhow::Result<Order> {
    let class = match &args.class {
        None => None,
        Some(_) if names.is_empty() => bail!("the model has no classes: leave --class out"),
        Some(asked) => {
            let class = find_class(names.iter().copied(), asked);
            let known = names.iter().enumerate();
            let known: Vec<_> = known.map(|(i, name)| format!("{name} ({i})")).collect();
            let known = super::some_of(&known);
            Some(class.with_context(|| format!("there is no class `{asked}`; there are {known}"))?)
        }
    };
    let (count, seed) = (args.count, args.seed);
    Ok(Order { count, seed, class })
}

fn write(args: &Sample, images: &Images, columns: usize) -> anyhow::Result<()> {
    if args.terminal {
        console::print_raw(&picture::to_terminal(&picture::grid(images, columns, 1)));
    }
    let name = args.out.to_string_lossy();
    let written = if name.ends_with(".png") {
        picture::save_png(&args.out, &picture::grid(images, columns, 2))
    } else if name.ends_with(".idx") || name.ends_with(".gz") || name.ends_with("ubyte") {
        idx::write(&args.out, images)
    } else {
        bail!("--out {name}: the name has to end in .png, .idx, .idx.gz, -ubyte or .npy");
    };
    written.with_context(|| format!("cannot write {name}"))
}

fn write_int8_array(args: &Sample, model: &Model<'_>, order: &Order) -> anyhow::Result<()> {
    let each = order.each(model.class_count());
    let mut inputs = vec![0; each.len() * model.input_len()];
    let rows = inputs.chunks_exact_mut(model.input_len()).zip(&each);
    for (input, &SampleKey { seed, class }) in rows {
        model.fill_input(seed, class, input)?;
    }
    let values = sample::int8_values(model, &each, |q| q)?;
    let shape = model.output_shape();
    write_arrays(args, [shape.h, shape.w, shape.c], &values, &inputs)
}

fn write_float_array(
    args: &Sample,
    generator: &FloatGenerator,
    order: &Order,
) -> anyhow::Result<()> {
    let image = generator.image();
    let each = order.each(generator.config.data.class_names.len());
    let values = sample::float_values(generator, &each, |v| v);
    let inputs = sample::float_input(generator, &each);
    let picture = [image.height, image.width, image.channels];
    write_arrays(args, picture, &values, &inputs)
}

fn write_arrays<T: npy::Element>(
    args: &Sample,
    [h, w, c]: [usize; 3],
    values: &[T],
    inputs: &[T],
) -> anyhow::Result<()> {
    let n = args.count;
    let stem = args.out.file_stem().unwrap_or_default().to_string_lossy();
    let input = args.out.with_file_name(format!("{stem}-input.npy"));
    npy::write(&input, &[n, inputs.len() / n], inputs)
        .and_then(|()| npy::write(&args.out, &[n, h, w, c], values))
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    say!(
        "{}: {}, of the inputs in {}",
        args.out.display(),
        counted(n, "image"),
        input.display()
    );
    Ok(())
}
