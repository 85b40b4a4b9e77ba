//! Groups of images that look alike, as classes for a set that has none.
//!
//! A generator that is told which group to draw leaves out fewer kinds of images (Liu et al.
//! 2020, self-conditioned GANs).

use rayon::prelude::*;

use super::likeness::{distance, thumbnail};
use super::{Dataset, Images};
use crate::random::{self, Purpose};

/// Fewest images of a group.
const GROUP_IMAGES: usize = 20;
/// Most groups that are made without being asked for.
const MOST_GROUPS: usize = 14;
/// Times that the search begins with other centres.
const STARTS: u64 = 8;
/// Times that the centres move to the means of their groups.
const ROUNDS: usize = 20;

/// The number of groups that suits so many images; 0 where there are too few.
pub fn suitable_groups(images: usize) -> usize {
    match (images / GROUP_IMAGES).min(MOST_GROUPS) {
        0 | 1 => 0,
        groups => groups,
    }
}

impl Dataset {
    /// Makes classes of `count` groups of training images that look alike. Held-out images get
    /// none.
    pub fn group(&mut self, count: usize) {
        self.train.labels = groups(&self.train, count);
        self.held_out.labels.clear();
        self.class_names = (1..=count).map(|group| format!("group {group}")).collect();
    }
}

/// The group of each image, numbered from the darkest one on. *Method*: k-means over thumbnails
/// with groups of equal size; the best of several starts, the same on each call.
fn groups(images: &Images, count: usize) -> Vec<u8> {
    let points: Vec<_> = (0..images.len()).map(|i| thumbnail(images, i)).collect();
    let found = (0..STARTS).into_par_iter().map(|start| {
        let mut rng = random::stream(0, Purpose::Groups, start);
        let first = random::permutation(&mut rng, points.len());
        let first = first.iter().take(count);
        let mut centres: Vec<_> = first.map(|&i| points[i as usize].clone()).collect();
        let mut group_of = Vec::new();
        for _ in 0..ROUNDS {
            group_of = assigned(&points, &centres);
            for (group, centre) in centres.iter_mut().enumerate() {
                *centre = mean(&points, &group_of, group);
            }
        }
        let distances = points.iter().zip(&group_of);
        let spread: f64 = distances
            .map(|(point, &group)| f64::from(distance(point, &centres[group])).powi(2))
            .sum();
        (spread, centres, group_of)
    });
    let best = found.min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, centres, group_of) = best.unwrap_or_default();
    let brightness = |group: &usize| centres[*group].iter().sum::<f32>();
    let mut order: Vec<usize> = (0..centres.len()).collect();
    order.sort_by(|a, b| brightness(a).total_cmp(&brightness(b)));
    let number = |group| order.iter().position(|&other| other == group);
    let numbers = group_of
        .iter()
        .map(|&group| number(group).unwrap_or(0) as u8);
    numbers.collect()
}

/// The group of each point: of the nearest centre that is not full. Points for which the nearest
/// centre matters most choose first.
fn assigned(points: &[Vec<f32>], centres: &[Vec<f32>]) -> Vec<usize> {
    let mut choices: Vec<_> = points
        .iter()
        .enumerate()
        .map(|(point, values)| {
            let centres = centres.iter().enumerate();
            let mut near: Vec<(f32, usize)> = centres
                .map(|(group, centre)| (distance(values, centre), group))
                .collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0));
            let margin = near[0].0 - near.get(1).map_or(0.0, |second| second.0);
            (margin, point, near)
        })
        .collect();
    choices.sort_by(|a, b| a.0.total_cmp(&b.0));
    let room = points.len().div_ceil(centres.len());
    let mut sizes = vec![0; centres.len()];
    let mut group_of = vec![0; points.len()];
    for (_, point, near) in choices {
        let free = near.iter().find(|(_, group)| sizes[*group] < room);
        let group = free.map_or(0, |(_, group)| *group);
        sizes[group] += 1;
        group_of[point] = group;
    }
    group_of
}

/// The mean of the points of a group.
fn mean(points: &[Vec<f32>], group_of: &[usize], group: usize) -> Vec<f32> {
    let of_group = points.iter().zip(group_of).filter(|(_, g)| **g == group);
    let mut sums = vec![0.0; points[0].len()];
    let mut count = 0f32;
    for (point, _) in of_group {
        sums.iter_mut().zip(point).for_each(|(sum, v)| *sum += v);
        count += 1.0;
    }
    sums.iter_mut().for_each(|sum| *sum /= count.max(1.0));
    sums
}
