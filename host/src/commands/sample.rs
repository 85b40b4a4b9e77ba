//! `host sample`: pictures from a file.

use anyhow::{Context, bail};
use host::data::{Images, idx};
use host::picture;
use host::sample::{self, Order};
use host::train::checkpoint::load_generator;
use host::train::run::grid_columns;

use crate::cli::Sample;

pub fn run(args: &Sample) -> anyhow::Result<()> {
    anyhow::ensure!(args.count > 0, "--count must be 1 or more");
    let is_gan = args.file.extension().is_some_and(|ending| ending == "gan");
    let (images, names) = if is_gan {
        let bytes = super::read_gan(&args.file)?;
        let model = super::parse_gan(&bytes, &args.file)?;
        let names: Vec<_> = (0..model.class_count())
            .filter_map(|i| model.label(i))
            .collect();
        let order = order(args, &names)?;
        (sample::int8(&model, &order)?, names.len())
    } else {
        let generator = load_generator(&args.file)?;
        let names: Vec<_> = generator
            .config
            .data
            .class_names
            .iter()
            .map(String::as_str)
            .collect();
        let order = order(args, &names)?;
        (sample::float(&generator, &order), names.len())
    };
    write(args, &images, grid_columns(names))?;
    println!("{}: {} pictures", args.out.display(), images.len());
    Ok(())
}

fn order(args: &Sample, names: &[&str]) -> anyhow::Result<Order> {
    let class = match &args.class {
        None => None,
        Some(_) if names.is_empty() => bail!("the model has no classes: leave --class out"),
        Some(asked) => {
            let by_name = names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(asked));
            let by_number = asked
                .parse()
                .ok()
                .filter(|&class: &usize| class < names.len());
            let known = names
                .iter()
                .enumerate()
                .map(|(i, name)| format!("{i} {name}"));
            let known = known.collect::<Vec<_>>().join(", ");
            let class = by_name.or(by_number);
            Some(class.with_context(|| format!("there is no class `{asked}`; there are {known}"))?)
        }
    };
    let (count, seed) = (args.count, args.seed);
    Ok(Order { count, seed, class })
}

fn write(args: &Sample, images: &Images, columns: usize) -> anyhow::Result<()> {
    let grid = picture::grid(images, columns, 2);
    if args.terminal {
        print!(
            "{}",
            picture::to_terminal(&picture::grid(images, columns, 1))
        );
    }
    let name = args.out.to_string_lossy();
    let written = if name.ends_with(".png") {
        picture::save_png(&args.out, &grid)
    } else if name.ends_with(".idx") || name.ends_with(".gz") || name.ends_with("ubyte") {
        idx::write(&args.out, images)
    } else {
        bail!("--out {name}: the name has to end in .png, .idx, .idx.gz or -ubyte");
    };
    written.with_context(|| format!("cannot write {name}"))
}
