//! `gan inspect`: what a `.gan` file holds and needs.

use gan_core::{Critic, Layer, Mode, Model};
use host::console::counted;
use host::say;
use serde_json::json;

use crate::cli::Inspect;

pub fn run(args: &Inspect) -> anyhow::Result<()> {
    let file = super::gan_of(&args.file);
    let bytes = super::read_gan(&file)?;
    let model = super::parse_gan(&bytes, &file)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report(&model))?);
    } else {
        print_model(&model);
        print_memory(&model);
        print_layers(model.layers());
    }
    Ok(())
}

/// Everything that is printed as text, as JSON.
fn report(model: &Model<'_>) -> serde_json::Value {
    let shape = model.output_shape();
    json!({
        "name": model.name(),
        "dataset": model.dataset(),
        "steps": model.steps(),
        "seed": model.seed(),
        "labels": model.labels().collect::<Vec<_>>(),
        "latent": model.latent_len(),
        "image": [shape.h, shape.w, shape.c],
        "flash_bytes": model.file_bytes(),
        "arena_bytes": model.required_bytes(Mode::Streamed),
        "arena_row_bytes": model.row_bytes(Mode::Streamed),
        "arena_whole_layers_bytes": model.required_bytes(Mode::WholeLayers),
        "parameters": parameter_count(model),
        "macs": mac_count(model),
        "vetted_seeds": model.vetted_count() * model.class_count().max(1),
        "critic_bytes": model.critic().map(Critic::flash_bytes),
        "crc32": format!("{:08x}", model.crc32()),
        "layers": model.layers().iter().map(layer_json).collect::<Vec<_>>(),
    })
}

fn parameter_count(model: &Model<'_>) -> usize {
    model.layers().iter().map(Layer::parameter_count).sum()
}

/// Multiply-adds of one image.
pub fn mac_count(model: &Model<'_>) -> u64 {
    model.layers().iter().map(Layer::mac_count).sum()
}

fn print_model(model: &Model<'_>) {
    let shape = model.output_shape();
    say!("model       {}, CRC-32 {:08x}", model.name(), model.crc32());
    say!(
        "trained on  {}, {} steps, seed {}",
        model.dataset(),
        model.steps(),
        model.seed()
    );
    say!(
        "input       {}, {}",
        counted(model.latent_len(), "latent value"),
        counted(model.class_count(), "class")
    );
    let classes = model.labels().collect::<Vec<_>>().join(", ");
    let classes = if classes.is_empty() { "none" } else { &classes };
    say!("classes     {classes}");
    say!(
        "images      {}x{}x{} (height x width x channels)",
        shape.h,
        shape.w,
        shape.c
    );
    match model.vetted_count() {
        0 => say!("seeds       any"),
        each => say!("seeds       {each} vetted ones a class, no others"),
    }
    match model.critic() {
        None => say!("critic      none"),
        Some(critic) => say!(
            "critic      {} bytes, sees {} values, passes from score {} on",
            critic.flash_bytes(),
            critic.input_len(),
            critic.passing()
        ),
    }
}

fn print_memory(model: &Model<'_>) {
    say!("flash       {} bytes", model.file_bytes());
    say!(
        "arena       {} bytes, {} of them rows ({} bytes with whole layers)",
        model.required_bytes(Mode::Streamed),
        model.row_bytes(Mode::Streamed),
        model.required_bytes(Mode::WholeLayers)
    );
    say!("parameters  {}", parameter_count(model));
    say!("MACs        {} an image\n", mac_count(model));
}

fn print_layers(layers: &[Layer<'_>]) {
    say!("layer            input         output        kernel  parameters  bytes        MACs");
    for layer in layers {
        let dims = |s: gan_core::Shape| format!("{}x{}x{}", s.h, s.w, s.c);
        say!(
            "{:15}  {:12}  {:12}  {:6}  {:10}  {:7}  {:10}",
            layer.op.name(),
            dims(layer.input_shape),
            dims(layer.output_shape),
            window(layer),
            layer.parameter_count(),
            layer.flash_bytes(),
            layer.mac_count()
        );
    }
}

/// Kernel and stride of a layer that has a window.
fn window(layer: &Layer<'_>) -> String {
    let window = layer.op.window();
    window.map_or_else(String::new, |v| format!("k{} s{}", v.kernel, v.stride))
}

fn layer_json(layer: &Layer<'_>) -> serde_json::Value {
    let quant = |q: gan_core::Quant| json!({ "scale": q.scale, "zero_point": q.zero_point });
    let dims = |s: gan_core::Shape| [s.h, s.w, s.c];
    json!({
        "op": layer.op.name(),
        "window": window(layer),
        "input": dims(layer.input_shape),
        "output": dims(layer.output_shape),
        "parameters": layer.parameter_count(),
        "flash_bytes": layer.flash_bytes(),
        "macs": layer.mac_count(),
        "pre_activation": quant(layer.pre_activation),
        "output_quant": quant(layer.output),
    })
}
