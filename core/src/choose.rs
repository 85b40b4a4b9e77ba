//! Choosing a seed whose image is worth showing: one that was vetted, or the first that the
//! model's critic passes.

use crate::critic::Critic;
use crate::error::InferError;
use crate::model::Model;

/// A seed, and what the critic said of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The seed of the image.
    pub seed: u64,
    /// The critic's score; none where no critic was asked.
    pub score: Option<i8>,
}

/// The memory that choosing a seed takes.
pub struct Memory<'m> {
    /// [`Model::required_words`] of [`Mode::Streamed`](crate::Mode::Streamed).
    pub arena: &'m mut [u32],
    /// [`Model::input_len`] values.
    pub input: &'m mut [i8],
    /// [`Critic::input_len`](crate::Critic::input_len) values; none for a model without a critic.
    pub seen: &'m mut [i8],
}

impl Model<'_> {
    /// The next candidate: the first from `from` on that was vetted for `class`, or
    /// the first of all that were; `from` itself in a model without vetted seeds.
    pub fn next_seed(&self, class: Option<usize>, from: u64) -> u64 {
        let vetted = || self.vetted_seeds(class.unwrap_or(0));
        let next = vetted().find(|&seed| seed >= from);
        next.or_else(|| vetted().next()).unwrap_or(from)
    }

    /// Chooses a seed from `from` on: the first of up to `candidates` whose image passes the
    /// critic, or else the best of them. Without a critic, or with no candidates, it is
    /// the [next seed](Self::next_seed), without a score.
    ///
    /// Each candidate is drawn once, to no display; `between_rows` is called after each row.
    ///
    /// *Errors*: memory that does not suit the model, a class that does not exist.
    pub fn choose_seed(
        &self,
        class: Option<usize>,
        from: u64,
        candidates: u32,
        memory: &mut Memory<'_>,
        mut between_rows: impl FnMut(),
    ) -> Result<Choice, InferError> {
        let mut seed = self.next_seed(class, from);
        let mut best = Choice { seed, score: None };
        let Some(critic) = self.critic() else {
            return Ok(best);
        };
        for _ in 0..candidates {
            let score = Some(self.judge(critic, seed, class, memory, &mut between_rows)?);
            if score > best.score {
                best = Choice { seed, score };
            }
            if score >= Some(critic.passing()) {
                break;
            }
            seed = self.next_seed(class, seed.wrapping_add(1));
        }
        Ok(best)
    }

    /// The critic's score of the image of `seed` and `class`, which is drawn to no display; none
    /// in a model without a critic.
    ///
    /// *Errors*: memory that does not suit the model, a class that does not exist.
    pub fn score(
        &self,
        seed: u64,
        class: Option<usize>,
        memory: &mut Memory<'_>,
    ) -> Result<Option<i8>, InferError> {
        let judge = |critic| self.judge(critic, seed, class, memory, || ());
        self.critic().map(judge).transpose()
    }

    /// Draws an image for the critic and returns its score.
    fn judge(
        &self,
        critic: &Critic<'_>,
        seed: u64,
        class: Option<usize>,
        memory: &mut Memory<'_>,
        mut between_rows: impl FnMut(),
    ) -> Result<i8, InferError> {
        let Memory { arena, input, seen } = memory;
        self.fill_input(seed, class, input)?;
        self.run(input, arena, |row, values| {
            critic.take_row(row, values, seen);
            between_rows();
        })?;
        critic.score(seen, arena)
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Memory};
    use crate::critic::Critic;
    use crate::model::Model;
    use crate::plan::Mode;

    const RICH: &[u8] = include_bytes!("../fuzz/seeds/rich.gan");
    const PLAIN: &[u8] = include_bytes!("../fuzz/seeds/plain.gan");

    fn with_memory<T>(model: &Model<'_>, then: impl FnOnce(&mut Memory<'_>) -> T) -> T {
        then(&mut Memory {
            arena: &mut vec![0; model.required_words(Mode::Streamed)],
            input: &mut vec![0; model.input_len()],
            seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
        })
    }

    #[test]
    fn vetted_seeds_come_in_turn() {
        let model = Model::parse(RICH).unwrap();
        let next = |class, from| model.next_seed(Some(class), from);
        assert_eq!(
            [next(0, 0), next(0, 4), next(0, 70), next(0, 71)],
            [3, 9, 70, 3]
        );
        assert_eq!([next(1, 7), next(1, u64::MAX)], [4_000_000_000, 5]);
        assert_eq!(Model::parse(PLAIN).unwrap().next_seed(None, 7), 7);
    }

    #[test]
    fn the_choice_is_the_first_that_passes_or_the_best() {
        let model = Model::parse(RICH).unwrap();
        let critic = model.critic().unwrap();
        for class in [0, 1] {
            let score = |seed| {
                with_memory(&model, |memory| model.score(seed, Some(class), memory)).unwrap()
            };
            let seeds: Vec<u64> = model.vetted_seeds(class).collect();
            let passing = Some(critic.passing());
            let best = seeds.iter().map(|&seed| score(seed)).max().unwrap();
            let wanted = passing.min(best);
            let seed = seeds.into_iter().find(|&seed| score(seed) >= wanted);
            let seed = seed.unwrap();
            let score = score(seed);
            let mut rows = 0;
            let chosen = with_memory(&model, |memory| {
                model.choose_seed(Some(class), 0, 3, memory, || rows += 1)
            });
            assert_eq!(chosen, Ok(Choice { seed, score }));
            assert!(rows > 0 && rows % 8 == 0 && rows <= 3 * 8);
        }
    }

    #[test]
    fn without_a_critic_there_is_no_score() {
        let model = Model::parse(PLAIN).unwrap();
        let score = with_memory(&model, |memory| model.score(4, None, memory));
        assert_eq!(score, Ok(None));
        let chosen = with_memory(&model, |memory| {
            model.choose_seed(None, 4, 9, memory, || ())
        });
        assert_eq!(
            chosen,
            Ok(Choice {
                seed: 4,
                score: None
            })
        );
    }
}
