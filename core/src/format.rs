//! The `.gan` file, version 4. This page is the specification, and
//! `field.rs` has its offsets.
//!
//! All numbers are little-endian. Behind the text come each layer's weights, biases,
//! mantissas, shifts, zero-point corrections and table, then the critic with its layers',
//! then the vetted seeds. Each of these sections begins at the first multiple of 16 bytes
//! behind the one before, if it is there at all; the bytes between are zero, and none follow
//! the last but zeros up to a multiple of 16. So no two sections overlap, and every byte has
//! one meaning.
//!
//! Header, 48 bytes:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `[u8; 4]` | magic, `GAN8` |
//! | 4 | `u16` | version, 4 or 3 |
//! | 6 | `u16` | layers, 1 to [`MAX_LAYERS`](crate::types::MAX_LAYERS) |
//! | 8 | `u32` | length of the file in bytes |
//! | 12 | `u32` | CRC-32 (IEEE 802.3) of bytes 0 to 11 and 16 to the end |
//! | 16 | `u16` | latent values |
//! | 18 | `u16` | classes, 0 for none |
//! | 20 | `u32` | training steps |
//! | 24 | `u64` | training seed |
//! | 32 | `u32` | length of the text in bytes |
//! | 36 | `u32` | header length: 48 + 64 * layers |
//! | 40 | `u32` | offset of the vetted seeds, or 0 |
//! | 44 | `u32` | offset of the critic, or 0 |
//!
//! Layer table, 64 bytes a layer:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `u8` | operator: 0 dense, 1 transposed convolution |
//! | 1 | `u8` | weight layout: 1, `i8` as in [`layout`](crate::layout); 2, 4 bits as there, dense only |
//! | 2 | `u8` | activation: 0 clamp, 1 8-bit table, 2 16-bit table |
//! | 3 | `u8` | kernel (0 for dense) |
//! | 4 | `u8` | stride (0 for dense) |
//! | 5 | `[u8; 4]` | crop top, left, bottom, right (0 for dense) |
//! | 9 | `[i8; 2]` | clamp minimum, maximum (-128, 127 with either table) |
//! | 11 | `i8` | zero point of the requantized sum; 0 with a 16-bit table |
//! | 12 | `i8` | zero point of the output; the sum's unless there is a table |
//! | 13 | `u8` | function: 0 not named, 1 linear, 2 ReLU, 3 leaky ReLU, 4 tanh, 5 sigmoid |
//! | 14 | `[u8; 2]` | zero |
//! | 16 | `[u16; 6]` | input `h, w, c`, output `h, w, c`; at most [`MAX_MAP_LEN`](crate::types::MAX_MAP_LEN) values each |
//! | 28 | `f32` | scale of the requantized sum |
//! | 32 | `f32` | scale of the output; the sum's unless there is a table |
//! | 36 | `u32` | offset of the weights, `i8` |
//! | 40 | `u32` | offset of the biases, `i32` |
//! | 44 | `u32` | offset of the multipliers' mantissas, `i32` |
//! | 48 | `u32` | offset of the multipliers' shifts, `i8` |
//! | 52 | `u32` | offset of the table, 256 `i8` or 513 `i16`, or 0 with a clamp |
//! | 56 | `u32` | offset of the zero-point corrections, `i32`, or 0 where the input's zero point is 0 and for dense |
//! | 60 | `f32` | slope of leaky ReLU below 0, from 0 to below 1; zero for every other function |
//!
//! The function is what the clamp or table holds ([`Function`](crate::types::Function));
//! drawing does not depend on it. Linear has a clamp to -128, 127, ReLU one to the zero point of
//! the output, 127, and the others have a table. Version 3 has no functions: its bytes 13 and
//! 60 to 63 are zero.
//!
//! A zero-point correction is minus the input's zero point times the sum of the weights of a
//! kernel row and phase: it lets the runtime multiply inputs that still hold their zero point.
//!
//! Text: UTF-8 lines without a line break at the end: the model's name, the data set's
//! name, one label per class; none holds a character that [`is_control`] names.
//!
//! The first layer's input is the latent (scale 1/32, zero point 0) and the class, 96 (so 3.0)
//! in its place and 0 in the others'.
//!
//! Critic (see [`critic`](crate::critic)), 144 bytes:
//!
//! | at | type | content |
//! |---|---|---|
//! | 0 | `u8` | 1 if it sees two by two pixels as one, else 0 |
//! | 1 | `i8` | the least score that passes |
//! | 2 | `[u8; 14]` | zero |
//! | 16 | | two entries as in the layer table, both dense; their sections follow |
//!
//! Vetted seeds: `u32`, how many of each class; then as many `u32` for each class (once
//! without classes), each above the one before.
//!
//! A file whose drawing would take more than 2^28 words of scratch for a layer is refused.

pub(crate) mod field;
mod read;

use crate::slice::part;
use field::{entry, header};

pub(crate) use read::{
    Header, Sections, gate_at, read_critic_head, read_critic_layer, read_header, read_layer,
    read_seeds,
};

pub(crate) const MAGIC: [u8; 4] = *b"GAN8";
/// The version that is written, the newest that is read.
pub(crate) const VERSION: u16 = 4;
const OLDEST_VERSION: u16 = 3;
/// The first version with [functions](crate::types::Function).
const FUNCTIONS_SINCE: u16 = 4;
const ALIGN: usize = 16;

/// A control character steers the display that shows it, or is invisible: C0 and C1 controls,
/// DEL, line and paragraph separators, marks, overrides and isolates of the writing
/// direction, spaces and joiners without width, byte order marks, interlinear annotations and
/// tags (Unicode TR 36, section 3). The joiners U+200C and U+200D are letters' own in some
/// scripts, so they count as shown. No text of a file holds a control.
pub const fn is_control(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Continues a CRC-32 (IEEE 802.3: reflected, polynomial 0xEDB88320). It begins with `!0`, and
/// its complement is the checksum. Bit by bit: a table would cost more flash than the time is
/// worth.
pub fn crc32(crc: u32, bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// The checksum of a file: of all its bytes but those that hold it.
pub(crate) fn file_crc(bytes: &[u8]) -> u32 {
    let (before, after) = bytes.split_at(bytes.len().min(header::CRC32.start));
    let after = part(after, header::CRC32.len()..);
    !crc32(!0, before.iter().chain(after).copied())
}

/// The offset of a section behind `len` bytes.
pub(crate) const fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// The offset of the entry of layer `index`.
pub(crate) const fn entry_at(index: usize) -> usize {
    header::LEN + entry::LEN * index
}

#[cfg(test)]
mod tests {
    use core::ops::Range;

    use super::field::{critic, entry, header};
    use super::{aligned, crc32, entry_at, file_crc, is_control, read_header};
    use crate::error::FileError;

    const FILE: &[u8] = include_bytes!("../fuzz/seeds/rich.gan");

    fn ensure_tiled(fields: &[Range<usize>], len: usize) {
        let ends = fields.iter().map(|field| field.end);
        let starts = fields.iter().map(|field| field.start);
        assert!(starts.eq([0].into_iter().chain(ends.take(fields.len() - 1))));
        assert_eq!(fields.last().map(|field| field.end), Some(len));
    }

    #[test]
    fn fields_follow_each_other_without_a_gap() {
        use header as h;
        let first = [h::MAGIC, h::VERSION, h::LAYER_COUNT, h::FILE_LEN, h::CRC32];
        let second = [h::LATENT_LEN, h::CLASS_COUNT, h::STEPS, h::SEED];
        let third = [h::TEXT_LEN, h::HEADER_LEN, h::VETTED_SEEDS, h::CRITIC];
        ensure_tiled(&[&first[..], &second, &third].concat(), header::LEN);
        use entry as e;
        let first = [e::OPERATOR, e::LAYOUT, e::ACTIVATION, e::WINDOW, e::CLAMP];
        let zero_points = [e::PRE_ACTIVATION_ZERO_POINT, e::OUTPUT_ZERO_POINT];
        let second = [e::FUNCTION, e::RESERVED, e::INPUT_SHAPE, e::OUTPUT_SHAPE];
        let third = [
            e::PRE_ACTIVATION_SCALE,
            e::OUTPUT_SCALE,
            e::WEIGHTS,
            e::BIASES,
        ];
        let fourth = [
            e::MANTISSAS,
            e::SHIFTS,
            e::TABLE,
            e::ZERO_POINT_CORRECTIONS,
            e::SLOPE,
        ];
        let all = [&first[..], &zero_points, &second, &third, &fourth].concat();
        ensure_tiled(&all, entry::LEN);
        ensure_tiled(
            &[critic::HALVED, critic::PASSING, critic::RESERVED],
            critic::LEN,
        );
    }

    #[test]
    fn the_checksum_is_the_standard_one_but_for_itself() {
        assert_eq!(!crc32(!0, b"123456789".iter().copied()), 0xCBF4_3926);
        let mut file = FILE.to_vec();
        assert_eq!(file_crc(&file).to_le_bytes(), file[12..16]);
        file[13] ^= 1;
        assert_eq!(file_crc(&file), file_crc(FILE));
        assert_eq!([0, 1, 16, 17].map(aligned), [0, 16, 16, 32]);
        assert_eq!([entry_at(0), entry_at(2)], [48, 176]);
    }

    #[test]
    fn controls_are_no_letters() {
        assert!(
            "\n\u{7f}\u{85}\u{200b}\u{202e}\u{feff}\u{e0041}"
                .chars()
                .all(is_control)
        );
        assert!(!"aé 漢\u{200c}\u{200d}\u{2010}😀".chars().any(is_control));
    }

    #[test]
    fn a_header_is_refused_for_what_is_wrong_with_it() {
        let error = |bytes: &[u8]| read_header(bytes).err();
        assert_eq!(error(FILE), None);
        assert_eq!(error(b"GAN7"), Some(FileError::BadMagic));
        let (need_bytes, have_bytes) = (48, 4);
        let short = FileError::WrongLength {
            need_bytes,
            have_bytes,
        };
        assert_eq!(error(b"GAN8"), Some(short));
        let mut file = FILE.to_vec();
        file[4] = 9;
        let newer = FileError::UnsupportedVersion {
            found: 9,
            newest: 4,
        };
        assert_eq!(error(&file), Some(newer));
        file.copy_from_slice(FILE);
        file[20] ^= 1;
        assert!(matches!(error(&file), Some(FileError::BadCrc { .. })));
    }
}
