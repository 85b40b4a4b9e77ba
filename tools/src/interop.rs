//! Models in other runtimes: what goes in from PyTorch, and what comes out, against peers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::qemu::Event;
use crate::root;

/// Draws the same latents with gan-core, host's floats, PyTorch, LiteRT's reference kernels,
/// ONNX Runtime and C, and prints how many values differ.
///
/// The shipped models, short runs of three presets, and random small generators of each kind
/// that PyTorch has saved, one of which also runs on an emulated board. Needs python3, gcc and QEMU; the
/// Python packages of tests/interop/requirements.txt go into target/interop/venv.
#[derive(clap::Args)]
pub struct Interop {
    /// Latents of each model.
    #[arg(long, default_value_t = 20)]
    latents: usize,
    /// Random generators of each kind.
    #[arg(long, default_value_t = 20)]
    stacks: usize,
}

/// One JSON line of a script in tests/interop.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Found {
    latents: u64,
    values: u64,
    differing: u64,
    worst: f64,
}

/// The difference that a peer may have.
#[derive(Clone, Copy)]
struct Peer {
    name: &'static str,
    script: &'static str,
    /// Of a value, in units of the array that it is compared with; none: every bit counts.
    tolerance: Option<&'static str>,
    /// Share of the values that may be further off.
    share: f64,
}

const LITERT: Peer = exact("LiteRT, reference kernels", "litert_check.py");
const C: Peer = exact("C, gcc", "c_check.py");
const ONNX_QDQ: Peer = Peer {
    name: "ONNX Runtime, QDQ, within a grey level",
    script: "onnx_check.py",
    tolerance: Some("1.001"),
    share: 0.001,
};
const ONNX_FLOAT: Peer = Peer {
    name: "ONNX Runtime, float, within 1e-5",
    script: "onnx_check.py",
    tolerance: Some("1e-5"),
    share: 0.0,
};
const PYTORCH_OUT: Peer = exact("PyTorch, exported, within 1e-5", "torch_check.py");
const PYTORCH_IN: Peer = exact("PyTorch, imported, within 1e-5", "stacks.py");

const fn exact(name: &'static str, script: &'static str) -> Peer {
    Peer {
        name,
        script,
        tolerance: None,
        share: 0.0,
    }
}

/// Kinds of random generators, and how many of each also go out again in every way.
const FAMILIES: [(&str, usize); 7] = [
    ("plain", usize::MAX),
    ("upsample", 2),
    ("shuffle", 2),
    ("mlp", 2),
    ("normed", 1),
    ("files", 0),
    ("embedding", 1),
];

/// Presets that are trained for a moment, and how long.
const TRAINED: [(&str, &str); 3] = [("fashion", "20"), ("avatar", "20"), ("article", "2")];
const SHIPPED: [&str; 4] = ["fashion", "avatar", "hands", "portraits"];

/// The programs and the folder of a check.
struct Bench {
    host: PathBuf,
    python: PathBuf,
    folder: PathBuf,
    latents: String,
    totals: BTreeMap<&'static str, (u64, Found)>,
}

impl Interop {
    pub fn run(self) -> anyhow::Result<()> {
        let folder = root().join("target/interop");
        let work = folder.join("work");
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work)?;
        let mut bench = Bench {
            host: host()?,
            python: virtual_environment(&folder)?,
            folder: work,
            latents: self.latents.to_string(),
            totals: BTreeMap::new(),
        };
        println!(
            "model            runtime                                  latents    values  differing  worst"
        );
        for name in SHIPPED {
            let model = root().join("models").join(name).with_extension("gan");
            bench.check_int8(name, &model)?;
        }
        // No images of the size of `article` come with the program.
        let portraits = bench.folder.join("portraits.idx");
        let drawn_by = root().join("models/portraits.gan");
        bench.host(&[
            "sample",
            text(&drawn_by)?,
            "--count",
            "40",
            "--out",
            text(&portraits)?,
        ])?;
        for (preset, steps) in TRAINED {
            let run = bench.folder.join(preset);
            let mut train = vec![
                "train",
                "--preset",
                preset,
                "--steps",
                steps,
                "--out",
                text(&run)?,
            ];
            if preset == "article" {
                train.extend(["--data", text(&portraits)?]);
            }
            bench.host(&train)?;
            bench.check_float(&format!("{preset}, trained"), &run)?;
        }
        for (family, exported) in FAMILIES {
            bench.check_stacks(family, self.stacks, exported)?;
        }
        bench.check_board(&bench.folder.join("plain/00/run/generator.gan"))?;
        bench.summary()
    }
}

impl Bench {
    /// Generators of PyTorch's of one kind: in, and the first ones out again in every way.
    fn check_stacks(&mut self, family: &str, count: usize, exported: usize) -> anyhow::Result<()> {
        let stacks = self.folder.join(family);
        let count = count.to_string();
        let make = [
            "make",
            text(&stacks)?,
            "--count",
            &count,
            "--family",
            family,
        ];
        self.script("stacks.py", &make)?;
        let mut folders: Vec<PathBuf> = fs::read_dir(&stacks)?
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<_>>()?;
        folders.sort();
        let mut check = vec!["check"];
        for folder in &folders {
            let run = folder.join("run");
            let (weights, config) = (folder.join("weights.safetensors"), folder.join("net.toml"));
            let files = ["--weights", text(&weights)?, "--config", text(&config)?];
            self.host(&[&["import"], &files[..], &["--out", text(&run)?]].concat())?;
            self.draw(&run.join("generator.safetensors"), &folder.join("ours.npy"))?;
            check.push(text(folder)?);
        }
        // One start of PyTorch for all.
        let output = self.script(PYTORCH_IN.script, &check)?;
        let found: Vec<&str> = output.lines().collect();
        ensure!(found.len() == folders.len(), "{output}");
        for (i, (folder, found)) in folders.iter().zip(found).enumerate() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{family} {name}");
            self.record(&name, PYTORCH_IN, found)?;
            if i < exported {
                let run = folder.join("run");
                self.check_float(&name, &run)?;
                self.check_int8(&name, &run.join("generator.gan"))?;
            }
        }
        Ok(())
    }

    /// A `.gan` file in everything that runs integers.
    fn check_int8(&mut self, name: &str, gan: &Path) -> anyhow::Result<()> {
        let ours = self.array(gan)?;
        for (peer, format, file) in [(C, "c", "model.h"), (ONNX_QDQ, "onnx-qdq", "model.onnx")] {
            let exported = self.export(gan, format, file)?;
            self.compare_model(name, peer, &exported, &ours)?;
        }
        let exported = self.export(gan, "tflite", "model.tflite")?;
        // What the file equals, where the model has more than TensorFlow Lite.
        let beside = exported.with_extension("tflite.gan");
        let ours = if beside.exists() {
            self.array(&beside)?
        } else {
            ours
        };
        self.compare_model(name, LITERT, &exported, &ours)?;
        if beside.exists() {
            fs::remove_file(beside)?;
        }
        Ok(())
    }

    /// A run's float generator in everything that runs floats.
    fn check_float(&mut self, name: &str, run: &Path) -> anyhow::Result<()> {
        let ours = self.array(&run.join("generator.safetensors"))?;
        for (peer, format, file) in [
            (ONNX_FLOAT, "onnx-float", "model.onnx"),
            (PYTORCH_OUT, "pytorch", "exported.safetensors"),
        ] {
            let exported = self.export(run, format, file)?;
            self.compare_model(name, peer, &exported, &ours)?;
        }
        Ok(())
    }

    /// The emulated board shows what the simulator does for the same model.
    fn check_board(&self, gan: &Path) -> anyhow::Result<()> {
        let (board, simulated) = (self.folder.join("board.png"), self.folder.join("sim.png"));
        let tools = ["tools", "qemu", "--json", "--model"];
        let log = cargo(&[&tools[..], &[text(gan)?, "--screenshot", text(&board)?]].concat())?;
        let events = log.lines().map(serde_json::from_str::<Event>);
        let events: Vec<Event> = events.collect::<Result<_, _>>()?;
        let frame = events.iter().rfind(|event| event.name == "Frame");
        let frame = frame.context("the board has drawn nothing")?;
        let simulator = [
            "run", "-q", "-p", "firmware", "--", "--panel", "oled", "--model",
        ];
        let (seed, ms): (String, String) = (frame.field("seed")?, frame.field("ms")?);
        let shown = [
            "--seed",
            &seed,
            "--frame-ms",
            &ms,
            "--out",
            text(&simulated)?,
        ];
        cargo(&[&simulator[..], &[text(gan)?], &shown].concat())?;
        let read = |path: &Path| -> anyhow::Result<_> { Ok(image::open(path)?.into_rgb8()) };
        let is_same = read(&board)? == read(&simulated)?;
        ensure!(
            is_same,
            "the board shows another picture than the simulator"
        );
        println!("PyTorch's 00 on an emulated board: its display is the simulator's, {ms} ms");
        Ok(())
    }

    fn export(&self, model: &Path, format: &str, file: &str) -> anyhow::Result<PathBuf> {
        let out = self.folder.join(file);
        self.host(&[
            "export",
            text(model)?,
            "--format",
            format,
            "--out",
            text(&out)?,
        ])?;
        Ok(out)
    }

    /// A model's images, and their inputs.
    fn array(&self, model: &Path) -> anyhow::Result<Array> {
        let values = model.with_extension("npy");
        let values = self.folder.join(values.file_name().unwrap_or_default());
        self.draw(model, &values)?;
        let stem = values.file_stem().unwrap_or_default().to_string_lossy();
        let input = values.with_file_name(format!("{stem}-input.npy"));
        Ok(Array { values, input })
    }

    /// Writes what a model draws, and beside it what from.
    fn draw(&self, model: &Path, values: &Path) -> anyhow::Result<()> {
        let (count, out) = (&self.latents, text(values)?);
        self.host(&["sample", text(model)?, "--count", count, "--out", out])?;
        Ok(())
    }

    fn compare_model(
        &mut self,
        name: &str,
        peer: Peer,
        exported: &Path,
        ours: &Array,
    ) -> anyhow::Result<()> {
        let files = [text(exported)?, text(&ours.input)?, text(&ours.values)?];
        let args = [&files[..], peer.tolerance.as_slice()].concat();
        let output = self.script(peer.script, &args)?;
        self.record(name, peer, output.lines().last().unwrap_or_default())
    }

    /// Prints and adds up a script's line of JSON.
    fn record(&mut self, name: &str, peer: Peer, line: &str) -> anyhow::Result<()> {
        let found: Found = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let Found {
            latents,
            values,
            differing,
            worst,
        } = found;
        println!(
            "{name:<16} {:<40} {latents:>7} {values:>9} {differing:>10}  {worst:.1e}",
            peer.name
        );
        let (models, total) = self.totals.entry(peer.name).or_default();
        *models += 1;
        total.latents += latents;
        total.values += values;
        total.differing += differing;
        total.worst = total.worst.max(worst);
        let most = (values as f64 * peer.share) as u64;
        ensure!(
            differing <= most,
            "{name}: {differing} of {values} values differ in {}, {most} may",
            peer.name
        );
        Ok(())
    }

    fn summary(&self) -> anyhow::Result<()> {
        println!("\n| runtime | models | latents | values | differing | worst |");
        println!("|---|---|---|---|---|---|");
        for (name, (models, found)) in &self.totals {
            println!(
                "| {name} | {models} | {} | {} | {} | {:.1e} |",
                found.latents, found.values, found.differing, found.worst
            );
        }
        Ok(())
    }

    fn host(&self, args: &[&str]) -> anyhow::Result<String> {
        output(Command::new(&self.host).args(args))
    }

    fn script(&self, name: &str, args: &[&str]) -> anyhow::Result<String> {
        let script = root().join("tests/interop").join(name);
        output(Command::new(&self.python).arg(script).args(args))
    }
}

/// Images and inputs as `gan sample --out X.npy` leaves them.
struct Array {
    values: PathBuf,
    input: PathBuf,
}

/// Builds `host`; the path of the program.
fn host() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--quiet", "--package", "host"])?;
    let folder = std::env::var_os("CARGO_TARGET_DIR");
    let folder = folder.map_or_else(|| root().join("target"), PathBuf::from);
    Ok(folder.join("debug/gan"))
}

/// Python with the packages that the checks need; made again when their list changes.
fn virtual_environment(folder: &Path) -> anyhow::Result<PathBuf> {
    let requirements = root().join("tests/interop/requirements.txt");
    let (venv, stamp) = (folder.join("venv"), folder.join("installed.txt"));
    let python = venv.join("bin/python");
    let wanted = fs::read_to_string(&requirements).context("tests/interop/requirements.txt")?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("python3 -m venv {}", venv.display());
    output(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    println!("pip install --no-deps -r tests/interop/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "-r"];
    output(Command::new(&python).args(pip).arg(&requirements))?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}

fn cargo(args: &[&str]) -> anyhow::Result<String> {
    output(Command::new("cargo").args(args).current_dir(root()))
}

/// The output of a program; an error has its standard error.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let run = command.output();
    let run = run.with_context(|| format!("cannot start {program}: see `cargo tools setup`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        run.status.success(),
        "{command:?} failed:\n{}{}",
        text(&run.stdout),
        text(&run.stderr)
    );
    Ok(text(&run.stdout))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str();
    text.with_context(|| format!("{} is not UTF-8", path.display()))
}
