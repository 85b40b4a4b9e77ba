//! Real files, changed at random with length and checksum put right: each is refused, or is a
//! model that draws; nothing panics, and nothing takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use flate2::Crc;
use gan_core::latent::Pcg32;
use gan_core::ops::kernels::{Dsp, Packed};
use gan_core::{Mode, Model};

use crate::files::{plain, rich};
use crate::format::file;
use crate::hostile::variant;
use crate::programs::found;

const TRIES: u32 = 100_000;

/// One in so many is of a model that ships, which takes its time.
const SHIPPED_EVERY: u32 = 100;

/// Beyond these a model is not drawn, only counted.
const MAX_WORDS: usize = 1 << 20;
const MAX_MACS: u64 = 2_000_000;

/// A megabyte's checks take a hundredth of this; the rest is for busy machines.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a file is changed.
type Change = fn(&mut Vec<u8>, &[u8], &mut Pcg32);

const CHANGES: [(&str, Change); 7] = [
    ("bits", |bytes, _, rng| {
        for _ in 0..1 + below(rng, 4) {
            let at = place(bytes, rng);
            bytes[at] ^= 1 << below(rng, 8);
        }
    }),
    ("bytes", |bytes, _, rng| {
        for _ in 0..1 + below(rng, 4) {
            let at = place(bytes, rng);
            let any = below(rng, 256) as u8;
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, any, any, any][below(rng, 8)];
        }
    }),
    ("fields", |bytes, _, rng| {
        let len = bytes.len() as u32;
        let at = place(bytes, rng) & !1;
        let old = bytes
            .get(at..at + 4)
            .map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap()));
        let near = old.wrapping_add(16 * below(rng, 5) as u32).wrapping_sub(32);
        let values = [
            0,
            1,
            16,
            near,
            near,
            len,
            len - 16,
            1 << 28,
            i32::MAX as u32,
            u32::MAX,
        ];
        let value = values[below(rng, values.len())].to_le_bytes();
        let width = 2 + 2 * below(rng, 2);
        bytes
            .iter_mut()
            .skip(at)
            .take(width)
            .zip(value)
            .for_each(|(to, v)| *to = v);
    }),
    ("lengths", |bytes, _, rng| {
        let len = below(rng, bytes.len() + 32);
        bytes.resize(len, 0);
    }),
    ("splices", |bytes, other, rng| {
        let (at, from) = (below(rng, bytes.len()), below(rng, other.len()));
        // Half of them keep every place, a quarter only the alignment.
        let (at, from) = match below(rng, 4) {
            0 => (at, from),
            1 => (at & !15, from & !15),
            _ => (at.min(other.len()), at.min(other.len())),
        };
        bytes.truncate(at);
        bytes.extend(&other[from..]);
    }),
    ("moves", |bytes, _, rng| {
        let words = [4, 16, 64][below(rng, 3)];
        let last = bytes.len() - words;
        let (from, to) = (
            place(bytes, rng).min(last) & !3,
            place(bytes, rng).min(last) & !3,
        );
        bytes.copy_within(from..from + words, to);
    }),
    ("insertions", |bytes, _, rng| {
        // A section is longer or shorter by 16 bytes, and every offset behind it moves along.
        let (at, is_longer) = (below(rng, bytes.len()) & !15, below(rng, 2) == 0);
        let moved = if is_longer { 16 } else { -16 };
        for field in (40..bytes.len().min(48 + 5 * 64) - 4).step_by(4) {
            let place = &mut bytes[field..field + 4];
            let offset = u32::from_le_bytes((&*place).try_into().unwrap());
            if (at as u32..1 << 20).contains(&offset) && offset % 16 == 0 {
                place.copy_from_slice(&offset.wrapping_add_signed(moved).to_le_bytes());
            }
        }
        match is_longer {
            true => drop(bytes.splice(at..at, [0; 16])),
            false => drop(bytes.drain(at..(at + 16).min(bytes.len()))),
        }
    }),
];

fn below(rng: &mut Pcg32, n: usize) -> usize {
    (rng.next_u32() >> 4) as usize % n
}

/// A place to change: every other time in header and layer table.
fn place(bytes: &[u8], rng: &mut Pcg32) -> usize {
    let table = bytes.len().min(48 + 4 * 64);
    let len = [table, bytes.len()][below(rng, 2)];
    below(rng, len)
}

/// Length and checksum, put right.
fn seal(bytes: &mut [u8]) {
    let len = bytes.len() as u32;
    if let Some(place) = bytes.get_mut(8..12) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    if bytes.len() >= 16 {
        let mut crc = Crc::new();
        crc.update(&bytes[..12]);
        crc.update(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.sum().to_le_bytes());
    }
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Refused(String),
    Drawn,
    TooLarge,
}

/// Parses and, within bounds, draws in every way: the same each time.
fn end(bytes: &[u8]) -> End {
    let start = Instant::now();
    let model = Model::parse(bytes);
    assert!(start.elapsed() < PATIENCE, "{:?} to parse", start.elapsed());
    let model = match model {
        Ok(model) => model,
        Err(error) => return End::Refused(variant(error)),
    };
    let [streamed, whole] = [Mode::Streamed, Mode::WholeLayers].map(|m| model.required_words(m));
    let macs: u64 = model.layers().iter().map(|layer| layer.mac_count()).sum();
    if streamed.max(whole) > MAX_WORDS || macs > MAX_MACS {
        return End::TooLarge;
    }
    let mut input = vec![0; model.input_len()];
    let class = (model.class_count() > 0).then_some(0);
    let seed = model.next_seed(class, 1);
    model.fill_input(seed, class, &mut input).unwrap();
    let mut arena = vec![0xAAAA_AAAA; streamed];
    let mut picture = Vec::new();
    let mut seen = vec![0; model.critic().map_or(0, |critic| critic.input_len())];
    let take = |row, values: &[i8]| {
        picture.extend_from_slice(values);
        if let Some(critic) = model.critic() {
            critic.take_row(row, values, &mut seen);
        }
    };
    model.run(&input, &mut arena, take).unwrap();
    assert_eq!(picture.len(), model.output_shape().len());
    if let Some(critic) = model.critic() {
        critic.score(&seen, &mut arena).unwrap();
    }
    let mut last = Vec::new();
    let observe = |_, values: &[i8]| last = values.to_vec();
    model
        .run_observed(&input, &mut vec![0; whole], observe)
        .unwrap();
    assert!(last == picture, "streamed and whole differ");
    let mut other = Vec::new();
    let take = |_, values: &[i8]| other.extend_from_slice(values);
    let run = if picture.len() % 2 == 0 {
        model.run_with::<Packed>(&input, &mut arena, take)
    } else {
        model.run_with::<Dsp>(&input, &mut arena, take)
    };
    run.unwrap();
    assert!(other == picture, "two sets of loops differ");
    End::Drawn
}

#[test]
fn a_hundred_thousand_mutations_are_refused_or_drawn() {
    let avatar = include_bytes!("../models/avatar.gan");
    let files = [rich(), rich(), plain(), file()];
    let mut rng = Pcg32::new(0x6761_6e38);
    let mut ends: BTreeMap<(&str, End), u32> = BTreeMap::new();
    let mut panics = Vec::new();
    for number in 0..TRIES {
        let (name, change) = CHANGES[below(&mut rng, CHANGES.len())];
        let mut pick = || files[below(&mut rng, files.len())];
        let (mut bytes, other) = match number % SHIPPED_EVERY {
            0 => (avatar.to_vec(), &avatar[..]),
            _ => (pick().to_vec(), pick()),
        };
        change(&mut bytes, other, &mut rng);
        seal(&mut bytes);
        match catch_unwind(AssertUnwindSafe(|| end(&bytes))) {
            Ok(end) => *ends.entry((name, end)).or_default() += 1,
            Err(_) => panics.push((number, name)),
        }
    }
    let count = |wanted: &dyn Fn(&str, &End) -> bool| -> u32 {
        let wanted = ends.iter().filter(|((name, end), _)| wanted(name, end));
        wanted.map(|(_, count)| count).sum()
    };
    let is_refused = |end: &End| matches!(end, End::Refused(_));
    let errors: BTreeSet<_> = ends
        .keys()
        .filter(|(_, end)| is_refused(end))
        .map(|(_, end)| end)
        .collect();
    let (drawn, large) = (
        count(&|_, end| *end == End::Drawn),
        count(&|_, end| *end == End::TooLarge),
    );
    let kinds = CHANGES.map(|(kind, _)| {
        let tried = count(&|name, _| name == kind);
        format!(
            "{kind} {tried} ({} refused)",
            count(&|name, end| name == kind && is_refused(end))
        )
    });
    let text = format!(
        "mutations: {TRIES} tried, {} refused by {} errors, {drawn} drawn, {large} too large to draw, \
         panics {}: {}",
        count(&|_, end| is_refused(end)),
        errors.len(),
        panics.len(),
        kinds.join(", ")
    );
    found("mutations", &text);
    assert!(panics.is_empty(), "number and kind: {panics:?}");
    assert!(
        drawn > 5_000 && errors.len() >= 25,
        "the changes are too rough or too fine"
    );
}
