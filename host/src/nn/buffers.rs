//! Vectors that are used again from step to step: a fresh one costs a page fault every
//! 4 KB, and zeros that nobody reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Float;

/// Shelves of vectors, by length. Clones share them.
#[derive(Clone, Default)]
pub struct Buffers<E>(Arc<Mutex<HashMap<usize, Shelf<E>>>>);

#[derive(Default)]
struct Shelf<E> {
    kept: Vec<Vec<E>>,
    /// Taken and not given back: no more than these are kept, or vectors that came from
    /// elsewhere would pile up.
    lent: usize,
}

impl<E: Float> Buffers<E> {
    fn shelves(&self) -> MutexGuard<'_, HashMap<usize, Shelf<E>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vector of `len` values that mean nothing.
    pub fn take(&self, len: usize) -> Vec<E> {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(len).or_default();
        shelf.lent += 1;
        let kept = shelf.kept.pop();
        drop(shelves);
        kept.unwrap_or_else(|| vec![E::zero(); len])
    }

    /// Keeps a vector for the next [`take`](Self::take) of its length.
    pub fn give(&self, buffer: Vec<E>) {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(buffer.len()).or_default();
        if shelf.lent > 0 {
            shelf.lent -= 1;
            shelf.kept.push(buffer);
        }
    }

    /// Keeps a shared vector, if nobody else holds it.
    pub fn give_shared(&self, buffer: Arc<Vec<E>>) {
        let buffer = Arc::into_inner(buffer);
        buffer.into_iter().for_each(|buffer| self.give(buffer));
    }

    /// Values of all vectors that are kept.
    pub fn kept_len(&self) -> usize {
        let shelves = self.shelves();
        let lens = shelves.iter().map(|(len, shelf)| len * shelf.kept.len());
        lens.sum()
    }
}
