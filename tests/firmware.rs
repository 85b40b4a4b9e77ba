//! The application: on the simulator, and in emulators where they are.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use firmware::app::CANDIDATES;
use gan_core::encode::{LayerSpec, ModelSpec, encode, encoded_bytes};
use gan_core::{Activation, Function, Multiplier, Shape, WeightBits};
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, DynamicImage, Rgb, RgbImage};
use tempfile::tempdir;

use crate::cli::ok;
use crate::programs::build;

fn simulator(args: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build(&["--package", "firmware"]));
    Command::new(program)
        .args(args)
        .output()
        .expect("the simulator starts")
}

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/fashion.gan");

/// What a simulated display shows in the end.
fn simulated(panel: &str, args: &[&str]) -> RgbImage {
    let dir = tempdir().unwrap();
    let out = dir.path().join("screen.png");
    let common = ["--panel", panel, "--out", out.to_str().unwrap()];
    let output = simulator(&[&common, args].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    read_png(&out)
}

fn read_png(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// A grey level as `max + 1` levels hold it, on 0 to 255 again.
fn rounded(level: u8, max: u32) -> u8 {
    let held = (u32::from(level) * max + 127) / 255;
    ((held * 255 + max / 2) / max) as u8
}

#[test]
fn the_simulator_shows_what_host_sample_draws_for_the_seed_and_class_on_the_display() {
    let dir = tempdir().unwrap();
    let drawn = [
        "sample", MODEL, "--count", "1", "--class", "7", "--seed", "3", "--out", "a.png",
    ];
    ok(dir.path(), &drawn);
    // One picture in a frame of two pixels, two pixels a pixel.
    let drawn = read_png(&dir.path().join("a.png"));
    let grey = |x: u32, y: u32| drawn.get_pixel(2 + 2 * x, 2 + 2 * y).0[0];
    // From class 8 and seed 1, by the buttons.
    let keys = [
        "--class",
        "8",
        "--keys",
        "down,right,right",
        "--frame-ms",
        "9",
        "--candidates",
        "0",
    ];
    let oled = simulated("oled", &keys);
    let tft = simulated("tft", &keys);
    for (x, y) in (0..28).flat_map(|y| (0..28).map(move |x| (x, y))) {
        // 56x56 at (4, 4) of 128x64, saved four times as large: 16 levels.
        let on_oled = oled.get_pixel(4 * (4 + 2 * x), 4 * (4 + 2 * y));
        assert_eq!(*on_oled, Rgb([rounded(grey(x, y), 15); 3]), "{x} {y}");
        // 196x196, centred above two lines of text: 5, 6 and 5 bits.
        let on_tft = tft.get_pixel(22 + 7 * x, 7 * y);
        let channels = [31, 63, 31].map(|max| rounded(grey(x, y), max));
        assert_eq!(*on_tft, Rgb(channels), "{x} {y}");
    }
}

#[test]
fn an_interpolation_starts_and_ends_at_pictures_of_seeds() {
    let all = ["--frame-ms", "60", "--candidates", "0"];
    let shown = |args: &[&str]| simulated("tft", &[args, &all].concat());
    // The first picture, the interpolation's first, and one for each of its 32 steps.
    let whole = shown(&["--keys", "select", "--frames", "34"]);
    assert_eq!(whole, shown(&["--seed", "2"]));
    let between = shown(&["--keys", "select", "--frames", "18"]);
    assert_ne!(between, shown(&["--seed", "1"]));
    assert_ne!(between, whole);
}

#[test]
fn the_gate_shows_the_seeds_that_the_models_critic_chooses() {
    let bytes = fs::read(MODEL).unwrap();
    let model = gan_core::Model::parse(&bytes).unwrap();
    let mut memory = gan_core::choose::Memory {
        arena: &mut vec![0; model.required_words(gan_core::Mode::Streamed)],
        input: &mut vec![0; model.input_len()],
        seen: &mut vec![0; model.critic().unwrap().input_len()],
    };
    let mut from = 1;
    let mut chosen = || {
        let choice = model.choose_seed(Some(0), from, CANDIDATES, &mut memory, || ());
        let choice = choice.unwrap();
        from = choice.seed + 1;
        format!("seed: {}, step: 0, score: {:?}", choice.seed, choice.score)
    };
    let expected: Vec<String> = (0..30).map(|_| chosen()).collect();
    let dir = tempdir().unwrap();
    let out = dir.path().join("screen.png");
    let keys = vec!["right"; 29].join(",");
    let run = simulator(&["--keys", &keys, "--out", out.to_str().unwrap()]);
    let log = String::from_utf8_lossy(&run.stderr).into_owned();
    let shown = log.lines().filter(|line| line.starts_with("Frame"));
    assert_eq!(shown.clone().count(), 30);
    for (line, expected) in shown.zip(&expected) {
        assert!(line.contains(expected), "{line}: not {expected}");
    }
    assert!(!expected[29].contains("seed: 30,"), "it has skipped none");
}

#[test]
fn the_simulator_records_an_interpolation_and_refuses_what_does_not_exist() {
    let dir = tempdir().unwrap();
    let gif = dir.path().join("interpolation.gif");
    let args = [
        "--record",
        gif.to_str().unwrap(),
        "--keys",
        "select",
        "--frames",
        "5",
    ];
    let shown = simulated("oled", &[&args[..], &["--frame-ms", "60"]].concat());
    let decoder = GifDecoder::new(Cursor::new(fs::read(&gif).unwrap())).unwrap();
    let frames = decoder.into_frames().collect_frames().unwrap();
    let frames: Vec<_> = frames
        .into_iter()
        .map(|frame| frame.into_buffer())
        .collect();
    // Not the one before the key; the last one is the one that the display is left with.
    assert_eq!(frames.len(), 4);
    let last = DynamicImage::ImageRgba8(frames[3].clone()).into_rgb8();
    assert!(last == shown && frames[2] != frames[3]);

    let wrong = simulator(&["--class", "hat", "--out", gif.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        !wrong.status.success() && errors.contains("no class `hat`"),
        "{errors}"
    );
}

/// Whether what a test needs is there; if not, says so on one line, or fails where
/// `REQUIRE_EMULATORS` is set.
pub fn has(test: &str, programs: &[&str], targets: &[&str]) -> bool {
    let starts = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let installed = |target: &str| {
        let rustc = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .output();
        rustc.is_ok_and(|out| Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir())
    };
    let programs = programs.iter().filter(|program| !starts(program));
    let missing: Vec<_> = programs
        .chain(targets.iter().filter(|target| !installed(target)))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("skipped: {test}: missing {missing:?}, see `cargo tools setup`\n");
    assert!(std::env::var_os("REQUIRE_EMULATORS").is_none(), "{line}");
    // Past the test harness, which keeps what passing tests print.
    let _ = std::io::stderr().write_all(line.as_bytes());
    false
}

const M3: &str = "thumbv7m-none-eabi";
const M0PLUS: &str = "thumbv6m-none-eabi";

/// `cargo tools` of the arguments: whether it succeeded, its log and its errors.
fn tools(args: &[&str]) -> (bool, String, String) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build(&["--package", "tools"]));
    let run = Command::new(program)
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("tools start");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (run.status.success(), text(&run.stdout), text(&run.stderr))
}

/// Log and display of a board after some keys.
fn emulated(board: &str, keys: &str) -> (String, RgbImage) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("screen.png");
    let mut args = vec![
        "qemu",
        "--board",
        board,
        "--screenshot",
        path.to_str().unwrap(),
    ];
    if !keys.is_empty() {
        args.extend(["--keys", keys]);
    }
    let (is_ok, log, errors) = tools(&args);
    assert!(is_ok, "{log}{errors}");
    (log, read_png(&path))
}

/// A number in the last line of an event.
fn number(log: &str, event: &str, field: &str) -> String {
    let line = log.lines().rfind(|line| line.contains(event)).expect(event);
    let value = line.split(&format!("{field}: ")).nth(1).expect(field);
    value
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect()
}

/// The board shows what the simulator does for the class, seed and time in its log.
fn assert_equals_simulator(board: &str, panel: &str, keys: &str, expected: (&str, &str)) {
    let (log, shown) = emulated(board, keys);
    let of = |field| number(&log, "Frame", field);
    let (class, seed, ms) = (of("class"), of("seed"), of("ms"));
    assert_eq!((&*class, &*seed), expected, "{log}");
    let boot = format!("Boot {{ model: \"fashion\", crc32: {}", default_crc32());
    assert!(log.contains(&boot), "{log}");
    let (used, of) = (
        number(&log, "Stack", "used_bytes"),
        number(&log, "Stack", "of_bytes"),
    );
    assert!(used.parse::<u32>().unwrap() < of.parse().unwrap(), "{log}");
    let same = ["--class", &*class, "--seed", &*seed, "--frame-ms", &*ms];
    assert!(
        shown == simulated(panel, &same),
        "{board} {keys}: another picture\n{log}"
    );
}

/// The checksum that the default model's file has of itself, from its header.
fn default_crc32() -> u32 {
    gan_core::Model::parse(&fs::read(MODEL).unwrap())
        .unwrap()
        .crc32()
}

#[test]
fn the_lm3s6965evb_in_qemu_shows_the_simulators_pixels() {
    if has("LM3S6965", &["qemu-system-arm"], &[M3]) {
        assert_equals_simulator("lm3s6965evb", "oled", "", ("0", "2"));
        assert_equals_simulator("lm3s6965evb", "oled", "up,up,right,up,down", ("2", "3"));
    }
}

#[test]
fn the_lm3s6965evb_draws_on_after_its_display_was_unplugged() {
    if !has("soak", &["qemu-system-arm"], &[M3]) {
        return;
    }
    let dir = tempdir().unwrap();
    let path = dir.path().join("screen.png");
    let path_arg = path.to_str().unwrap();
    let (is_ok, log, errors) = tools(&["soak", "--images", "60", "--screenshot", path_arg]);
    assert!(is_ok && log.contains("differences 0"), "{log}{errors}");
    assert!(log.contains("display unplugged 2 times"), "{log}");
    // What was cut off by the last time, with the time that the log has of it.
    let of = |field| number(&log, "Frame", field);
    let (class, seed, ms) = (of("class"), of("seed"), of("ms"));
    let same = ["--class", &*class, "--seed", &*seed, "--frame-ms", &*ms];
    let is_same = read_png(&path) == simulated("oled", &same);
    assert!(is_same, "another picture\n{log}");
}

#[test]
fn the_pico_in_rp2040js_shows_the_simulators_pixels() {
    if has("Pico", &["node", "npm"], &[M0PLUS]) {
        assert_equals_simulator("pico", "tft", "", ("0", "2"));
        assert_equals_simulator("pico", "tft", "down,right,up,down", ("9", "3"));
    }
}

#[test]
fn a_program_that_hangs_is_started_again_by_its_watchdog_and_no_other_is() {
    let boards = [
        ("lm3s6965evb", "qemu-system-arm", M3),
        ("pico", "node", M0PLUS),
    ];
    for (board, program, target) in boards {
        if has("watchdog", &[program], &[target]) {
            let dir = tempdir().unwrap();
            let path = dir.path().join("screen.png");
            let to = ["--screenshot", path.to_str().unwrap()];
            let hang = ["qemu", "--board", board, "--keys", "right", "--hang"];
            let (is_ok, log, errors) = tools(&[&hang[..], &to].concat());
            assert!(is_ok, "{board}: {log}{errors}");
            let seeds = log.lines().filter(|line| line.contains("Frame"));
            let seeds: Vec<_> = seeds.map(|line| number(line, "Frame", "seed")).collect();
            assert_eq!(log.matches("Boot").count(), 2, "{board}: {log}");
            assert_eq!(seeds, ["2", "3", "2"], "{board}: {log}");
        }
    }
}

/// The program of a board.
fn program(board: &str, target: &str) -> PathBuf {
    let feature = format!("board-{board}");
    let args = [
        "--package",
        "firmware",
        "--bin",
        "firmware",
        "--profile",
        "firmware",
    ];
    build(&[&args[..], &["--features", &feature, "--target", target]].concat())
}

/// The LM3S6965's program, changed in one place of its file.
fn changed_program(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut elf = fs::read(program("lm3s6965evb", M3)).unwrap();
    change(&mut elf);
    let path = dir.join("changed.elf");
    fs::write(&path, elf).unwrap();
    path
}

#[test]
fn a_damaged_model_is_shown_as_an_error_on_board_and_simulator_alike() {
    if !has("damaged model", &["qemu-system-arm"], &[M3]) {
        return;
    }
    let dir = tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut model = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/fashion.gan"
    ))
    .unwrap();
    let elf = changed_program(dir.path(), |elf| {
        let at = elf
            .windows(model.len())
            .position(|window| window == model)
            .expect("the model");
        elf[at + 5000] ^= 4;
    });
    model[5000] ^= 4;
    fs::write(path("damaged.gan"), &model).unwrap();

    let args = [
        "qemu",
        "--elf",
        elf.to_str().unwrap(),
        "--screenshot",
        &path("board.png"),
    ];
    let (is_ok, log, _) = tools(&args);
    assert!(
        !is_ok && log.contains("ERROR Failed(Model(checksum "),
        "{log}"
    );
    let args = [
        "--panel",
        "oled",
        "--model",
        &path("damaged.gan"),
        "--out",
        &path("simulator.png"),
    ];
    let output = simulator(&args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("the file is damaged"),
        "{errors}"
    );
    let shown = read_png(Path::new(&path("board.png")));
    assert!(shown == read_png(Path::new(&path("simulator.png"))));
    assert!(
        shown.pixels().any(|pixel| pixel.0 == [255; 3]),
        "nothing is shown"
    );
}

#[test]
fn a_stack_overflow_ends_the_program_before_it_reaches_other_memory() {
    if !has("stack overflow", &["qemu-system-arm"], &[M3]) {
        return;
    }
    let dir = tempdir().unwrap();
    let elf = changed_program(dir.path(), |elf| {
        // The stack's top is the first word of the first segment, the vector table: leave a
        // quarter of what drawing takes.
        let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap());
        let first_segment = word(28) as usize;
        let at = word(first_segment + 4) as usize;
        assert_eq!(word(at), 0x2000_4000);
        elf[at..at + 4].copy_from_slice(&0x2000_0C00u32.to_le_bytes());
    });
    let screen = dir.path().join("screen.png");
    let args = [
        "qemu",
        "--elf",
        elf.to_str().unwrap(),
        "--screenshot",
        screen.to_str().unwrap(),
    ];
    let (is_ok, log, _) = tools(&args);
    assert!(!is_ok && !log.contains("Frame"), "{log}");
    assert!(log.contains("ERROR the stack has overflowed"), "{log}");
}

#[test]
fn every_layer_of_the_default_model_has_the_hosts_bits_on_every_core() {
    let arm = [
        M0PLUS,
        M3,
        "thumbv7em-none-eabihf",
        "thumbv8m.main-none-eabihf",
    ];
    let targets = [&arm[..], &["riscv32imc-unknown-none-elf"]].concat();
    if has(
        "parity",
        &["qemu-system-arm", "qemu-system-riscv32"],
        &targets,
    ) {
        let (is_ok, _, errors) = tools(&["bench", "--model", "default"]);
        assert!(is_ok, "{errors}");
    }
}

#[test]
fn a_uf2_file_holds_the_program_of_the_elf_file() {
    if !has("UF2", &[], &[M0PLUS]) {
        return;
    }
    let dir = tempdir().unwrap();
    let path = dir.path().join("pico.uf2");
    let (is_ok, _, errors) = tools(&["flash", "--board", "pico", "--uf2", path.to_str().unwrap()]);
    assert!(is_ok, "{errors}");
    let blocks = fs::read(&path).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let count = blocks.len() / 512;
    let mut flash = vec![None; 2 << 20];
    for (number, block) in blocks.chunks(512).enumerate() {
        let header: Vec<u32> = (0..8).map(|i| word(block, 4 * i)).collect();
        let address = header[3] as usize - 0x1000_0000;
        let family_of_the_rp2040 = 0xe48b_ff56;
        let rest = [256, number as u32, count as u32, family_of_the_rp2040];
        assert_eq!(header[..3], [0x0A32_4655, 0x9E5D_5157, 0x2000]);
        assert_eq!((&header[4..], word(block, 508)), (&rest[..], 0x0AB1_6F30));
        for (byte, &held) in flash[address..address + 256]
            .iter_mut()
            .zip(&block[32..288])
        {
            assert_eq!(byte.replace(held), None, "{address:#x} twice");
        }
    }
    let elf = fs::read(program("pico", M0PLUS)).unwrap();
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    for header in (0..half(44)).map(|i| word(&elf, 28) as usize + i * half(42)) {
        let [kind, offset, address, bytes] =
            [0, 4, 12, 16].map(|at| word(&elf, header + at) as usize);
        for i in (0..bytes).filter(|_| kind == 1) {
            let held = flash[address - 0x1000_0000 + i];
            assert_eq!(held, Some(elf[offset + i]), "{address:#x} + {i}");
        }
    }
    // The boot ROM runs the first 252 bytes only if the next four are their checksum.
    assert!(flash[..256].iter().all(Option::is_some), "no second stage");
}

#[test]
fn a_build_that_cannot_work_says_why() {
    let dir = tempdir().unwrap();
    let large = dir.path().join("large.gan");
    fs::write(&large, dense_model(64, 4000)).unwrap();
    let build = |target: &str, features: &str, model: &str| {
        let output = Command::new(env!("CARGO"))
            .args([
                "check",
                "--quiet",
                "--package",
                "firmware",
                "--bin",
                "firmware",
            ])
            .args([
                "--profile",
                "firmware",
                "--target",
                target,
                "--features",
                features,
            ])
            .env("GAN_MODEL", model)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    if !has("builds that cannot work", &[], &[M3]) {
        return;
    }
    let board = "board-lm3s6965evb";
    let errors = build(M3, board, large.to_str().unwrap());
    assert!(
        errors.contains("bytes of program do not fit into 262144 bytes of flash"),
        "{errors}"
    );
    let errors = build(M3, board, "/nowhere.gan");
    assert!(errors.contains("cannot read /nowhere.gan"), "{errors}");
    let errors = build(M3, "", "");
    assert!(
        errors.contains("choose a board: --features board-lm3s6965evb"),
        "{errors}"
    );
    let errors = build(M3, "board-lm3s6965evb,board-nucleo-f411", "");
    assert!(errors.contains("choose one board, not 2"), "{errors}");
    let errors = build(M3, "board-stm32h743", "");
    assert!(
        errors.contains("needs --target thumbv7em-none-eabihf"),
        "{errors}"
    );
}

/// A model of one dense layer.
fn dense_model(latent_len: u16, outputs: usize) -> Vec<u8> {
    let (one, zero) = (1.0 / 128.0, 0);
    let quant = gan_core::Quant {
        scale: one,
        zero_point: zero,
    };
    let inputs = usize::from(latent_len);
    let layer = LayerSpec {
        op: gan_core::Op::Dense,
        input_shape: Shape {
            h: 1,
            w: 1,
            c: inputs,
        },
        output_shape: Shape {
            h: 1,
            w: outputs,
            c: 1,
        },
        weights: &vec![1; inputs * outputs],
        bias: &vec![0; outputs],
        multipliers: &vec![
            Multiplier {
                mantissa: 1 << 30,
                shift: -8
            };
            outputs
        ],
        pre_activation: quant,
        output: quant,
        function: Function::Unnamed,
        weight_bits: WeightBits::Eight,
        activation: Activation::Clamp {
            min: -128,
            max: 127,
        },
    };
    let spec = ModelSpec {
        name: "large",
        dataset: "none",
        labels: &[],
        latent_len,
        steps: 0,
        seed: 0,
        layers: &[layer],
    };
    let mut bytes = vec![0; encoded_bytes(&spec)];
    encode(&spec, &mut bytes).unwrap();
    bytes
}
