//! A C99 header with the weights and an integer generator: no library, no allocation.

use std::fmt::Write as _;

use gan_core::latent::{NORMAL_QUANTILES, ONE_HOT};
use gan_core::{Activation, Model};

use super::graph::{Graph, GraphLayer, GraphOp, Int8Parameters};
use super::{ExportError, Format, Writer};

/// A C99 header.
pub const FORMAT: Format = Format {
    name: "c",
    about: "A C99 header with weights and code: integers only, no library, no allocation",
    writer: Writer::Code(|model, name| Ok(header(model, name)?.into_bytes())),
};

/// The header of a model; the picture of an input is the one that gan-core draws, bit by bit.
///
/// Its names begin with `gan_` and `name`, so that one program can hold several models. A second
/// model of one name ends the compilation.
pub fn header(model: &Model<'_>, name: &str) -> Result<String, ExportError> {
    let prefix = prefix(name);
    let body = body(&Graph::of_model(model)?, model.crc32()).replace("gan_", &prefix);
    let body = body.replace("GAN_", &prefix.to_ascii_uppercase());
    Ok(format!(
        "/* {}, trained on {}, {} steps, seed {}; CRC-32 of its .gan file {:08x}.\n\
         \x20* Made by `gan export --format c`. Integers only, no library, no allocation. */\n{body}",
        comment(model.name()),
        comment(model.dataset()),
        model.steps(),
        model.seed(),
        model.crc32(),
    ))
}

/// What the names of a model's header begin with: `gan_` and the name in lower case, where `_`
/// stands for what is neither a letter nor a digit of ASCII; `gan_model_` where it has none.
fn prefix(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        words.push("model");
    }
    format!("gan_{}_", words.join("_").to_ascii_lowercase())
}

/// The header behind its first comment, with the names of a model that has no name.
fn body(graph: &Graph<Int8Parameters<'_>>, crc32: u32) -> String {
    let mut text = String::new();
    // The largest two neighbours take turns at the ends of the arena.
    let layers = &graph.layers;
    let lens: Vec<usize> = layers.iter().map(|layer| layer.output.len()).collect();
    let shape = layers[layers.len() - 1].output;
    let pairs = (0..lens.len()).map(|i| lens[i] + lens.get(i + 1).copied().unwrap_or(0));
    let arena = pairs.max().unwrap_or(0);
    let _ = write!(
        text,
        "#ifdef GAN_MODEL_H\n#if GAN_MODEL_H != {crc32:#010x}\n\
         #error \"two models have one name: export one of them with --name\"\n#endif\n\
         #else\n#define GAN_MODEL_H {crc32:#010x} /* CRC-32 of the .gan file */\n\
         #include <stdint.h>\n\n\
         #define GAN_HEIGHT {}\n#define GAN_WIDTH {}\n#define GAN_CHANNELS {}\n\
         #define GAN_LATENT {}\n#define GAN_CLASSES {}\n#define GAN_INPUT {}\n\
         #define GAN_PICTURE {}\n#define GAN_ARENA {arena}\n#define GAN_ONE_HOT {ONE_HOT}\n\
         #define GAN_LAYERS {}\n",
        shape.h,
        shape.w,
        shape.c,
        graph.latent_len,
        graph.labels.len(),
        graph.input_len(),
        shape.len(),
        layers.len(),
    );
    text.push_str(TYPES);
    array(&mut text, "int8_t", "gan_quantiles", NORMAL_QUANTILES);
    for layer in layers {
        tables(&mut text, layer);
    }
    text.push_str("static const gan_layer gan_layers[GAN_LAYERS] = {\n");
    for layer in layers {
        text.push_str(&entry(layer));
    }
    text.push_str("};\n");
    text.push_str(CODE);
    text
}

/// Text for a comment, of characters that neither end one nor join lines, alone or as a trigraph.
fn comment(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || " _-.,:;+=()[]".contains(c);
    text.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
}

fn array<T: ToString>(
    text: &mut String,
    kind: &str,
    name: &str,
    values: impl IntoIterator<Item = T>,
) {
    let _ = write!(text, "static const {kind} {name}[] = {{");
    for (i, value) in values.into_iter().enumerate() {
        text.push_str(if i % 24 == 0 { "\n" } else { "" });
        text.push_str(&value.to_string());
        text.push(',');
    }
    text.push_str("\n};\n");
}

fn tables(text: &mut String, layer: &GraphLayer<Int8Parameters<'_>>) {
    let (i, of) = (layer.index, &layer.parameters);
    array(text, "int8_t", &format!("gan_weights_{i}"), &of.weights);
    array(text, "int32_t", &format!("gan_bias_{i}"), &of.bias);
    let mantissas = of.multipliers.iter().map(|m| m.mantissa);
    array(text, "int32_t", &format!("gan_mantissa_{i}"), mantissas);
    let shifts = of.multipliers.iter().map(|m| m.shift);
    array(text, "int8_t", &format!("gan_shift_{i}"), shifts);
    match of.activation {
        Activation::Clamp { .. } => {}
        Activation::Lut8(table) => {
            let values = table.iter().map(|&q| i16::from(q as i8));
            array(text, "int16_t", &format!("gan_table_{i}"), values);
        }
        Activation::Lut16(table) => {
            let values = table.iter().map(|&entry| i16::from_le_bytes(entry));
            let values = values.map(i32::from);
            array(text, "int16_t", &format!("gan_table_{i}"), values);
        }
    }
}

fn entry(layer: &GraphLayer<Int8Parameters<'_>>) -> String {
    let (i, of) = (layer.index, &layer.parameters);
    let (act, [min, max]) = match of.activation {
        Activation::Clamp { min, max } => (0, [min, max]),
        Activation::Lut8(_) => (1, [-128, 127]),
        Activation::Lut16(_) => (2, [-128, 127]),
    };
    let table = match act {
        0 => "0".to_owned(),
        _ => format!("gan_table_{i}"),
    };
    // A dense layer is a 1x1 map of all inputs; its outputs have weights each.
    let (kernel, stride, top, left) = match layer.op {
        GraphOp::Dense => (0, 0, 0, 0),
        GraphOp::ConvTranspose(v) => (v.kernel, v.stride, v.crop_top, v.crop_left),
    };
    let (a, b) = (layer.input, layer.output);
    format!(
        "{{{}, {}, {}, {}, {}, {}, {kernel}, {stride}, {top}, {left}, {}, {}, {act}, {min}, {max}, \
         gan_weights_{i}, gan_bias_{i}, gan_mantissa_{i}, gan_shift_{i}, {table}}},\n",
        a.h, a.w, a.c, b.h, b.w, b.c, of.input.zero_point, of.pre_activation.zero_point
    )
}

const TYPES: &str = "
typedef struct {
    int32_t in_h, in_w, in_c, out_h, out_w, out_c;
    int32_t kernel, stride, top, left; /* kernel 0: dense */
    int32_t in_zero, sum_zero, activation, min, max; /* 0 clamp, 1 table, 2 wide table */
    const int8_t *weights; /* [out_c][kernel][kernel][in_c], dense [outputs][inputs] */
    const int32_t *bias, *mantissa;
    const int8_t *shift;
    const int16_t *table;
} gan_layer;

";

const CODE: &str = "
/* x / 2^bits, rounded down. */
static inline int32_t gan_floor(int32_t x, int32_t bits) {
    return x >= 0 ? x >> bits : -((-x + (1 << bits) - 1) >> bits);
}

/* Product with mantissa * 2^(shift - 31), rounded twice (TensorFlow Lite). */
static inline int32_t gan_scale(int32_t acc, int32_t mantissa, int32_t shift) {
    if (shift > 0) acc = (int32_t)((uint32_t)acc << shift);
    int64_t product = (int64_t)acc * mantissa;
    product += product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    int64_t high = product / ((int64_t)1 << 31);
    if (shift >= 0) return (int32_t)high;
    int64_t size = high < 0 ? -high : high;
    size = (size + ((int64_t)1 << (-shift - 1))) >> -shift;
    return (int32_t)(high < 0 ? -size : size);
}

static inline int8_t gan_activate(const gan_layer *l, int32_t o, int32_t acc) {
    int64_t sum = (int64_t)gan_scale(acc, l->mantissa[o], l->shift[o]) + l->sum_zero;
    if (l->activation == 2) {
        int32_t at = (int32_t)(sum < -32768 ? -32768 : sum > 32767 ? 32767 : sum) + 32768;
        int32_t low = l->table[at >> 7], high = l->table[(at >> 7) + 1];
        int32_t wide = low + gan_floor((high - low) * (at & 127) + 64, 7);
        wide = gan_floor(wide + 128, 8);
        return (int8_t)(wide > 127 ? 127 : wide);
    }
    sum = sum < l->min ? l->min : sum > l->max ? l->max : sum;
    return (int8_t)(l->activation == 1 ? l->table[sum + 128] : sum);
}

static inline void gan_dense(const gan_layer *l, const int8_t *x, int8_t *y) {
    const int32_t inputs = l->in_h * l->in_w * l->in_c, outputs = l->out_h * l->out_w * l->out_c;
    for (int32_t o = 0; o < outputs; o++) {
        const int8_t *w = l->weights + (int64_t)o * inputs;
        int32_t acc = l->bias[o];
        for (int32_t i = 0; i < inputs; i++) acc += (x[i] - l->in_zero) * w[i];
        y[o] = gan_activate(l, o, acc);
    }
}

static inline void gan_conv_transpose(const gan_layer *l, const int8_t *x, int8_t *y) {
    const int32_t k = l->kernel, s = l->stride, c = l->in_c;
    for (int32_t oy = 0; oy < l->out_h; oy++)
        for (int32_t ox = 0; ox < l->out_w; ox++)
            for (int32_t o = 0; o < l->out_c; o++) {
                int32_t acc = l->bias[o];
                for (int32_t ky = (oy + l->top) % s; ky < k; ky += s) {
                    const int32_t iy = (oy + l->top - ky) / s;
                    if (oy + l->top < ky || iy >= l->in_h) continue;
                    for (int32_t kx = (ox + l->left) % s; kx < k; kx += s) {
                        const int32_t ix = (ox + l->left - kx) / s;
                        if (ox + l->left < kx || ix >= l->in_w) continue;
                        const int8_t *w = l->weights + (((int64_t)o * k + ky) * k + kx) * c;
                        const int8_t *v = x + ((int64_t)iy * l->in_w + ix) * c;
                        for (int32_t i = 0; i < c; i++) acc += (v[i] - l->in_zero) * w[i];
                    }
                }
                *y++ = gan_activate(l, o, acc);
            }
}

/* The input of a seed and a class from 0 on (any number without classes). */
static inline void gan_input(uint64_t seed, int32_t class_number, int8_t input[GAN_INPUT]) {
    uint64_t z = seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    uint64_t state = z ^ (z >> 31);
    uint32_t word = 0;
    for (int32_t i = 0; i < GAN_LATENT; i++) {
        if (i % 4 == 0) { /* PCG-XSH-RR 64/32 */
            const uint32_t mixed = (uint32_t)(((state >> 18) ^ state) >> 27);
            const uint32_t turn = (uint32_t)(state >> 59);
            word = (mixed >> turn) | (mixed << ((32 - turn) & 31));
            state = state * 6364136223846793005u + 1442695040888963407u;
        }
        input[i] = gan_quantiles[word & 255];
        word >>= 8;
    }
    for (int32_t i = 0; i < GAN_CLASSES; i++)
        input[GAN_LATENT + i] = i == class_number ? GAN_ONE_HOT : 0;
}

/* The picture of an input, [height][width][channels], from -128 to 127. */
static inline void gan_generate(const int8_t input[GAN_INPUT], int8_t arena[GAN_ARENA],
                         int8_t picture[GAN_PICTURE]) {
    const int8_t *x = input;
    for (int32_t i = 0; i < GAN_LAYERS; i++) {
        const gan_layer *l = &gan_layers[i];
        int8_t *y = arena;
        if (i % 2) y = arena + GAN_ARENA - l->out_h * l->out_w * l->out_c;
        if (i == GAN_LAYERS - 1) y = picture;
        if (l->kernel) gan_conv_transpose(l, x, y);
        else gan_dense(l, x, y);
        x = y;
    }
}

#endif
";
