//! Any bytes, as they are and with length and checksum put right: an error, or a model that
//! draws the same image in every way.
#![no_main]

use gan_core::format::crc32;
use gan_core::ops::kernels::{Dsp, Packed};
use gan_core::{Mode, Model};
use libfuzzer_sys::fuzz_target;

/// Beyond these a model is not drawn.
const MAX_WORDS: usize = 1 << 18;
const MAX_MACS: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    draw(bytes);
    let mut sealed = bytes.to_vec();
    if let Some(place) = sealed.get_mut(8..12) {
        place.copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    }
    if sealed.len() >= 16 {
        let crc = !crc32(!0, sealed[..12].iter().chain(&sealed[16..]).copied());
        sealed[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    draw(&sealed);
});

fn draw(bytes: &[u8]) {
    let Ok(model) = Model::parse(bytes) else {
        return;
    };
    let words = [Mode::Streamed, Mode::WholeLayers].map(|mode| model.required_words(mode));
    let macs: u64 = model.layers().iter().map(|layer| layer.mac_count()).sum();
    if words[0].max(words[1]) > MAX_WORDS || macs > MAX_MACS {
        return;
    }
    let class = (model.class_count() > 0).then(|| model.class_count() - 1);
    let mut input = vec![0; model.input_len()];
    let seed = model.next_seed(class, 1);
    model.fill_input(seed, class, &mut input).expect("an input of its length");
    let mut arena = vec![0; words[0]];
    let mut seen = vec![0; model.critic().map_or(0, |critic| critic.input_len())];
    let mut picture = Vec::new();
    let taken = model.run(&input, &mut arena, |row, values| {
        picture.extend_from_slice(values);
        if let Some(critic) = model.critic() {
            critic.take_row(row, values, &mut seen);
        }
    });
    taken.expect("an arena of its size");
    if let Some(critic) = model.critic() {
        critic.score(&seen, &mut arena).expect("the arena is its, too");
    }
    let mut whole = Vec::new();
    let observed = model.run_observed(&input, &mut vec![0; words[1]], |_, values| {
        whole = values.to_vec();
    });
    observed.expect("an arena of its size");
    assert_eq!(picture, whole);
    for packed in [true, false] {
        let mut other = Vec::new();
        let take = |_, row: &[i8]| other.extend_from_slice(row);
        let drawn = match packed {
            true => model.run_with::<Packed>(&input, &mut arena, take),
            false => model.run_with::<Dsp>(&input, &mut arena, take),
        };
        drawn.expect("an arena of its size");
        assert_eq!(picture, other);
    }
}
