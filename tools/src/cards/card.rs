//! What `host evaluate` prints, and rows of tables from it.

use anyhow::Context;

/// The text of a card.
pub struct Card(pub String);

/// One line of it.
struct Figure {
    value: f64,
    /// The 95 % interval.
    low: f64,
    high: f64,
    /// What real pictures come to.
    floor: f64,
}

/// Width of the names of figures.
const NAME: usize = 44;
/// Figures of the table: the name, and how many lines below it the figure stands.
const COLUMNS: [(&str, usize); 4] = [
    ("R by the nearest neighbour in features", 1),
    ("R by a small CNN", 1),
    ("precision", 0),
    COVERAGE,
];
const COVERAGE: (&str, usize) = ("coverage", 0);
const FLAGGED: (&str, usize) = ("flagged one by one", 0);

impl Card {
    fn figure(&self, (name, below): (&str, usize)) -> anyhow::Result<Figure> {
        let lines: Vec<_> = self.0.lines().collect();
        let at = lines.iter().position(|line| line.starts_with(name));
        let line = at.and_then(|at| lines.get(at + below)?.get(NAME..));
        let line = line.with_context(|| format!("no figure {name} on the card:\n{}", self.0))?;
        let words = line.split(|c: char| c.is_whitespace() || "[,]".contains(c));
        // A figure of few pictures has no interval.
        let words = words.filter(|word| !["", "too", "few"].contains(word));
        let numbers = words.map(str::parse);
        match *numbers.collect::<Result<Vec<f64>, _>>()?.as_slice() {
            [value, low, high, floor] => Ok(Figure {
                value,
                low,
                high,
                floor,
            }),
            [value, floor] => Ok(Figure {
                value,
                low: f64::NAN,
                high: f64::NAN,
                floor,
            }),
            _ => anyhow::bail!("not a figure: {line}"),
        }
    }

    /// Pictures on each side: `NAME: 3000 pictures against ...`.
    fn count(&self) -> anyhow::Result<u64> {
        let (before, _) = self.0.split_once(" pictures against").context("no count")?;
        let count = before.rsplit(' ').next().unwrap_or_default();
        Ok(count.parse()?)
    }

    /// A row of the table of models.
    pub fn row(&self, name: &str) -> anyhow::Result<String> {
        let rating = self.0.lines().find_map(|line| {
            let rating = line.strip_prefix("rating: ")?;
            rating.strip_suffix(" risk")
        });
        let rating = rating.context("a card without a rating")?;
        let cells = self.cells(|figure| figure.value)?;
        Ok(format!("| {name} | {cells} | {rating} |\n"))
    }

    /// A row of it for the real pictures.
    pub fn floor_row(&self, name: &str) -> anyhow::Result<String> {
        let cells = self.cells(|figure| figure.floor)?;
        Ok(format!("| {name} | {cells} | |\n"))
    }

    fn cells(&self, of: impl Fn(&Figure) -> f64) -> anyhow::Result<String> {
        let mut cells = thousands(self.count()?);
        for column in COLUMNS {
            cells += &format!(" | {}", share(of(&self.figure(column)?)));
        }
        let flagged = 100.0 * of(&self.figure(FLAGGED)?);
        Ok(format!("{cells} | {flagged:.1} %"))
    }

    /// Flagged rate and coverage with their intervals.
    pub fn gate_cells(&self) -> anyhow::Result<String> {
        let Figure {
            value, low, high, ..
        } = self.figure(FLAGGED)?;
        let [flagged, least, most] = [value, low, high].map(|share| 100.0 * share);
        let Figure {
            value, low, high, ..
        } = self.figure(COVERAGE)?;
        let [covered, low, high] = [value, low, high].map(share);
        Ok(format!(
            "{flagged:.1} % [{least:.1}, {most:.1}] | {covered} [{low}, {high}]"
        ))
    }

    /// The same of real pictures.
    pub fn gate_floors(&self) -> anyhow::Result<String> {
        let flagged = 100.0 * self.figure(FLAGGED)?.floor;
        let covered = share(self.figure(COVERAGE)?.floor);
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
