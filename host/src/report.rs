//! A run's page: `report.html`, with nothing outside it.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use plotters::prelude::*;
use serde_json::Value;

use crate::files::write_atomic;
use crate::train::run::RunFolder;

/// Writes the page of a run from the files in its folder and returns its path; an error
/// names the file.
pub fn write(folder: &RunFolder) -> Result<PathBuf, (PathBuf, io::Error)> {
    let path = folder.file("report.html");
    let page = page(folder)?;
    match write_atomic(&path, page.as_bytes()) {
        Ok(()) => Ok(path),
        Err(error) => Err((path, error)),
    }
}

pub(crate) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:860px;\
padding:0 1rem;color:#223}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
img{image-rendering:pixelated;max-width:100%}svg{width:100%;height:auto}\
figure{margin:0 0 1rem}figcaption{color:#556;font-size:.9rem}\
pre{background:#f4f4f6;padding:1rem;overflow:auto;font-size:.85rem}";

fn page(folder: &RunFolder) -> Result<String, (PathBuf, io::Error)> {
    let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|e| (path, e));
    let metrics = read(folder.metrics())?;
    let steps: Vec<Value> = metrics
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let name = folder.path().display().to_string();
    let mut page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>{0}</title>\
         <style>{STYLE}</style>\n<h1>{0}</h1>\n",
        escape(&name)
    );
    let readings = read(folder.risk()).unwrap_or_default();
    let readings = readings.lines();
    let readings = readings.filter_map(|line| serde_json::from_str(line).ok());
    let readings: Vec<Value> = readings.collect();
    for (title, keys, note, of_risk) in CURVES {
        let steps = if of_risk { &readings } else { &steps };
        if steps.is_empty() {
            continue;
        }
        let _ = write!(page, "<h2>{title}</h2>\n<figure>");
        page.push_str(&curves(steps, keys));
        let _ = writeln!(page, "<figcaption>{note}</figcaption></figure>");
    }
    pictures(folder, &steps, &mut page)?;
    for (title, file) in [
        ("int8 against float", "compare.json"),
        ("Configuration", "config.toml"),
    ] {
        if let Ok(text) = read(folder.file(file)) {
            let _ = writeln!(page, "<h2>{title}</h2>\n<pre>{}</pre>", escape(&text));
        }
    }
    Ok(page)
}

/// Title, keys of `metrics.jsonl` with their names, what a healthy run looks like, and whether
/// the keys are those of `risk.jsonl`.
type Curves = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    bool,
);

const CURVES: [Curves; 5] = [
    (
        "Confidence risk",
        &[
            ("risk", "risk"),
            ("told_apart", "R by the nearest neighbour"),
            ("precision", "precision"),
            ("coverage", "coverage"),
        ],
        "The risk is the mean of R, 1 - precision and 1 - coverage, of 500 pictures or fewer; the \
         generator with the least is kept.",
        true,
    ),
    (
        "Losses",
        &[
            ("discriminator_loss", "discriminator"),
            ("generator_loss", "generator"),
        ],
        "They balance each other: neither goes to zero in a healthy run.",
        false,
    ),
    (
        "Error of the discriminator",
        &[("discriminator_error", "mean error of its verdicts")],
        "0.5 is guessing; at 0 the generator has nothing to learn from.",
        false,
    ),
    (
        "Variance of the pictures",
        &[("fake_variance", "mean over pixels, from -1 to 1")],
        "It comes near the data's and stays; a fall to zero is a collapse.",
        false,
    ),
    (
        "Learning rate",
        &[("learning_rate", "of the generator")],
        "A jump down is a rollback.",
        false,
    ),
];

/// The last grid, and how the pictures came about.
fn pictures(
    folder: &RunFolder,
    steps: &[Value],
    page: &mut String,
) -> Result<(), (PathBuf, io::Error)> {
    let step_of = |value: &Value| value.get("step").and_then(Value::as_u64);
    let drawn: Vec<u64> = steps
        .iter()
        .filter_map(step_of)
        .filter(|&step| folder.sample(step).exists())
        .collect();
    let quarter = drawn.len().div_ceil(4).max(1);
    let shown = drawn.iter().rev().step_by(quarter);
    page.push_str("<h2>Pictures</h2>\n");
    for &step in shown {
        let path = folder.sample(step);
        let png = std::fs::read(&path).map_err(|e| (path, e))?;
        let _ = writeln!(
            page,
            "<figure>{}<figcaption>step {step}, the averaged generator</figcaption></figure>",
            picture_tag(&png, &format!("pictures of step {step}"))
        );
    }
    Ok(())
}

/// Points of a curve; more than this are averaged.
const POINTS: usize = 300;

/// Curves over the steps, as SVG.
fn curves(steps: &[Value], keys: &[(&str, &str)]) -> String {
    let bin = steps.len().div_ceil(POINTS).max(1);
    let series: Vec<Vec<(f64, f64)>> = keys
        .iter()
        .map(|(key, _)| {
            let mean = |chunk: &[Value], key: &str| {
                let values = chunk.iter().filter_map(|v| v.get(key)?.as_f64());
                let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
                (n > 0.0).then_some(sum / n)
            };
            let chunks = steps.chunks(bin);
            chunks
                .filter_map(|chunk| Some((mean(chunk, "step")?, mean(chunk, key)?)))
                .collect()
        })
        .collect();
    let points = || series.iter().flatten();
    let top = points().map(|p| p.1).fold(0.0, f64::max) * 1.05 + 1e-9;
    let bottom = points().map(|p| p.1).fold(0.0, f64::min) * 1.05;
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let names: Vec<&str> = keys.iter().map(|(_, name)| *name).collect();
    lines(&series, &names, (right, bottom..top))
}

/// Lines through points from 0 to `right` and within `height`, as SVG.
pub(crate) fn lines(
    series: &[Vec<(f64, f64)>],
    names: &[&str],
    (right, height): (f64, std::ops::Range<f64>),
) -> String {
    let mut svg = String::new();
    // Drawing into a string cannot fail but for a range that is empty, and none is.
    draw(series, names, (right, height), &mut svg).unwrap_or_default();
    svg
}

fn draw(
    series: &[Vec<(f64, f64)>],
    names: &[&str],
    (right, height): (f64, std::ops::Range<f64>),
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (820, 260)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, height)?;
    let tiny = chart.y_range().end < 1e-2;
    let exponent = |v: &f64| format!("{v:.1e}");
    let plain = |v: &f64| {
        let digits = format!("{v:.3}");
        digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&plain)
        .y_label_formatter(if tiny { &exponent } else { &plain })
        .draw()?;
    for (i, (points, name)) in series.iter().zip(names).enumerate() {
        let color = Palette99::pick(i).to_rgba();
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A PNG as an element of a page.
pub(crate) fn picture_tag(png: &[u8], says: &str) -> String {
    let bytes = BASE64_STANDARD.encode(png);
    format!("<img alt=\"{says}\" src=\"data:image/png;base64,{bytes}\">")
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
