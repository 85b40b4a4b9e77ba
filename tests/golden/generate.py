"""Prints kernels.json: golden vectors of the integer layers.

Python integers only, after TensorFlow Lite's int8 specification; shares nothing with the
Rust code. Run by `cargo tools golden`.
"""

import json

CASES = [  # small h, w, kernel, stride, crop top, left, bottom, right, c_in, c_out
    ("k4 s2 p1", 3, 4, 4, 2, 1, 1, 1, 1, 5, 3),
    ("k5 s2 Keras SAME", 3, 3, 5, 2, 1, 1, 2, 2, 2, 3),
    ("k5 s2 PyTorch p2 op1", 3, 3, 5, 2, 2, 2, 1, 1, 3, 2),
    ("k3 s1 p1", 4, 5, 3, 1, 1, 1, 1, 1, 6, 1),
    ("k5 s1 SAME", 4, 3, 5, 1, 2, 2, 2, 2, 3, 4),
    ("k3 s2 p1 op1", 3, 2, 3, 2, 1, 1, 0, 0, 4, 5),
    ("k5 s3 p1", 3, 3, 5, 3, 1, 1, 1, 1, 2, 2),
    ("k2 s3", 3, 3, 2, 3, 0, 0, 0, 0, 3, 2),
    ("1x1 input", 1, 1, 4, 2, 1, 1, 1, 1, 7, 3),
    ("1 channel", 4, 4, 4, 2, 1, 1, 1, 1, 1, 1),
]


def noise(seed):
    while True:
        seed = (seed * 1103515245 + 12345) % 2**31
        yield seed >> 8


def high_mul(a, b):
    """SaturatingRoundingDoublingHighMul for b > 0."""
    product = a * b
    nudge = 2**30 if product >= 0 else 1 - 2**30
    total = product + nudge
    quotient = abs(total) >> 31
    return quotient if total >= 0 else -quotient


def rounding_shift(x, exponent):
    """RoundingDivideByPOT."""
    remainder = x & ((1 << exponent) - 1)
    threshold = (((1 << exponent) - 1) >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def requantize(acc, mantissa, shift, zero_point):
    left, right = max(shift, 0), max(-shift, 0)
    value = rounding_shift(high_mul(acc << left, mantissa), right) + zero_point
    return max(-128, min(127, value))


def conv_transpose(case, seed):
    name, h, w, k, s, top, left, bottom, right, c_in, c_out = case
    draw = noise(seed)
    ints = lambda n, low, high: [low + next(draw) % (high - low + 1) for _ in range(n)]
    latents = ints(h * w * c_in, -128, 127)
    weights = ints(c_out * k * k * c_in, -127, 127)
    bias = ints(c_out, -20000, 20000)
    mantissas = ints(c_out, 2**30, 2**30 + 2**22)
    shifts = ints(c_out, -9, -6)
    zero_in, zero_out = ints(2, -128, 127)
    x = [max(-128, min(127, v + zero_in)) for v in latents]
    out_h, out_w = (h - 1) * s + k - top - bottom, (w - 1) * s + k - left - right
    y = []
    for oy in range(out_h):
        for ox in range(out_w):
            for o in range(c_out):
                acc = bias[o]
                for iy in range(h):
                    for ix in range(w):
                        ky, kx = oy + top - iy * s, ox + left - ix * s
                        if 0 <= ky < k and 0 <= kx < k:
                            for i in range(c_in):
                                weight = weights[((o * k + ky) * k + kx) * c_in + i]
                                acc += (x[(iy * w + ix) * c_in + i] - zero_in) * weight
                y.append(requantize(acc, mantissas[o], shifts[o], zero_out))
    return {
        "name": name,
        "window": [k, s, top, left, bottom, right],
        "input_shape": [h, w, c_in],
        "output_shape": [out_h, out_w, c_out],
        "input_zero_point": zero_in,
        "output_zero_point": zero_out,
        "latents": latents,
        "weights": weights,
        "bias": bias,
        "mantissas": mantissas,
        "shifts": shifts,
        "output": y,
    }


vectors = [conv_transpose(case, 17 * i + seed) for i, case in enumerate(CASES) for seed in (1, 2)]
lines = ",\n".join(json.dumps(vector) for vector in vectors)
print("[\n" + lines + "\n]")
