//! The parts of a page that every one shares: its style, charts, embedded pictures and text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use plotters::prelude::*;

use crate::console::printable;

/// The style of a page.
pub const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:860px;\
padding:0 1rem;color:#223}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
img{image-rendering:pixelated;max-width:100%}svg{width:100%;height:auto}\
figure{margin:0 0 1rem}figcaption{color:#556;font-size:.9rem}\
pre{background:#f4f4f6;padding:1rem;overflow:auto;font-size:.85rem}";

/// Lines through points from 0 to `right` and within `height`, as SVG.
pub fn lines(
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
pub fn picture_tag(png: &[u8], says: &str) -> String {
    let bytes = BASE64_STANDARD.encode(png);
    format!("<img alt=\"{says}\" src=\"data:image/png;base64,{bytes}\">")
}

/// Text as it stands in a page: control characters are shown, markup is escaped.
pub fn escape(text: &str) -> String {
    let text = printable(text).replace('&', "&amp;");
    text.replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
