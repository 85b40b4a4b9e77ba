//! A run's page: `report.html`, one file.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::log::{History, Logged};
use super::trainer::StepReport;
use crate::files::{FileError, MOST_BYTES, read_regular, write_atomic};
use crate::html::{STYLE, escape, lines, picture_tag};
use crate::risk::monitor::Reading;
use crate::run_folder::RunFolder;

/// Writes the page of a run from its history and the files in its folder, and returns its path.
pub fn write(folder: &RunFolder, history: &History<'_>) -> Result<PathBuf, FileError> {
    let path = folder.page();
    let page = page(folder, history)?;
    write_atomic(&path, page.as_bytes()).map_err(FileError::writing(&path))?;
    Ok(path)
}

fn page(folder: &RunFolder, history: &History<'_>) -> Result<String, FileError> {
    // The folder's own name: the page is the same from wherever the run was resumed.
    let path = std::path::absolute(folder.path());
    let name = path.as_deref().unwrap_or(folder.path()).file_name();
    let name = name.unwrap_or_default().to_string_lossy();
    let mut page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>{0}</title>\
         <style>{STYLE}</style>\n<h1>{0}</h1>\n",
        escape(&name)
    );
    chart(&mut page, &RISK, history.readings);
    for curves in &STEPS {
        chart(&mut page, curves, history.steps);
    }
    pictures(folder, history.steps, &mut page)?;
    for (title, file) in [
        ("int8 against float", folder.comparison()),
        ("Configuration", folder.config()),
    ] {
        if let Ok(text) = read_regular(&file, MOST_BYTES) {
            let text = escape(&String::from_utf8_lossy(&text));
            let _ = writeln!(page, "<h2>{title}</h2>\n<pre>{text}</pre>");
        }
    }
    Ok(page)
}

/// Curves of one chart over records of type `T`.
struct Curves<T: 'static> {
    title: &'static str,
    /// The name of each curve, and its value in a record.
    curves: &'static [(&'static str, fn(&T) -> f64)],
    /// How a healthy run looks.
    note: &'static str,
}

const RISK: Curves<Reading> = Curves {
    title: "Confidence risk",
    curves: &[
        ("risk", |r| r.risk),
        ("R by the nearest neighbour", |r| r.two_sample_risk),
        ("precision", |r| r.precision),
        ("coverage", |r| r.coverage),
    ],
    note: "The risk is the mean of R, 1 - precision and 1 - coverage, of 500 images or fewer; \
           the generator with the least is kept.",
};

const STEPS: [Curves<StepReport>; 5] = [
    Curves {
        title: "Losses",
        curves: &[
            ("discriminator", |s| s.discriminator_loss.into()),
            ("generator", |s| s.generator_loss.into()),
        ],
        note: "They balance each other: neither goes to zero in a healthy run.",
    },
    Curves {
        title: "Error of the discriminator",
        curves: &[("mean error of its predictions", |s| {
            s.discriminator_error.into()
        })],
        note: "0.5 is guessing; at 0 the generator has nothing to learn from.",
    },
    Curves {
        title: "Augmentation",
        curves: &[("probability of each change", |s| {
            s.augment_probability.into()
        })],
        note: "It rises while the discriminator knows the real images too well; 0 without augmentation.",
    },
    Curves {
        title: "Variance of the images",
        curves: &[("mean over pixels, from -1 to 1", |s| s.fake_variance.into())],
        note: "It comes near the data's and stays; a fall to zero is a collapse.",
    },
    Curves {
        title: "Learning rate",
        curves: &[("of the generator", |s| s.learning_rate.into())],
        note: "A jump down is a rollback.",
    },
];

/// Up to five grids, the last one first.
fn pictures(folder: &RunFolder, steps: &[StepReport], page: &mut String) -> Result<(), FileError> {
    let steps = steps.iter().map(|report| report.step);
    let drawn: Vec<u64> = steps.filter(|&step| folder.sample(step).exists()).collect();
    let quarter = drawn.len().div_ceil(4).max(1);
    let shown = drawn.iter().rev().step_by(quarter);
    page.push_str("<h2>Images</h2>\n");
    for &step in shown {
        let path = folder.sample(step);
        let png = read_regular(&path, MOST_BYTES).map_err(FileError::reading(&path))?;
        let _ = writeln!(
            page,
            "<figure>{}<figcaption>step {step}, the averaged generator</figcaption></figure>",
            picture_tag(&png, &format!("images of step {step}"))
        );
    }
    Ok(())
}

/// Points of a curve; more than this are averaged.
const POINTS: usize = 300;

/// Adds a chart of records to the page, if there are any.
fn chart<T: Logged>(page: &mut String, chart: &Curves<T>, records: &[T]) {
    if records.is_empty() {
        return;
    }
    let bin = records.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[T], value: &dyn Fn(&T) -> f64| {
        let values = chunk.iter().map(value).filter(|v| v.is_finite());
        let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
        (n > 0.0).then_some(sum / n)
    };
    let points = |value: &fn(&T) -> f64| -> Vec<(f64, f64)> {
        let chunks = records.chunks(bin);
        let point = |chunk| Some((mean(chunk, &|r| r.step() as f64)?, mean(chunk, value)?));
        chunks.filter_map(point).collect()
    };
    let series: Vec<_> = chart
        .curves
        .iter()
        .map(|(_, value)| points(value))
        .collect();
    let names: Vec<&str> = chart.curves.iter().map(|(name, _)| *name).collect();
    let points = || series.iter().flatten();
    let top = points().map(|p| p.1).fold(0.0, f64::max) * 1.05 + 1e-9;
    let bottom = points().map(|p| p.1).fold(0.0, f64::min) * 1.05;
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let Curves { title, note, .. } = chart;
    let svg = lines(&series, &names, (right, bottom..top));
    let _ = writeln!(
        page,
        "<h2>{title}</h2>\n<figure>{svg}<figcaption>{note}</figcaption></figure>"
    );
}
