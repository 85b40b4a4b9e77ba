//! Instructions of the runtime on emulated microcontrollers.

mod models;
mod parity;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use gan_core::choose::Memory;
use gan_core::{Critic, Layer, Mode, Model, Op};
use serde::{Deserialize, Serialize};

use crate::boards::build;
use crate::elf::Elf;
use crate::root;
use crate::symbols::is_float_routine;
use models::{cases, presets};

/// Counts the instructions of the runtime in QEMU and compares them with
/// tests/golden/instructions.json.
///
/// Instructions are not cycles: a load, a multiplication or a taken branch may cost more
/// than one. They are the same on every run and every host, so that a change is seen.
#[derive(clap::Args)]
pub struct Bench {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Fail if a layer takes more than 2 % more instructions than the committed ones, an
    /// image misses its goal or a model its budget, or if an image of these or of 40
    /// small models of every geometry is not the host's, bit for bit.
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write the counts to tests/golden/instructions.json.
    #[arg(long)]
    write: bool,
    /// Only print the checksums of every layer's output, host and cores side by side.
    #[arg(long, conflicts_with_all = ["json", "check", "write"])]
    parity: bool,
    /// Only this core: m0plus, m3, m4, m7, m33 or riscv.
    #[arg(long)]
    core: Option<String>,
    /// Only this model: fashion, avatar or article, the presets' shapes; default, which the
    /// firmware brings, or faces, which is models/avatar.gan.
    #[arg(long)]
    model: Option<String>,
}

/// An emulated machine and the code that is built for it.
struct Machine {
    core: &'static str,
    target: &'static str,
    qemu: &'static str,
    machine: &'static str,
    /// `-icount`: virtual nanoseconds of an instruction, as a power of two.
    options: &'static [&'static str],
    feature: &'static str,
    model_at: u32,
    /// Instructions per counter tick: 64 ns each of virtual time, on timers of 25 and
    /// 20 MHz; RISC-V counts nanoseconds, of which an instruction takes one.
    per_tick: (u64, u64),
    /// Clock of a usual board with this core.
    board: (&'static str, u32),
}

/// Arm's MPS2 board, whose machines differ by the core.
const MPS2: Machine = Machine {
    core: "m3",
    target: "thumbv7m-none-eabi",
    qemu: "qemu-system-arm",
    machine: "mps2-an385",
    options: &["-icount", "shift=6"],
    feature: "bench-mps2",
    model_at: 0x0008_0000,
    per_tick: (5, 8),
    board: ("STM32F103", 72),
};

const MACHINES: [Machine; 6] = [
    // The Cortex-M3 runs what is built for a Cortex-M0+.
    Machine {
        core: "m0plus",
        target: "thumbv6m-none-eabi",
        board: ("RP2040", 125),
        ..MPS2
    },
    MPS2,
    Machine {
        core: "m4",
        target: "thumbv7em-none-eabihf",
        machine: "mps2-an386",
        board: ("STM32F411", 100),
        ..MPS2
    },
    Machine {
        core: "m7",
        target: "thumbv7em-none-eabihf",
        machine: "mps2-an500",
        board: ("STM32H743", 400),
        ..MPS2
    },
    Machine {
        core: "m33",
        target: "thumbv8m.main-none-eabihf",
        machine: "mps2-an505",
        feature: "bench-an505",
        model_at: 0x1008_0000,
        per_tick: (25, 32),
        board: ("RP2350", 150),
        ..MPS2
    },
    Machine {
        core: "riscv",
        target: "riscv32imc-unknown-none-elf",
        qemu: "qemu-system-riscv32",
        machine: "virt",
        options: &["-icount", "shift=0", "-bios", "none"],
        feature: "bench-virt",
        model_at: 0x8040_0000,
        per_tick: (1, 1),
        board: ("ESP32-C3", 160),
    },
];

/// What an image may take at most, in instructions a multiplication.
const GOALS: [(&str, &str, f64); 11] = [
    ("m0plus", "fashion", 4.5),
    ("m3", "fashion", 2.5),
    ("m4", "fashion", 1.25),
    ("m4", "avatar", 1.25),
    ("m4", "article", 1.15),
    ("m7", "fashion", 1.25),
    ("m7", "avatar", 1.25),
    ("m33", "fashion", 1.25),
    ("m33", "avatar", 1.25),
    ("m33", "article", 1.15),
    ("riscv", "fashion", 3.2),
];

/// Arena bytes that a model may take at most.
const BUDGETS: [(&str, usize); 3] = [("fashion", 8_000), ("avatar", 8_000), ("article", 60_000)];

/// What was counted of one model on one core.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counts {
    core: String,
    model: String,
    /// Of a whole image, streamed.
    instructions: u64,
    /// What the critic takes beside it, if there is one: what it sees and its score.
    critic_instructions: Option<u64>,
    macs: u64,
    arena_bytes: usize,
    /// Of the arena: rows between layers, the least that streaming takes.
    row_bytes: usize,
    model_bytes: usize,
    code_bytes: u64,
    crc32: String,
    /// Layer by layer, whole.
    layers: Vec<LayerCounts>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LayerCounts {
    name: String,
    /// Of its output; the host's is the same, or nothing would have been counted.
    #[serde(skip)]
    crc32: u32,
    instructions: u64,
    macs: u64,
    weight_bytes: usize,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        let mut all = Vec::new();
        let wanted =
            |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
        for machine in MACHINES.iter().filter(|m| wanted(&self.core, m.core)) {
            let path = build("bench", machine.target, machine.feature, None)?;
            let data = std::fs::read(&path).context("cannot read the program")?;
            let elf = Elf::parse(&data, &path)?;
            ensure_bare(&elf, machine.core)?;
            let code_bytes = elf.image_bytes();
            for (name, bytes) in models()?
                .iter()
                .filter(|(name, _)| wanted(&self.model, name))
            {
                let counts = machine.count(&path, code_bytes, name, bytes)?;
                if !self.json && !self.parity {
                    counts.print(machine);
                }
                all.push(counts);
            }
            if self.check {
                for case in cases() {
                    machine.count(&path, code_bytes, &case.name, &case.encode()?)?;
                }
            }
        }
        ensure!(!all.is_empty(), "no such core or model: see --help");
        if !self.json {
            parity::print(&all);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        let committed = root().join("tests/golden/instructions.json");
        if self.write {
            let text = serde_json::to_string_pretty(&all)? + "\n";
            std::fs::write(&committed, text).context("cannot write the counts")?;
        }
        if self.check {
            let text = std::fs::read_to_string(&committed);
            let text = text.context("cannot read tests/golden/instructions.json")?;
            all.iter().try_for_each(Counts::ensure_goals)?;
            compare(&serde_json::from_str::<Vec<Counts>>(&text)?, &all)?;
        }
        Ok(())
    }
}

/// What is counted: name and file.
fn models() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let presets = presets()
        .into_iter()
        .map(|preset| Ok((preset.name.clone(), preset.encode()?)));
    let mut models = presets.collect::<anyhow::Result<Vec<_>>>()?;
    for (name, file) in [("default", "fashion.gan"), ("faces", "avatar.gan")] {
        let bytes = std::fs::read(root().join("models").join(file));
        let bytes = bytes.with_context(|| format!("cannot read models/{file}"))?;
        models.push((name.into(), bytes));
    }
    Ok(models)
}

/// What the program has printed of a model.
#[derive(Default)]
struct Printed {
    /// Checksum of the image.
    crc: Vec<u32>,
    /// Ticks of the image.
    image: Vec<u32>,
    /// Ticks of the image with what the critic takes.
    judged: Vec<u32>,
    score: Vec<u32>,
    /// Ticks of each layer.
    layer: Vec<u32>,
    layer_crc: Vec<u32>,
}

impl Printed {
    /// Reads an object a line, of one value in hexadecimal digits.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut printed = Self::default();
        for line in text.lines() {
            let object: BTreeMap<String, String> =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            for (name, value) in object {
                let values = match &*name {
                    "crc" => &mut printed.crc,
                    "image" => &mut printed.image,
                    "judged" => &mut printed.judged,
                    "score" => &mut printed.score,
                    "layer" => &mut printed.layer,
                    "layer_crc" => &mut printed.layer_crc,
                    _ => bail!("the program has {name}"),
                };
                values.push(u32::from_str_radix(&value, 16)?);
            }
        }
        Ok(printed)
    }
}

impl Machine {
    /// Runs the program beside a model; an error if a bit differs from the host's.
    fn count(
        &self,
        elf: &Path,
        code_bytes: u64,
        name: &str,
        bytes: &[u8],
    ) -> anyhow::Result<Counts> {
        let (model, printed) = (Model::parse(bytes)?, self.run(elf, name, bytes)?);
        let (&[crc], &[image]) = (&printed.crc[..], &printed.image[..]) else {
            bail!("{name} on {}: it has drawn no picture", self.machine);
        };
        self.ensure_equal(name, &model, crc, &printed)?;
        let instructions = |ticks: u32| u64::from(ticks) * self.per_tick.0 / self.per_tick.1;
        let judged = printed.judged.first().map(|&ticks| instructions(ticks));
        let layers = model.layers().iter().zip(printed.layer);
        let layers = layers.zip(printed.layer_crc).enumerate();
        let layers = layers.map(|(i, ((layer, ticks), crc32))| LayerCounts {
            name: describe(i, layer),
            crc32,
            instructions: instructions(ticks),
            macs: layer.mac_count(),
            weight_bytes: layer.flash_bytes(),
        });
        Ok(Counts {
            core: self.core.into(),
            model: name.into(),
            instructions: instructions(image),
            critic_instructions: judged.map(|judged| judged.saturating_sub(instructions(image))),
            macs: model.layers().iter().map(Layer::mac_count).sum(),
            arena_bytes: model.required_bytes(Mode::Streamed),
            row_bytes: model.row_bytes(Mode::Streamed),
            model_bytes: model.file_bytes(),
            code_bytes,
            crc32: format!("{crc:08x}"),
            layers: layers.collect(),
        })
    }

    /// Runs the program beside a model; what it prints.
    fn run(&self, elf: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<Printed> {
        let file = std::env::temp_dir().join(format!("{name}-{}.gan", std::process::id()));
        std::fs::write(&file, bytes)?;
        let loader = format!(
            "loader,file={},addr={:#x},force-raw=on",
            file.display(),
            self.model_at
        );
        let mut command = Command::new(self.qemu);
        command.args(["-machine", self.machine, "-nographic", "-monitor", "none"]);
        command.args(["-serial", "none"]).args(self.options);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.args(["-device", &loader, "-kernel"]).arg(elf);
        let output = output_in_time(&mut command);
        std::fs::remove_file(&file)?;
        let output = output.with_context(|| format!("{name} on {}", self.core))?;
        let [text, errors] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
        let printed = Printed::parse(&text);
        printed.with_context(|| format!("{name} on {}: {} {errors}", self.machine, output.status))
    }

    /// Fails where image, layers or score are not the host's.
    fn ensure_equal(
        &self,
        name: &str,
        model: &Model<'_>,
        crc: u32,
        printed: &Printed,
    ) -> anyhow::Result<()> {
        let (core, layers) = (self.core, &printed.layer_crc);
        let (expected, expected_layers) = host_crcs(model)?;
        ensure!(
            crc == expected && *layers == expected_layers,
            "{name} on {core}: picture {crc:08x}, layers {layers:08x?}; the host's are \
             {expected:08x} and {expected_layers:08x?}"
        );
        let score = printed.score.first().map(|&score| score as u8 as i8);
        let expected = host_score(model)?;
        ensure!(
            score == expected,
            "{name} on {core}: score {score:?}; the host's is {expected:?}"
        );
        Ok(())
    }
}

/// What a program printed, if it ends within five minutes: a count takes seconds.
fn output_in_time(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.with_context(|| format!("cannot start {program}"))?;
    let deadline = Instant::now() + Duration::from_secs(300);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            bail!("{program} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child.wait_with_output()?)
}

/// The checksums of the image, streamed, and of every layer's output by whole layers, by
/// the portable loops on this machine.
fn host_crcs(model: &Model<'_>) -> anyhow::Result<(u32, Vec<u32>)> {
    let mut input = vec![0; model.input_len()];
    let class = (model.class_count() > 0).then_some(0);
    model.fill_input(1, class, &mut input)?;
    let words = [Mode::Streamed, Mode::WholeLayers].map(|mode| model.required_words(mode));
    let mut arena = vec![0; words[0].max(words[1])];
    let mut picture = crc32fast::Hasher::new();
    model.run(&input, &mut arena, |_, row| picture.update(&unsigned(row)))?;
    let mut layers = Vec::new();
    model.run_observed(&input, &mut arena, |_, values| {
        layers.push(crc32fast::hash(&unsigned(values)));
    })?;
    Ok((picture.finalize(), layers))
}

/// What the critic says of the same image, if there is one.
fn host_score(model: &Model<'_>) -> anyhow::Result<Option<i8>> {
    let mut memory = Memory {
        arena: &mut vec![0; model.required_words(Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().map_or(0, Critic::input_len)],
    };
    let class = (model.class_count() > 0).then_some(0);
    Ok(model.score(1, class, &mut memory)?)
}

fn unsigned(values: &[i8]) -> Vec<u8> {
    values.iter().map(|&v| v as u8).collect()
}

fn describe(i: usize, layer: &Layer<'_>) -> String {
    let (a, b) = (layer.input_shape, layer.output_shape);
    match layer.op {
        Op::Dense => format!("dense {}->{}", a.len(), b.len()),
        Op::ConvTranspose(v) => format!(
            "t{i} {}x{}x{}->{}x{}x{} k{} s{}",
            a.h, a.w, a.c, b.h, b.w, b.c, v.kernel, v.stride
        ),
    }
}

/// No panic, no allocation and no floating point may be linked. The cores without a
/// floating-point unit call routines for it, and are built from the same source as the rest.
fn ensure_bare(elf: &Elf<'_>, core: &str) -> anyhow::Result<()> {
    let known = ["panic", "core::fmt", "__rust_alloc"];
    let is_bad =
        |name: &str| is_float_routine(name) || known.iter().any(|known| name.contains(known));
    let mut bad: Vec<String> = elf
        .symbols()
        .into_iter()
        .map(|symbol| symbol.name)
        .collect();
    bad.retain(|name| is_bad(name));
    ensure!(bad.is_empty(), "linked for {core}: {}", bad.join(", "));
    Ok(())
}

impl Counts {
    fn ensure_goals(&self) -> anyhow::Result<()> {
        let ratio = self.instructions as f64 / self.macs as f64;
        for (core, model, goal) in GOALS {
            let met = (core, model) != (&self.core, &self.model) || ratio <= goal;
            ensure!(
                met,
                "{model} on {core}: {ratio:.3} instructions a MAC, not {goal}"
            );
        }
        for (model, budget) in BUDGETS {
            let (met, have) = (
                model != self.model || self.arena_bytes <= budget,
                self.arena_bytes,
            );
            ensure!(met, "{model}: an arena of {have} bytes, not {budget}");
        }
        Ok(())
    }

    fn print(&self, machine: &Machine) {
        println!(
            "\n{} on {} ({}, {}): {} bytes of code, picture {}",
            self.model, self.core, machine.machine, machine.target, self.code_bytes, self.crc32
        );
        println!("layer                            instructions        MACs  a MAC  flash bytes");
        let row = |name: &str, instructions: u64, macs: u64, bytes: usize| {
            let ratio = instructions as f64 / macs as f64;
            println!("{name:32} {instructions:12} {macs:11}  {ratio:5.2}  {bytes:11}");
        };
        for layer in &self.layers {
            row(
                &layer.name,
                layer.instructions,
                layer.macs,
                layer.weight_bytes,
            );
        }
        row(
            "picture, streamed",
            self.instructions,
            self.macs,
            self.model_bytes,
        );
        if let Some(instructions) = self.critic_instructions {
            println!("{:32} {instructions:12}", "critic, beside a picture");
        }
        let (board, mhz) = machine.board;
        let ms = self.instructions as f64 / f64::from(mhz) / 1e3;
        println!(
            "arena {} bytes, {} of them rows; {ms:.1} ms at {mhz} MHz ({board}) if every instruction took one \
             cycle: more in truth",
            self.arena_bytes, self.row_bytes
        );
    }
}

/// Fails where `found` is worse than `committed`.
fn compare(committed: &[Counts], found: &[Counts]) -> anyhow::Result<()> {
    let mut worse = Vec::new();
    for now in found {
        let before = committed
            .iter()
            .find(|c| (&c.core, &c.model) == (&now.core, &now.model));
        let Some(before) = before else {
            bail!(
                "{} on {} is not committed: cargo tools bench --write",
                now.model,
                now.core
            );
        };
        let mut limit = |what: &str, before: u64, now_is: u64, percent: u64| {
            if now_is * 100 > before * (100 + percent) {
                worse.push(format!(
                    "{} {} {what}: {before} -> {now_is}",
                    now.core, now.model
                ));
            }
        };
        limit("instructions", before.instructions, now.instructions, 2);
        limit(
            "arena bytes",
            before.arena_bytes as u64,
            now.arena_bytes as u64,
            0,
        );
        limit(
            "model bytes",
            before.model_bytes as u64,
            now.model_bytes as u64,
            2,
        );
        limit("code bytes", before.code_bytes, now.code_bytes, 5);
        for (before, now) in before.layers.iter().zip(&now.layers) {
            limit(&now.name, before.instructions, now.instructions, 2);
        }
        if before.crc32 != now.crc32 || before.layers.len() != now.layers.len() {
            worse.push(format!("{} {} draws another picture", now.core, now.model));
        }
    }
    ensure!(
        worse.is_empty(),
        "worse than committed:\n{}",
        worse.join("\n")
    );
    eprintln!("nothing is worse than tests/golden/instructions.json");
    Ok(())
}
