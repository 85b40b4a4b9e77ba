//! The card as one HTML file.

use std::fmt::Write as _;

use super::RiskError;
use super::card::{Card, Difference, interval, short, side_by_side};
use super::judge::Each;
use super::knn_metrics::FLAGGED;
use crate::data::Images;
use crate::html::{STYLE, escape, lines, picture_tag};
use crate::picture;

/// The part of the page about one subject.
pub struct Exhibit<'a> {
    /// Figures of the subject.
    pub card: &'a Card,
    /// All its images.
    pub images: &'a Images,
    /// One entry for each of them.
    pub each: &'a [Each],
}

/// Images in a row of a grid.
const COLUMNS: usize = 10;
/// Rows of the riskiest images, and of the least risky.
const ROWS: usize = 2;
/// Grey levels of difference become so many, that they can be seen.
const AMPLIFIED: u8 = 16;
/// Sides of a grid's images on the page, at least, in pixels.
const SIDE_PX: usize = 72;

/// The page of one subject, or of floats and integers with their differences; `train` is
/// what [`Each::nearest`] counts.
pub fn page(
    exhibits: &[Exhibit<'_>],
    differences: &[Difference],
    train: &Images,
) -> Result<String, RiskError> {
    let title = exhibits.first().map_or("", |exhibit| &exhibit.card.subject);
    let mut page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>Confidence risk: {0}</title>\
         <style>{STYLE}table{{border-collapse:collapse;font-size:.85rem}}\
         td,th{{padding:.15rem .6rem;text-align:right}}td:first-child{{text-align:left}}\
         tr:nth-child(even){{background:#f4f4f6}}</style>\n<h1>Confidence risk of {0}</h1>\n",
        escape(title)
    );
    for exhibit in exhibits {
        card(exhibit.card, &mut page);
        page.push_str("<h2>Image by image</h2>\n");
        p_values(exhibit.each, &mut page);
        extremes(exhibit, train, &mut page)?;
    }
    if let [float, int8] = exhibits {
        page.push_str("<h2>What int8 changes</h2>\n");
        pairs(float.images, int8.images, &mut page)?;
        let table = escape(&side_by_side(differences));
        let _ = writeln!(page, "<pre>{table}</pre>");
    }
    Ok(page)
}

fn card(card: &Card, page: &mut String) {
    let Card {
        subject,
        data,
        n,
        rating,
        features,
        reference,
        ..
    } = card;
    let _ = writeln!(
        page,
        "<h2>{}: {rating} risk</h2>\n<p>{n} images against {n} {reference} ones of {}; features: \
         {}.</p>\n<ul>",
        escape(subject),
        escape(data),
        escape(features)
    );
    for line in card.reasons.iter().chain(&card.warnings) {
        let _ = writeln!(page, "<li>{}</li>", escape(line));
    }
    page.push_str("</ul>\n<table><tr><th><th>value<th>95 % interval<th>real against real</tr>\n");
    for figure in &card.figures {
        let (e, floor) = (figure.estimate, figure.floor);
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{} {}</tr>",
            figure.name,
            short(e.value),
            interval(&e),
            short(floor.value),
            interval(&floor)
        );
    }
    let _ = writeln!(page, "</table>\n<p>Rule: {}.</p>", card.rule_text());
}

/// Points of the curve of p-values.
const POINTS: usize = 200;

fn p_values(each: &[Each], page: &mut String) {
    let mut sorted: Vec<f64> = each.iter().map(|each| each.p_value).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let points = (0..=POINTS).filter_map(|i| {
        let at = (i * n / POINTS).min(n.checked_sub(1)?);
        Some((i as f64 / POINTS as f64, sorted[at]))
    });
    let series = [points.collect(), vec![(0.0, 0.0), (1.0, 1.0)]];
    let names = ["these images", "real ones"];
    let _ = writeln!(
        page,
        "<figure>{}<figcaption>p-values in order: the share of real images that are at least \
         as far from the training images. Below the line, images are stranger than real ones; \
         above it, more ordinary. At {FLAGGED} and below they are flagged.</figcaption></figure>",
        lines(&series, &names, (1.0, 0.0..1.0))
    );
}

/// Grids of the riskiest and the least risky images, each row above the training images
/// that are most like it.
fn extremes(exhibit: &Exhibit<'_>, train: &Images, page: &mut String) -> Result<(), RiskError> {
    let Exhibit { images, each, .. } = exhibit;
    let mut order: Vec<usize> = (0..each.len()).collect();
    order.sort_by(|&a, &b| each[a].p_value.total_cmp(&each[b].p_value));
    // Whole rows, or the images of one would be beside the neighbours of another.
    let shown = match order.len() {
        n @ ..COLUMNS => n,
        n => (ROWS * COLUMNS).min(n - n % COLUMNS),
    };
    let riskiest = order[..shown].to_vec();
    let least: Vec<usize> = order.iter().rev().take(shown).copied().collect();
    for (name, shown) in [("The riskiest", riskiest), ("The least risky", least)] {
        let mut rows = images.pick([]);
        for row in shown.chunks(COLUMNS) {
            rows.append(&images.pick(row.iter().copied()));
            rows.append(&train.pick(row.iter().map(|&i| each[i].nearest)));
        }
        let p = |i: Option<&usize>| i.map_or(0.0, |&i| each[i].p_value);
        let caption = format!(
            "{name}, p from {:.3} to {:.3}; below each row the training images nearest to it",
            p(shown.first()),
            p(shown.last())
        );
        grid(&rows, COLUMNS.min(shown.len()), &caption, page)?;
    }
    Ok(())
}

/// The same latents by floats and by integers, and how they differ.
fn pairs(float: &Images, int8: &Images, page: &mut String) -> Result<(), RiskError> {
    let (float, int8) = (float.first(COLUMNS), int8.first(COLUMNS));
    let off = float.pixels.iter().zip(&int8.pixels);
    let off = off.map(|(a, b)| a.abs_diff(*b).saturating_mul(AMPLIFIED));
    let off = Images {
        pixels: off.collect(),
        ..float.clone()
    };
    let columns = float.len();
    let mut rows = float;
    rows.append(&int8);
    rows.append(&off);
    let caption =
        format!("Floats, integers, and their difference times {AMPLIFIED}, from the same latents");
    grid(&rows, columns, &caption, page)
}

fn grid(
    images: &Images,
    columns: usize,
    caption: &str,
    page: &mut String,
) -> Result<(), RiskError> {
    let scale = SIDE_PX.div_ceil(images.width.max(1));
    let grid = picture::grid(images, columns, scale);
    let png = picture::png(&grid).map_err(RiskError::Picture)?;
    let _ = writeln!(
        page,
        "<figure>{}<figcaption>{caption}</figcaption></figure>",
        picture_tag(&png, caption)
    );
    Ok(())
}
