//! What `gan evaluate --json` prints, and rows of tables from it.

use anyhow::Context;
use serde::Deserialize;

/// What is printed: a card for each subject, a run's floats before its integers.
#[derive(Deserialize)]
struct Report {
    cards: Vec<Figures>,
    texts: Vec<String>,
}

/// The figures of a card.
#[derive(Deserialize)]
struct Figures {
    /// Images on each side.
    n: u64,
    figures: Vec<Figure>,
    rating: String,
}

/// One figure.
#[derive(Deserialize)]
struct Figure {
    key: String,
    value: f64,
    /// The 95 % interval; none for few images.
    low: Option<f64>,
    high: Option<f64>,
    /// What real images come to.
    floor: Floor,
}

#[derive(Deserialize)]
struct Floor {
    value: f64,
}

/// A card: its figures, and the text for people.
pub struct Card {
    figures: Figures,
    pub text: String,
}

/// Keys of the table's figures.
const COLUMNS: [&str; 4] = ["one_nearest", "small_cnn", "precision", COVERAGE];
const COVERAGE: &str = "coverage";
const FLAGGED: &str = "flagged";

impl Card {
    /// The last card of a report: of a run, the integers'.
    pub fn read(json: &str) -> anyhow::Result<Self> {
        let report: Report = serde_json::from_str(json).context("not a report of evaluate")?;
        let last = report.cards.into_iter().zip(report.texts).next_back();
        let (figures, text) = last.context("a report without cards")?;
        Ok(Self { figures, text })
    }

    fn figure(&self, key: &str) -> anyhow::Result<&Figure> {
        let mut figures = self.figures.figures.iter();
        let figure = figures.find(|figure| figure.key == key);
        figure.with_context(|| format!("no figure {key} on the card:\n{}", self.text))
    }

    /// A row of the table of models.
    pub fn row(&self, name: &str) -> anyhow::Result<String> {
        let cells = self.cells(|figure| figure.value)?;
        Ok(format!("| {name} | {cells} | {} |\n", self.figures.rating))
    }

    /// A row of it for the real images.
    pub fn floor_row(&self, name: &str) -> anyhow::Result<String> {
        let cells = self.cells(|figure| figure.floor.value)?;
        Ok(format!("| {name} | {cells} | |\n"))
    }

    fn cells(&self, of: impl Fn(&Figure) -> f64) -> anyhow::Result<String> {
        let mut cells = thousands(self.figures.n);
        for column in COLUMNS {
            cells += &format!(" | {}", share(of(self.figure(column)?)));
        }
        let flagged = 100.0 * of(self.figure(FLAGGED)?);
        Ok(format!("{cells} | {flagged:.1} %"))
    }

    /// Flagged rate and coverage with their intervals.
    pub fn gate_cells(&self) -> anyhow::Result<String> {
        let [flagged, covered] = [self.figure(FLAGGED)?, self.figure(COVERAGE)?];
        let interval = |figure: &Figure| figure.low.zip(figure.high).context("no interval");
        let ((least, most), (low, high)) = (interval(flagged)?, interval(covered)?);
        let [flagged, least, most] = [flagged.value, least, most].map(|share| 100.0 * share);
        let [covered, low, high] = [covered.value, low, high].map(share);
        Ok(format!(
            "{flagged:.1} % [{least:.1}, {most:.1}] | {covered} [{low}, {high}]"
        ))
    }

    /// The same of real images.
    pub fn gate_floors(&self) -> anyhow::Result<String> {
        let flagged = 100.0 * self.figure(FLAGGED)?.floor.value;
        let covered = share(self.figure(COVERAGE)?.floor.value);
        Ok(format!("{flagged:.1} % | {covered}"))
    }
}

/// `.597`, and `1.000`.
fn share(value: f64) -> String {
    let text = format!("{value:.3}");
    text.strip_prefix('0').unwrap_or(&text).to_owned()
}

fn thousands(count: u64) -> String {
    match count {
        ..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}
