//! Vectors that are used again from step to step: a fresh one costs a page fault every
//! 4 KB, and zeros that nobody reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Float;

/// A shelf of vectors, by length. Clones share it.
#[derive(Clone, Default)]
pub struct Buffers<E>(Arc<Mutex<HashMap<usize, Vec<Vec<E>>>>>);

impl<E: Float> Buffers<E> {
    /// A vector of `len` values that mean nothing.
    pub fn take(&self, len: usize) -> Vec<E> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = shelf.get_mut(&len).and_then(Vec::pop);
        drop(shelf);
        kept.unwrap_or_else(|| vec![E::zero(); len])
    }

    /// Keeps a vector for the next [`take`](Self::take) of its length.
    pub fn give(&self, buffer: Vec<E>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.entry(buffer.len()).or_default().push(buffer);
    }

    /// Keeps a shared vector, if nobody else holds it.
    pub fn give_shared(&self, buffer: Arc<Vec<E>>) {
        Arc::into_inner(buffer)
            .into_iter()
            .for_each(|b| self.give(b));
    }
}
