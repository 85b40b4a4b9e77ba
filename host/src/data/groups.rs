//! Groups of images that look alike, as classes for a set that has none.
//!
//! A generator that is told which group to draw leaves out fewer kinds of images (Liu et al.
//! 2020, self-conditioned GANs).

use rayon::prelude::*;

use super::likeness::{distance, thumbnail};
use super::{Dataset, Images, MAX_CLASSES};
use crate::random::{self, Purpose};

/// Fewest images of a group that is made without being asked for.
const GROUP_IMAGES: usize = 20;
/// Most groups that are made without being asked for.
const MOST_GROUPS: usize = 14;
/// Images by which centres are found.
const SEARCHED: usize = 3000;
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
    /// Makes classes of `count` groups of training images that look alike, at least one and at
    /// most [`MAX_CLASSES`] or one for each image. Held-out images get no classes.
    pub fn group(&mut self, count: usize) {
        let count = count.clamp(1, MAX_CLASSES).min(self.train.len());
        self.train.labels = groups(&self.train, count);
        self.held_out.labels.clear();
        self.class_names = (0..count).map(|group| format!("group {group}")).collect();
    }

    /// The same images without classes.
    pub fn without_classes(&self) -> Self {
        let mut dataset = self.clone();
        dataset.train.labels.clear();
        dataset.held_out.labels.clear();
        dataset.class_names.clear();
        dataset
    }
}

/// The group of each image, numbered from the darkest group on. *Method*: k-means over
/// thumbnails with groups of equal size, or of one image more; the best of several starts, the
/// same on each call.
fn groups(images: &Images, count: usize) -> Vec<u8> {
    if count == 0 {
        return Vec::new();
    }
    let points: Vec<_> = (0..images.len()).map(|i| thumbnail(images, i)).collect();
    let step = points.len().div_ceil(SEARCHED.max(2 * count));
    let searched: Vec<_> = points.iter().step_by(step).cloned().collect();
    let found = (0..STARTS).into_par_iter().map(|start| {
        let mut rng = random::stream(0, Purpose::Groups, start);
        let first = random::permutation(&mut rng, searched.len());
        let first = first.iter().take(count);
        let mut centres: Vec<_> = first.map(|&i| searched[i as usize].clone()).collect();
        let mut group_of = Vec::new();
        for _ in 0..ROUNDS {
            group_of = assigned(&searched, &centres);
            for (group, centre) in (0..).zip(&mut centres) {
                *centre = mean(&searched, &group_of, group);
            }
        }
        let distances = searched.iter().zip(&group_of);
        let squares = distances.map(|(point, &group)| {
            f64::from(distance(point, &centres[usize::from(group)])).powi(2)
        });
        (squares.sum::<f64>(), centres)
    });
    let best = found.min_by(|a, b| a.0.total_cmp(&b.0));
    let (_, mut centres) = best.unwrap_or_default();
    let brightness = |centre: &Vec<f32>| centre.iter().sum::<f32>();
    centres.sort_by(|a, b| brightness(a).total_cmp(&brightness(b)));
    assigned(&points, &centres)
}

/// The group of each point: of the nearest centre whose group is not full. Points for which the
/// nearest centre matters most choose first.
fn assigned(points: &[Vec<f32>], centres: &[Vec<f32>]) -> Vec<u8> {
    let mut choices: Vec<_> = points
        .iter()
        .enumerate()
        .map(|(point, values)| {
            let distances: Vec<f32> = centres.iter().map(|c| distance(values, c)).collect();
            let mut near: Vec<u8> = (0..).take(centres.len()).collect();
            let apart = |group: u8| distances[usize::from(group)];
            near.sort_by(|&a, &b| apart(a).total_cmp(&apart(b)));
            let margin = apart(near[0]) - near.get(1).map_or(0.0, |&second| apart(second));
            (margin, point, near)
        })
        .collect();
    choices.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (least, mut larger) = (points.len() / centres.len(), points.len() % centres.len());
    let mut sizes = vec![0; centres.len()];
    let mut group_of = vec![0; points.len()];
    for (_, point, near) in choices {
        let most = least + usize::from(larger > 0);
        let free = near.iter().find(|&&group| sizes[usize::from(group)] < most);
        let group = free.copied().unwrap_or(0);
        let size = &mut sizes[usize::from(group)];
        *size += 1;
        larger -= usize::from(*size > least);
        group_of[point] = group;
    }
    group_of
}

/// The mean of the points of a group.
fn mean(points: &[Vec<f32>], group_of: &[u8], group: u8) -> Vec<f32> {
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
