//! The card: every figure of a set of images, and the rating.

use serde::Serialize;

use super::interval::{Estimate, share};

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Name in JSON.
    pub key: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Counts of the images judged.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The same of real images, in place of the ones judged.
    pub floor: Estimate,
}

/// How far the images may be trusted to be like the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// No rule speaks against them.
    Low,
    /// Some figure is worse than it should be.
    Medium,
    /// Collapsed, unlike the real ones, not what was asked for, or copied.
    High,
}

/// The result of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// Name of the judged images.
    pub subject: String,
    /// Name of the real images.
    pub data: String,
    /// Images on each side.
    pub n: usize,
    /// "held-out", or "training" where too few images are held out.
    pub reference: &'static str,
    /// Description of the features, with their hash.
    pub features: String,
    /// Figures, in this order: tests, fidelity, diversity, class, memory, each, trends.
    pub figures: Vec<Figure>,
    /// The rating by [`rule_text`].
    pub rating: Rating,
    /// The rules that apply, with the figures.
    pub reasons: Vec<String>,
    /// Reasons why the figures are less certain than their intervals say.
    pub warnings: Vec<String>,
}

/// A figure beyond a limit makes a rating.
struct Rule {
    key: &'static str,
    /// Whether the limit is from above.
    above: bool,
    limit: f64,
    rating: Rating,
    says: &'static str,
}

const fn rule(
    key: &'static str,
    above: bool,
    limit: f64,
    rating: Rating,
    says: &'static str,
) -> Rule {
    Rule {
        key,
        above,
        limit,
        rating,
        says,
    }
}

const RULES: [Rule; 9] = [
    rule(
        "coverage",
        false,
        0.5,
        Rating::High,
        "most kinds of real images are not drawn",
    ),
    rule(
        "precision",
        false,
        0.5,
        Rating::High,
        "most images are unlike any real one",
    ),
    rule(
        "class_risk",
        true,
        0.5,
        Rating::High,
        "most are not the class asked for",
    ),
    rule(
        "coverage",
        false,
        0.8,
        Rating::Medium,
        "many kinds of real images are not drawn",
    ),
    rule(
        "precision",
        false,
        0.8,
        Rating::Medium,
        "many images are unlike any real one",
    ),
    rule(
        "class_risk",
        true,
        0.2,
        Rating::Medium,
        "many are not the class asked for",
    ),
    rule(
        "risk_small_cnn",
        true,
        0.5,
        Rating::Medium,
        "even a small classifier tells them apart",
    ),
    rule(
        "risk_one_nearest",
        true,
        0.5,
        Rating::Medium,
        "nearest neighbours tell them apart",
    ),
    rule(
        "flagged",
        true,
        0.15,
        Rating::Medium,
        "many images are stranger than real ones",
    ),
];

/// Memorised: the share of copies is surely above this, and above twice the control's.
const COPIED: f64 = 0.02;

/// The rules of the rating, with the figures' names in JSON.
pub fn rule_text() -> String {
    rules_of(Some)
}

/// The rules of the rating, with `name` of a figure's key. Those without a name are left out.
fn rules_of(name: impl Fn(&'static str) -> Option<&'static str>) -> String {
    let of = |rating| {
        let rules = RULES.iter().filter(move |rule| rule.rating == rating);
        let each = rules.filter_map(|rule| {
            let side = if rule.above { "above" } else { "below" };
            Some(format!("{} {side} {:.2}", name(rule.key)?, rule.limit))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    format!(
        "high: {}, or copies surely above {COPIED:.2} and above twice their control; medium: {}; \
         low: none of these",
        of(Rating::High),
        of(Rating::Medium)
    )
}

/// How far a figure of the integers is from that of the floats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Name in JSON.
    pub key: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// The figure of the floats.
    pub float: f64,
    /// The figure of the integers.
    pub int8: f64,
    /// The integers' less the floats'. The interval is that of independent sets, so wider
    /// than need be: both draw from the same latents.
    pub difference: Estimate,
}

/// Figure by figure, what the integers change.
pub fn differences(float: &Card, int8: &Card) -> Vec<Difference> {
    let pairs = float.figures.iter().filter_map(|a| {
        let b = int8.figure(a.key)?;
        let (f, i) = (a.estimate, b.estimate);
        let value = i.value - f.value;
        let down = (i.value - i.low).hypot(f.high - f.value);
        let up = (i.high - i.value).hypot(f.value - f.low);
        Some(Difference {
            key: a.key,
            name: a.name,
            float: f.value,
            int8: i.value,
            difference: Estimate {
                value,
                low: value - down,
                high: value + up,
            },
        })
    });
    pairs.collect()
}

/// The differences as a table.
pub fn side_by_side(differences: &[Difference]) -> String {
    let head = ["", "float", "int8", "difference", "95 % interval"];
    let mut text = format!(
        "{:44} {:>8} {:>8} {:>11}  {:>18}\n",
        head[0], head[1], head[2], head[3], head[4]
    );
    for row in differences {
        text += &format!(
            "{:44} {:>8} {:>8} {:>11}  {:>18}\n",
            row.name,
            short(row.float),
            short(row.int8),
            short(row.difference.value),
            interval(&row.difference)
        );
    }
    text
}

impl Card {
    /// The figure of that name.
    pub fn figure(&self, key: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.key == key)
    }

    /// The rules of the rating, with the figures' names for people.
    pub fn rule_text(&self) -> String {
        rules_of(|key| self.figure(key).map(|figure| figure.name))
    }

    /// Sets the rating by the figures, and warns where it is a near thing.
    pub fn judge(&mut self) {
        let mut found: Vec<(Rating, String)> = Vec::new();
        let mut told = Vec::new();
        for rule in &RULES {
            let Some(figure) = self.figure(rule.key) else {
                continue;
            };
            let value = figure.estimate.value;
            let broken = if rule.above {
                value > rule.limit
            } else {
                value < rule.limit
            };
            // The first rule of a figure is its strictest.
            if broken && !told.contains(&rule.key) {
                told.push(rule.key);
                let reason = format!("{} {value:.2}: {}", figure.name, rule.says);
                found.push((rule.rating, reason));
            }
        }
        if let (Some(copies), Some(control)) =
            (self.figure("copies"), self.figure("copies_control"))
        {
            // Where there is no interval, one as of independent trials: no narrow thing is
            // decided by it.
            let certain = |e: Estimate| match e.has_interval() {
                true => e,
                false => share((e.value * self.n as f64).round() as usize, self.n),
            };
            let (copies, control) = (certain(copies.estimate), certain(control.estimate));
            if copies.low > 2.0 * control.high && copies.low > COPIED {
                let real = match self.n {
                    100.. => "only 1 % of real ones are".to_owned(),
                    n => format!("the nearest of {n} real ones is"),
                };
                let copies = 100.0 * copies.value;
                let reason = format!("{copies:.0} % are as near to a training image as {real}");
                found.push((Rating::High, reason));
            }
        }
        self.rating = found.iter().map(|f| f.0).max().unwrap_or(Rating::Low);
        self.reasons = found.into_iter().map(|f| f.1).collect();
        self.warnings.extend(self.near_things());
    }

    /// Limits inside a figure's interval that would change the rating.
    fn near_things(&self) -> Vec<String> {
        let near = RULES.iter().filter_map(|rule| {
            let figure = self.figure(rule.key)?;
            let Estimate { value, low, high } = figure.estimate;
            let is_near = low < rule.limit && rule.limit < high;
            let is_broken = (value > rule.limit) == rule.above;
            let counts = if is_broken {
                rule.rating == self.rating
            } else {
                rule.rating > self.rating
            };
            (is_near && counts).then(|| {
                format!(
                    "the limit {:.2} lies within the interval of {}: the risk may not be {}",
                    rule.limit, figure.name, self.rating
                )
            })
        });
        near.collect()
    }
}

impl std::fmt::Display for Rating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl std::fmt::Display for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            subject,
            data,
            n,
            reference,
            ..
        } = self;
        writeln!(
            f,
            "{subject}: {n} images against {n} {reference} ones of {data}"
        )?;
        writeln!(f, "features: {}\n", self.features)?;
        let head = ["", "value", "95 % interval", "real against real"];
        writeln!(
            f,
            "{:44} {:>8}  {:>18}  {:>18}",
            head[0], head[1], head[2], head[3]
        )?;
        for figure in &self.figures {
            let interval = interval(&figure.estimate);
            let floor = short(figure.floor.value);
            writeln!(
                f,
                "{:44} {:>8}  {interval:>18}  {floor:>18}",
                figure.name,
                short(figure.estimate.value)
            )?;
        }
        writeln!(f, "\nrating: {} risk", self.rating)?;
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        writeln!(f, "rule: {}", self.rule_text())?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// The interval of a figure, for people.
pub fn interval(estimate: &Estimate) -> String {
    match estimate.has_interval() {
        true => format!("[{}, {}]", short(estimate.low), short(estimate.high)),
        false => "too few".into(),
    }
}

/// Three digits after the point below ten, fewer above.
pub fn short(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.3}"),
        ..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
