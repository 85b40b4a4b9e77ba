//! Seeds whose images pass one by one.

use gan_core::Model;

use super::judge::Judge;
use super::{Progress, RiskError};
use crate::sample::{self, Order};

/// Seeds tried for each one wanted, before it is given up.
const MOST_TRIED: usize = 100;

/// Tries seeds from 1 on and keeps, for each class, the first `per_class` whose images have a
/// p-value above `min_p_value` and are recognised as the class asked for, where the features know
/// the classes. `[classes][per_class]`, in rising order.
pub fn vet(
    model: &Model<'_>,
    judge: &Judge<'_>,
    per_class: usize,
    min_p_value: f64,
    progress: &mut Progress<'_>,
) -> Result<Vec<u32>, RiskError> {
    let classes = model.class_count();
    let mut kept = Vec::new();
    for class in 0..classes.max(1) {
        let asked = (classes > 0).then_some(class);
        let mut of_class: Vec<u32> = Vec::new();
        let mut tried = 0;
        while of_class.len() < per_class {
            if tried >= MOST_TRIED * per_class {
                let found = of_class.len();
                return Err(RiskError::TooRisky {
                    class: asked,
                    found,
                    tried,
                });
            }
            let order = Order {
                count: per_class,
                seed: 1 + tried as u64,
                class: asked,
            };
            let each = judge.each(&sample::int8(model, &order)?)?;
            let seeds = (tried as u32 + 1..).zip(each);
            let good = seeds.filter(|(_, each)| {
                let as_asked = each
                    .class
                    .map(usize::from)
                    .is_none_or(|found| Some(found) == asked);
                each.p_value > min_p_value && (as_asked || asked.is_none())
            });
            of_class.extend(good.map(|(seed, _)| seed));
            tried += per_class;
            progress(
                "vetting seeds",
                kept.len() + of_class.len().min(per_class),
                per_class * classes.max(1),
            );
        }
        kept.extend(of_class.into_iter().take(per_class));
    }
    Ok(kept)
}
