//! Choosing a seed whose picture is worth showing: one that was vetted, or the first that the
//! model's critic passes.

use crate::critic::Critic;
use crate::error::InferError;
use crate::model::Model;

/// A seed, and what the critic said of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The seed of the picture.
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

    /// Chooses a seed from `from` on: the first of up to `candidates` whose picture passes the
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

    /// The critic's score of the picture of `seed` and `class`, which is drawn to no display; none
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

    /// Draws a picture for the critic and returns its score.
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
