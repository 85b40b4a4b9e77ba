//! Memory whose size comes from outside: from a file, a configuration or the command line.

use std::fmt::{self, Display, Formatter};
use std::mem::size_of;

/// The most bytes that one number from outside may ask for, whatever the machine has.
const LARGEST_BYTES: u64 = 16 << 30;

/// A number from outside asks for more memory than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TooMuch {
    /// The number, for instance `--count`.
    what: String,
    /// The product that was asked for, its last factor in bytes.
    factors: Vec<u64>,
}

impl Display for TooMuch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let factors: Vec<String> = self.factors.iter().map(u64::to_string).collect();
        write!(
            f,
            "{} is too large: {} bytes are more memory than there is",
            self.what,
            factors.join(" x ")
        )
    }
}

/// An empty vector with room for as many values as the product of `sizes`, the number that
/// decides of it being called `what`.
pub fn reserved<T>(what: impl Into<String>, sizes: &[usize]) -> Result<Vec<T>, TooMuch> {
    let factors = sizes.iter().map(|&size| size as u64);
    let factors: Vec<u64> = factors.chain([size_of::<T>() as u64]).collect();
    let bytes = factors
        .iter()
        .try_fold(1u64, |product, &factor| product.checked_mul(factor));
    let mut values = Vec::new();
    let is_held = bytes.is_some_and(|bytes| {
        bytes <= LARGEST_BYTES && values.try_reserve_exact(sizes.iter().product()).is_ok()
    });
    if is_held {
        return Ok(values);
    }
    let what = what.into();
    Err(TooMuch { what, factors })
}

/// A vector of as many defaults as the product of `sizes`, see [`reserved`].
pub fn filled<T: Clone + Default>(
    what: impl Into<String>,
    sizes: &[usize],
) -> Result<Vec<T>, TooMuch> {
    let mut values = reserved(what, sizes)?;
    values.resize(sizes.iter().product(), T::default());
    Ok(values)
}
