//! Classes for images that have none: groups of images that look alike.

use std::path::Path;

use anyhow::ensure;
use host::config::Config;
use host::console::counted;
use host::data::{Dataset, suitable_groups};
use host::say;
use host::train::checkpoint;

use super::plan::model_bytes;
use crate::cli::Train;
use crate::commands::generator_of;

/// Makes classes of groups of alike images, where the images have none or one.
pub fn group(
    config: &mut Config,
    dataset: &mut Dataset,
    args: &Train,
    is_by_size: bool,
) -> anyhow::Result<()> {
    let images = dataset.train.len();
    let has_classes = dataset.class_names.len() > 1;
    let groups = match (config.data.groups, &config.training.teacher) {
        (Some(groups), _) => groups,
        // Both draw the same classes.
        (None, Some(teacher)) if !has_classes => groups_of(teacher),
        (None, None) if is_by_size && !has_classes => groups_in(config, images, args.flash)?,
        (None, _) => 0,
    };
    config.data.groups = (groups > 0).then_some(groups);
    if groups == 0 {
        return Ok(());
    }
    let [without, with_fewer] = match args.resume {
        Some(_) => ["put the old images back, or begin a new run"; 2],
        None => [
            "leave --groups (data.groups) out",
            "a smaller --groups, or 0, takes fewer",
        ],
    };
    ensure!(
        !has_classes,
        "{} has {} of its own, so none can be made of groups of alike images: {without}",
        dataset.name,
        counted(dataset.class_names.len(), "class")
    );
    ensure!(
        groups <= images / 2,
        "{groups} groups of alike images take at least {} images to train on, there are {images}: \
         {with_fewer}",
        2 * groups
    );
    dataset.group(groups);
    let least = images / groups;
    let most = images.div_ceil(groups);
    let sizes = match least == most {
        true => least.to_string(),
        false => format!("{least} or {most}"),
    };
    let none = if args.resume.is_some() {
        ""
    } else {
        "; --groups 0 makes none"
    };
    say!("classes: {groups} groups of {sizes} images that look alike{none}");
    Ok(())
}

/// The number of groups that suits so many images, or as many as fit `--flash`.
fn groups_in(config: &Config, images: usize, flash: Option<usize>) -> anyhow::Result<usize> {
    let mut groups = suitable_groups(images);
    if let Some(flash_bytes) = flash {
        while groups > 0 && model_bytes(config, groups)? > flash_bytes {
            groups -= 1;
        }
    }
    // One class would be as good as none.
    Ok(if groups == 1 { 0 } else { groups })
}

/// The groups of a teacher; 0 where it cannot be read, which is reported when it is used.
fn groups_of(teacher: &Path) -> usize {
    let state = checkpoint::load_state(&generator_of(teacher)).ok();
    state
        .and_then(|state| state.config.data.groups)
        .unwrap_or(0)
}
