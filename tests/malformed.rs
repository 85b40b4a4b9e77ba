//! Changes to a good file, one by one, and what has to be found wrong.

use gan_core::ModelError as E;
use gan_core::error::{
    CriticError as C, FileError as F, LayerError as L, SectionError as S, SeedsError,
};

use crate::files::{rich, stretched};
use crate::format::fix_crc;

/// A file, what is wrong with it, and what has to be found.
pub struct Malformed {
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: E,
}

/// Changes to [`rich`], with length and checksum put right.
struct MalformedFiles(Vec<Malformed>);

/// Where the entry of a layer, the critic's two counted on, begins.
fn entry(layer: usize) -> usize {
    match layer {
        0..3 => 48 + 64 * layer,
        _ => field(44) + 16 + 64 * (layer - 3),
    }
}

/// The `u32` of [`rich`] at a place.
fn field(at: usize) -> usize {
    u32::from_le_bytes(rich()[at..at + 4].try_into().unwrap()) as usize
}

/// Where the section begins whose offset a layer has at `field`.
fn section(layer: usize, at: usize) -> usize {
    field(entry(layer) + at)
}

/// What is wrong with a layer, the critic's two counted on.
fn of(layer: usize, error: impl Into<L>) -> E {
    let error = error.into();
    match layer {
        0..3 => E::Layer {
            index: layer,
            error,
        },
        _ => E::Critic(C::Layer {
            index: layer - 3,
            error,
        }),
    }
}

fn of_seeds(error: impl Into<SeedsError>) -> E {
    E::Seeds(error.into())
}

impl MalformedFiles {
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>), expected: E) {
        let mut bytes = rich().to_vec();
        change(&mut bytes);
        let len = bytes.len() as u32;
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        fix_crc(&mut bytes);
        let name = name.to_owned();
        self.0.push(Malformed {
            name,
            bytes,
            expected,
        });
    }

    /// Sets bytes at a place.
    fn set(&mut self, name: &str, at: usize, values: &[u8], expected: E) {
        let set = |bytes: &mut Vec<u8>| bytes[at..at + values.len()].copy_from_slice(values);
        self.change(name, set, expected);
    }

    fn header(&mut self) {
        let (text, text_bytes, len) = (48 + 3 * 64, field(32), rich().len());
        self.set("magic", 3, b"9", E::File(F::BadMagic));
        for found in [2, 5] {
            let expected = E::File(F::UnsupportedVersion { found, newest: 4 });
            self.set(
                &format!("version {found}"),
                4,
                &found.to_le_bytes(),
                expected,
            );
        }
        let expected = of(0, S::NotZero { at: entry(0) + 13 });
        self.set("functions in version 3", 4, &[3], expected);
        self.set("no layer", 6, &[0], E::File(F::LayerCount { found: 0 }));
        self.set("17 layers", 6, &[17], E::File(F::LayerCount { found: 17 }));
        let expected = E::File(F::HeaderLength {
            found: 48 + 64 * 4,
            need: 48 + 64 * 3,
        });
        self.set("header longer", 36, &[48, 1], expected);
        let expected = E::File(F::HeaderLength {
            found: 48 + 64 * 3,
            need: 48 + 64 * 2,
        });
        self.set("a layer less", 6, &[2], expected);
        let expected = E::File(F::TextLength {
            need_bytes: u32::MAX as usize,
            left_bytes: len - text,
        });
        self.set("text to the end of memory", 32, &[255; 4], expected);
        self.set(
            "text of half a character",
            text,
            &[0xC3],
            E::File(F::NotUtf8),
        );
        self.set(
            "3 classes, 2 labels",
            18,
            &[3],
            E::File(F::LineCount { found: 4, need: 5 }),
        );
        self.set(
            "65535 classes",
            18,
            &[255; 2],
            E::File(F::LineCount {
                found: 4,
                need: 65_537,
            }),
        );
        // As far as into the weights, whose first byte is made a letter.
        let first = section(0, 36);
        let overlap = |bytes: &mut Vec<u8>| {
            bytes[first] = b'3';
            let len = (first + 1 - text) as u32;
            bytes[32..36].copy_from_slice(&len.to_le_bytes());
        };
        // Zeros between text and weights are no text.
        let expected = E::File(F::ControlCharacter { at: text_bytes });
        self.change("text over weights", overlap, expected);
        assert!(text + text_bytes < first, "a gap");
        self.set(
            "a gap is used",
            text + text_bytes,
            &[1],
            of(
                0,
                S::NotZero {
                    at: text + text_bytes,
                },
            ),
        );
        self.set("no latent", 16, &[0], of(0, L::InputShape));
    }

    fn entries(&mut self) {
        let at = entry;
        let unknown = |layer, at, found| of(layer, L::UnknownCode { at, found });
        self.set("operator", at(1), &[255], unknown(1, 0, 255));
        self.set("layout", at(0) + 1, &[0], unknown(0, 1, 0));
        self.set("4-bit convolution", at(1) + 1, &[2], unknown(1, 1, 2));
        self.set("activation", at(2) + 2, &[255], unknown(2, 2, 255));
        self.set(
            "dense stride",
            at(0) + 4,
            &[1],
            of(0, S::NotZero { at: at(0) + 4 }),
        );
        self.set(
            "reserved",
            at(1) + 15,
            &[1],
            of(1, S::NotZero { at: at(1) + 15 }),
        );
        self.set(
            "a slope of ReLU",
            at(1) + 63,
            &[1],
            of(1, S::NotZero { at: at(1) + 63 }),
        );
        self.set(
            "table of a clamp",
            at(1) + 52,
            &[16],
            of(1, S::NotZero { at: at(1) + 52 }),
        );
        self.set(
            "dense zero-point corrections",
            at(0) + 56,
            &[16],
            of(0, S::NotZero { at: at(0) + 56 }),
        );
        for (name, i) in ["height", "width", "channels"].into_iter().zip(0..) {
            let name = format!("no {name}");
            self.set(&name, at(1) + 16 + 2 * i, &[0, 0], of(1, L::MapSize));
            self.set(&name, at(1) + 22 + 2 * i, &[0, 0], of(1, L::MapSize));
        }
        self.set("2^48 values", at(0) + 22, &[255; 6], of(0, L::MapSize));
        let expected = of(0, L::MapSize);
        self.set(
            "2^24 values and more",
            at(0) + 22,
            &[0, 16, 0, 16, 2, 0],
            expected,
        );
        self.set("kernel 0", at(1) + 3, &[0], of(1, L::Window));
        self.set("stride 0", at(2) + 4, &[0], of(2, L::Window));
        self.set("crops", at(1) + 6, &[255], of(1, L::Crops));
        self.set("crop", at(1) + 5, &[5], of(1, L::Crops));
        self.set("a row more", at(2) + 22, &[9], of(2, L::OutputShape));
        self.set("a crop less", at(2) + 8, &[0], of(2, L::OutputShape));
        // As many values as the next layer reads, in another shape.
        self.set(
            "broken chain",
            at(0) + 22,
            &[1, 0, 4, 0],
            of(1, L::InputShape),
        );
        self.set("clamp", at(1) + 9, &[4, 3], of(1, L::Clamp));
        self.set("clamp of a table", at(2) + 9, &[0x81], of(2, L::Clamp));
        self.set(
            "zero point",
            at(2) + 11,
            &[7],
            of(2, L::ZeroPoint { found: 7 }),
        );
        self.set("another output", at(0) + 12, &[0], of(0, L::OutputQuant));
        self.set("another scale", at(1) + 32, &[1], of(1, L::OutputQuant));
        for scale in [0.0, -0.25, f32::NAN, f32::INFINITY] {
            let name = format!("scale {scale}");
            self.set(&name, at(2) + 28, &scale.to_le_bytes(), of(2, L::Scale));
            self.set(&name, at(2) + 32, &scale.to_le_bytes(), of(2, L::Scale));
        }
    }

    fn functions(&mut self) {
        let at = entry;
        let unknown = L::UnknownCode { at: 13, found: 255 };
        self.set("function", at(1) + 13, &[255], of(1, unknown));
        for (layer, function) in [(0, 4), (0, 5), (1, 1), (1, 4)] {
            let name = format!("function {function} of a clamp");
            self.set(&name, at(layer) + 13, &[function], of(layer, L::Function));
        }
        let slope = of(0, S::NotZero { at: at(0) + 63 });
        self.set("a slope of none", at(0) + 63, &[0x3e], slope);
        self.set(
            "leaky ReLU of a clamp",
            at(1) + 13,
            &[3],
            of(1, L::Function),
        );
        for function in [1, 2] {
            let change = |bytes: &mut Vec<u8>| {
                bytes[at(2) + 13] = function;
                bytes[at(2) + 60..at(2) + 64].fill(0);
            };
            let name = format!("function {function} of a table");
            self.change(&name, change, of(2, L::Function));
        }
        for slope in [1.0f32, 2.0, -0.0, -0.25, f32::NAN, f32::INFINITY] {
            let name = format!("slope {slope}");
            self.set(&name, at(2) + 60, &slope.to_le_bytes(), of(2, L::Slope));
        }
    }

    fn sections(&mut self) {
        let names = [
            "weights",
            "biases",
            "mantissas",
            "shifts",
            "table",
            "zero-point corrections",
        ];
        for (name, at) in names.into_iter().zip((36..60).step_by(4)) {
            for layer in [1, 2] {
                if layer == 1 && name == "table" {
                    continue;
                }
                let need = section(layer, at);
                let others = [
                    0,
                    16,
                    need - 16,
                    need + 1,
                    need + 16,
                    rich().len(),
                    0xFFFF_FFF0,
                ];
                for found in others {
                    let name = format!("{name} at {found:#x}");
                    let expected = of(layer, S::Offset { found, need });
                    self.set(
                        &name,
                        entry(layer) + at,
                        &(found as u32).to_le_bytes(),
                        expected,
                    );
                }
            }
        }
        let left_bytes = rich().len() - section(1, 36);
        let need_bytes = 255 * 255 * 5 * 4;
        let kernel = |bytes: &mut Vec<u8>| {
            let window = [255, 2, 126, 126, 127, 127];
            bytes[entry(1) + 3..entry(1) + 9].copy_from_slice(&window);
        };
        let expected = of(
            1,
            S::Length {
                need_bytes,
                left_bytes,
            },
        );
        self.change("a kernel of 255", kernel, expected);
        let left_bytes = rich().len() - section(0, 36);
        let most = |bytes: &mut Vec<u8>| {
            let codes = [1, 1, 0, 255, 255, 127, 127, 127, 127];
            bytes[entry(0)..entry(0) + 9].copy_from_slice(&codes);
            let shapes = [1, 0, 1, 0, 255, 255, 1, 0, 1, 0, 255, 255];
            bytes[entry(0) + 16..entry(0) + 28].copy_from_slice(&shapes);
        };
        let need_bytes = u32::MAX as usize;
        let expected = of(
            0,
            S::Length {
                need_bytes,
                left_bytes,
            },
        );
        self.change("weights beyond 32 bits", most, expected);
        let at = section(1, 36) + 180;
        self.set("a gap between sections", at, &[1], of(1, S::NotZero { at }));
    }

    fn values(&mut self) {
        for mantissa in [1i32, (1 << 30) - 1, -1, i32::MIN] {
            let expected = of(1, L::Multiplier { channel: 2 });
            let at = section(1, 44) + 8;
            self.set(
                &format!("mantissa {mantissa}"),
                at,
                &mantissa.to_le_bytes(),
                expected,
            );
        }
        for shift in [31i8, -32, 127, -128] {
            let expected = of(2, L::Multiplier { channel: 1 });
            self.set(
                &format!("shift {shift}"),
                section(2, 48) + 1,
                &shift.to_le_bytes(),
                expected,
            );
        }
        for bias in [i32::MIN, i32::MAX, 1 << 30] {
            let expected = of(1, L::Overflow { channel: 4 });
            self.set(
                &format!("bias {bias}"),
                section(1, 40) + 16,
                &bias.to_le_bytes(),
                expected,
            );
        }
        let weight = |layer, index| of(layer, L::Weight { index });
        let at = |layer, index| section(layer, 36) + index;
        self.set("-128", at(1, 7), &[0x80], weight(1, 7));
        self.set("-8 in four bits, low", at(0, 3), &[0x18], weight(0, 3));
        self.set("-8 in four bits, high", at(0, 0), &[0x80], weight(0, 0));
        // Of 8 inputs 5 are there: the second quad's bytes hold its first, then three of filling.
        self.set("dense filling", at(0, 8 + 1), &[0x10], weight(0, 8 + 1));
        // Of 8 channels 5.
        self.set(
            "filled channel",
            at(2, 4 * 4 * 8 * 3 - 1),
            &[1],
            weight(2, 4 * 4 * 8 * 3 - 1),
        );
        let at = section(1, 56);
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
        self.change(
            "zero-point correction",
            flip,
            of(1, L::ZeroPointCorrection { index: 0 }),
        );
    }

    fn gate(&mut self) {
        // Over 70 lines: a table of malformed bytes.
        let (critic, seeds, len) = (field(44), field(40), rich().len());
        for found in [16, 40, critic - 16, critic + 1, len, 0xFFFF_FFF0] {
            let expected = S::Offset {
                found,
                need: critic,
            };
            let expected = E::Critic(C::Section(expected));
            self.set(
                "critic elsewhere",
                44,
                &(found as u32).to_le_bytes(),
                expected,
            );
        }
        for found in [16, critic, seeds + 4, 0xFFFF_FFFF] {
            let expected = of_seeds(S::Offset { found, need: seeds });
            self.set(
                "seeds elsewhere",
                40,
                &(found as u32).to_le_bytes(),
                expected,
            );
        }
        let expected = of_seeds(S::Offset {
            found: seeds,
            need: critic,
        });
        self.set("no critic before the seeds", 44, &[0; 4], expected);
        let expected = E::File(F::WrongLength {
            need_bytes: seeds_end(),
            have_bytes: len,
        });
        self.set("seeds that nobody names", 40, &[0; 4], expected);
        self.set(
            "halved",
            critic,
            &[2],
            E::Critic(C::UnknownCode { found: 2 }),
        );
        self.set(
            "reserved",
            critic + 15,
            &[1],
            E::Critic(C::Section(S::NotZero { at: critic + 15 })),
        );
        let expected = of(4, L::UnknownCode { at: 0, found: 1 });
        let convolution = [1, 1, 0, 1, 1];
        self.set("a convolution judges", entry(4), &convolution, expected);
        self.set("sees it whole", critic, &[0], of(3, L::InputShape));
        let expected = of(3, L::OutputShape);
        self.set(
            "hidden values in two columns",
            entry(3) + 24,
            &[2, 0, 3, 0],
            expected,
        );
        let expected = of(3, L::Weight { index: 0 });
        self.set("critic's weight", section(3, 36), &[0x80], expected);
        let seeds_len = |count: usize| 4 + 4 * count;
        for each in [4u32, 1 << 30, u32::MAX] {
            let need_bytes = seeds_len(each as usize * 2).min(u32::MAX as usize);
            let left_bytes = len - seeds;
            let expected = of_seeds(S::Length {
                need_bytes,
                left_bytes,
            });
            self.set(
                &format!("{each} seeds"),
                seeds,
                &each.to_le_bytes(),
                expected,
            );
        }
        let expected = of_seeds(SeedsError::Count {
            found: 0,
            class_count: 2,
        });
        self.set("no seeds", seeds, &[0; 4], expected);
        self.set(
            "twice a seed",
            seeds + 8,
            &[3],
            of_seeds(SeedsError::Order { index: 1 }),
        );
        self.set(
            "falling seeds",
            seeds + 4 + 16,
            &[1],
            of_seeds(SeedsError::Order { index: 4 }),
        );
        let expected = E::File(F::WrongLength {
            need_bytes: len,
            have_bytes: len.next_multiple_of(16) + 1,
        });
        self.change(
            "longer",
            |bytes| bytes.resize(len.next_multiple_of(16) + 1, 0),
            expected,
        );
        self.change(
            "a byte behind",
            |bytes| bytes.push(7),
            E::File(F::NotZero { at: len }),
        );
        let expected = of_seeds(S::Length {
            need_bytes: seeds_len(6),
            left_bytes: seeds_len(6) - 1,
        });
        self.change("shorter", |bytes| bytes.truncate(len - 1), expected);
    }
}

/// Where the critic's last section ends.
fn seeds_end() -> usize {
    // A shift for one output.
    section(4, 48) + 1
}

pub fn malformed_files() -> Vec<Malformed> {
    let mut files = MalformedFiles(Vec::new());
    files.header();
    files.entries();
    files.functions();
    files.sections();
    files.values();
    files.gate();
    let (bytes, error) = stretched(256, 255);
    let expected = E::Layer {
        index: 3,
        error: L::ArenaSize,
    };
    assert_eq!(error, Some(expected));
    let name = "more memory than 32 bits address".to_owned();
    files.0.push(Malformed {
        name,
        bytes,
        expected,
    });
    files.0
}
