//! Arrays for Python: version 1.0 of `NumPy`'s `.npy` format.

use std::io;
use std::path::Path;

use crate::files::write_atomic;

/// An element type.
pub trait Element: Copy {
    /// As `NumPy` writes it.
    const DESCRIPTION: &str;
    /// Appends the value, little-endian.
    fn push(self, bytes: &mut Vec<u8>);
}

impl Element for i8 {
    const DESCRIPTION: &str = "|i1";
    fn push(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

impl Element for f32 {
    const DESCRIPTION: &str = "<f4";
    fn push(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

/// Multiple of bytes at which the values begin.
const ALIGN: usize = 64;

/// Writes an array of this shape, the last index fastest.
pub fn write<T: Element>(path: &Path, shape: &[usize], values: &[T]) -> io::Result<()> {
    let shape = shape.iter().map(|n| format!("{n},")).collect::<String>();
    let description = T::DESCRIPTION;
    let header =
        format!("{{'descr': '{description}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes, the line break one.
    let header_len = (header.len() + 11).next_multiple_of(ALIGN) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header_len as u16).to_le_bytes());
    bytes.extend(format!("{header:<0$}\n", header_len - 1).bytes());
    values.iter().for_each(|value| value.push(&mut bytes));
    write_atomic(path, &bytes)
}
