//! Independent references: plain loops that share no code with what they check.

/// Geometry of a convolution or transposed convolution, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Height and width of the small map (a transposed convolution's input).
    pub small: [usize; 2],
    /// Side of the kernel.
    pub kernel: usize,
    /// Big pixels per small pixel.
    pub stride: usize,
    /// Top, left, bottom, right: cut off the big map, or padded to it.
    pub margin: [usize; 4],
    /// Channels of the small map.
    pub c_small: usize,
    /// Channels of the big map.
    pub c_big: usize,
}

impl Case {
    /// Height and width of the big map.
    pub fn big(&self) -> [usize; 2] {
        let side = |i: usize| {
            (self.small[i] - 1) * self.stride + self.kernel - self.margin[i] - self.margin[i + 2]
        };
        [side(0), side(1)]
    }

    /// Calls `f(small pixel, tap, big pixel)` for every tap that lands inside.
    pub fn each_tap(&self, mut f: impl FnMut(usize, usize, usize)) {
        let big = self.big();
        for sy in 0..self.small[0] {
            for sx in 0..self.small[1] {
                for ky in 0..self.kernel {
                    for kx in 0..self.kernel {
                        let y = (sy * self.stride + ky) as i64 - self.margin[0] as i64;
                        let x = (sx * self.stride + kx) as i64 - self.margin[1] as i64;
                        if y >= 0 && x >= 0 && y < big[0] as i64 && x < big[1] as i64 {
                            f(
                                sy * self.small[1] + sx,
                                ky * self.kernel + kx,
                                y as usize * big[1] + x as usize,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// The cases that implementations get wrong.
pub fn cases() -> Vec<(&'static str, Case)> {
    let case = |small, kernel, stride, margin, c_small, c_big| Case {
        small,
        kernel,
        stride,
        margin,
        c_small,
        c_big,
    };
    vec![
        ("k4 s2 p1", case([3, 4], 4, 2, [1, 1, 1, 1], 5, 3)),
        ("k5 s2 Keras SAME", case([3, 3], 5, 2, [1, 1, 2, 2], 2, 3)),
        (
            "k5 s2 PyTorch p2 op1",
            case([3, 3], 5, 2, [2, 2, 1, 1], 3, 2),
        ),
        ("k3 s1 p1", case([4, 5], 3, 1, [1, 1, 1, 1], 6, 1)),
        ("k5 s1 SAME", case([4, 3], 5, 1, [2, 2, 2, 2], 3, 4)),
        ("k3 s2 p1 op1", case([3, 2], 3, 2, [1, 1, 0, 0], 4, 5)),
        ("k5 s3 p1", case([3, 3], 5, 3, [1, 1, 1, 1], 2, 2)),
        ("k2 s3, holes", case([3, 3], 2, 3, [0, 0, 0, 0], 3, 2)),
        ("1x1 input", case([1, 1], 4, 2, [1, 1, 1, 1], 7, 3)),
        ("1x1 to 1x1", case([1, 1], 3, 1, [1, 1, 1, 1], 2, 2)),
        ("1 channel", case([4, 4], 4, 2, [1, 1, 1, 1], 1, 1)),
        ("all crops differ", case([4, 4], 6, 2, [0, 1, 2, 3], 3, 3)),
    ]
}

/// Transposed convolution in scatter form. *Shapes*: `x` `[small, c_small]`, `w`
/// `[c_small, taps, c_big]`, result `[big, c_big]`.
pub fn conv_transpose(case: &Case, x: &[f64], w: &[f64]) -> Vec<f64> {
    let taps = case.kernel * case.kernel;
    let mut y = vec![0.0; case.big()[0] * case.big()[1] * case.c_big];
    case.each_tap(|small, tap, big| {
        for i in 0..case.c_small {
            for o in 0..case.c_big {
                y[big * case.c_big + o] +=
                    x[small * case.c_small + i] * w[(i * taps + tap) * case.c_big + o];
            }
        }
    });
    y
}

/// Convolution. *Shapes*: `x` `[big, c_big]`, `w` `[taps, c_big, c_small]`, result
/// `[small, c_small]`.
pub fn conv(case: &Case, x: &[f64], w: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; case.small[0] * case.small[1] * case.c_small];
    case.each_tap(|small, tap, big| {
        for i in 0..case.c_big {
            for o in 0..case.c_small {
                y[small * case.c_small + o] +=
                    x[big * case.c_big + i] * w[(tap * case.c_big + i) * case.c_small + o];
            }
        }
    });
    y
}

/// `MultiplyByQuantizedMultiplier` with double rounding, from its definition: the product
/// over 2^31 rounded half up, then over 2^right rounded half away from zero.
pub fn requantize(acc: i32, mantissa: i32, shift: i32) -> i32 {
    let shifted = acc.wrapping_mul(1 << shift.max(0));
    let product = i128::from(shifted) * i128::from(mantissa);
    let high = (product + (1 << 30))
        .div_euclid(1 << 31)
        .min(i128::from(i32::MAX));
    let right = (-shift).max(0);
    if right == 0 {
        return high as i32;
    }
    let magnitude = (high.abs() + (1 << (right - 1))) >> right;
    (magnitude * high.signum()) as i32
}

/// Reproducible noise for tests: a 64-bit linear congruential generator.
pub struct Noise(pub u64);

impl Noise {
    /// The next 31 bits.
    pub fn next_bits(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99_991);
        (self.0 >> 33) as u32
    }

    /// From -1 to 1.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.next_bits()) / f64::from(1u32 << 30) - 1.0
    }

    /// `n` numbers from -1 to 1.
    pub fn units(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.unit()).collect()
    }
}
