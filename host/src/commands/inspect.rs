//! `host inspect`: what a `.gan` file holds and needs.

use gan_core::{Critic, Layer, Mode, Op};
use serde_json::json;

use crate::cli::Inspect;

pub fn run(args: &Inspect) -> anyhow::Result<()> {
    let bytes = super::read_gan(&args.file)?;
    let model = super::parse_gan(&bytes, &args.file)?;
    let labels: Vec<_> = model.labels().collect();
    let (layers, shape) = (model.layers(), model.output_shape());
    let parameters: usize = layers.iter().map(Layer::parameter_count).sum();
    let macs: u64 = layers.iter().map(Layer::mac_count).sum();
    if args.json {
        let report = json!({
            "name": model.name(),
            "dataset": model.dataset(),
            "steps": model.steps(),
            "seed": model.seed(),
            "labels": labels,
            "latent": model.latent_len(),
            "image": [shape.h, shape.w, shape.c],
            "flash_bytes": model.file_bytes(),
            "arena_bytes": model.required_bytes(Mode::Streamed),
            "arena_row_bytes": model.row_bytes(Mode::Streamed),
            "arena_whole_layers_bytes": model.required_bytes(Mode::WholeLayers),
            "parameters": parameters,
            "macs": macs,
            "vetted_seeds": model.vetted_count() * model.class_count().max(1),
            "critic_bytes": model.critic().map(Critic::flash_bytes),
            "crc32": format!("{:08x}", model.crc32()),
            "layers": layers.iter().map(layer_json).collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("model       {}, CRC-32 {:08x}", model.name(), model.crc32());
    println!(
        "trained on  {}, {} steps, seed {}",
        model.dataset(),
        model.steps(),
        model.seed()
    );
    println!(
        "input       {} latent values, {} classes",
        model.latent_len(),
        labels.len()
    );
    println!("classes     {}", labels.join(", "));
    println!(
        "pictures    {}x{}x{} (height x width x channels)",
        shape.h, shape.w, shape.c
    );
    match model.vetted_count() {
        0 => println!("seeds       any"),
        each => println!("seeds       {each} vetted ones a class, no others"),
    }
    match model.critic() {
        None => println!("critic      none"),
        Some(critic) => println!(
            "critic      {} bytes, sees {} values, passes from score {} on",
            critic.flash_bytes(),
            critic.input_len(),
            critic.passing()
        ),
    }
    println!("flash       {} bytes", model.file_bytes());
    println!(
        "arena       {} bytes, {} of them rows ({} bytes with whole layers)",
        model.required_bytes(Mode::Streamed),
        model.row_bytes(Mode::Streamed),
        model.required_bytes(Mode::WholeLayers)
    );
    println!("parameters  {parameters}");
    println!("MACs        {macs} a picture\n");
    println!("layer            input         output        kernel  parameters  bytes        MACs");
    for layer in layers {
        let (name, window) = operator(layer);
        let dims = |s: gan_core::Shape| format!("{}x{}x{}", s.h, s.w, s.c);
        println!(
            "{name:15}  {:12}  {:12}  {window:6}  {:10}  {:7}  {:10}",
            dims(layer.input_shape),
            dims(layer.output_shape),
            layer.parameter_count(),
            layer.flash_bytes(),
            layer.mac_count()
        );
    }
    Ok(())
}

fn operator(layer: &Layer<'_>) -> (&'static str, String) {
    match layer.op {
        Op::Dense => ("dense", String::new()),
        Op::ConvTranspose(v) => ("conv_transpose", format!("k{} s{}", v.kernel, v.stride)),
    }
}

fn layer_json(layer: &Layer<'_>) -> serde_json::Value {
    let quant = |q: gan_core::Quant| json!({ "scale": q.scale, "zero_point": q.zero_point });
    let dims = |s: gan_core::Shape| [s.h, s.w, s.c];
    let (name, window) = operator(layer);
    json!({
        "op": name,
        "window": window,
        "input": dims(layer.input_shape),
        "output": dims(layer.output_shape),
        "parameters": layer.parameter_count(),
        "flash_bytes": layer.flash_bytes(),
        "macs": layer.mac_count(),
        "sum": quant(layer.sum),
        "output_quant": quant(layer.output),
    })
}
