//! Text of files and folders: what it may hold, and what becomes of it elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use gan_core::encode::{ModelSpec, encode, encoded_bytes};
use gan_core::error::FileError;
use gan_core::{Model, ModelError};
use host::config::Config;
use tempfile::tempdir;

use crate::cli::{fails, host, ok};
use crate::export::named;
use crate::files::{layer_specs, rich};
use crate::firmware::has;
use crate::format::fix_crc;
use crate::interruption::{TINY, folder};

/// Every character that steers what shows it, or is invisible: C0, DEL, C1, line and paragraph
/// separators, what changes the direction of writing, spaces without width, byte order marks,
/// annotations and tags.
fn controls() -> Vec<char> {
    let ranges = [
        0..=0x1F,
        0x7F..=0x9F,
        0x61C..=0x61C,
        0x200B..=0x200B,
        0x200E..=0x200F,
        0x2028..=0x202E,
        0x2060..=0x206F,
        0xFEFF..=0xFEFF,
        0xFFF9..=0xFFFB,
        0xE0000..=0xE007F,
    ];
    ranges
        .into_iter()
        .flatten()
        .filter_map(char::from_u32)
        .collect()
}

/// A model of no matter what weights with these texts.
fn model(name: &str, dataset: &str, label: &str) -> Result<Vec<u8>, ModelError> {
    layer_specs(|layers| {
        let spec = ModelSpec {
            name,
            dataset,
            labels: &[label, "other"],
            latent_len: 3,
            steps: 1,
            seed: 2,
            layers,
        };
        let mut bytes = vec![0; encoded_bytes(&spec)];
        encode(&spec, &mut bytes).map(|_| bytes)
    })
}

#[test]
fn no_file_or_configuration_holds_a_control_character() {
    let preset = Config::preset("fashion").unwrap();
    for control in controls() {
        let text = format!("a{control}b");
        for [name, dataset, label] in [[&text, "d", "l"], ["n", &text, "l"], ["n", "d", &text]] {
            let refused = model(name, dataset, label).unwrap_err();
            let expected = match control {
                '\n' => matches!(refused, ModelError::File(FileError::LineCount { .. })),
                _ => matches!(
                    refused,
                    ModelError::File(FileError::ControlCharacter { .. })
                ),
            };
            assert!(expected, "{control:?}: {refused:?}");
        }
        let mut config = preset.clone();
        config.name = text.clone();
        assert!(config.check("test").is_err(), "name with {control:?}");
        let mut config = preset.clone();
        config.data.labels = vec![text.clone()];
        assert!(config.check("test").is_err(), "labels with {control:?}");
        let mut config = preset.clone();
        config.data.class_names = vec![text];
        assert!(config.check("test").is_err(), "classes with {control:?}");
    }
    // A file that another program wrote: the text begins behind 3 layers' entries.
    for control in controls()
        .into_iter()
        .filter(|&c| c != '\n' && u32::from(c) < 0x80)
    {
        let mut bytes = rich().to_vec();
        bytes[48 + 3 * 64 + 2] = control as u8;
        fix_crc(&mut bytes);
        let refused = Model::parse(&bytes).unwrap_err();
        assert_eq!(refused, FileError::ControlCharacter { at: 2 }.into());
    }
    assert!(
        model("größe \u{1F45F}", "d", "l").is_ok(),
        "letters are no controls"
    );
}

/// Ends of comments and of lines, trigraphs, digraphs, code, markup.
const TRICKS: [&str; 8] = [
    "*/ int planted = 1; /*",
    "*??/\n/ int planted = 1; //",
    "a \\",
    "a ??/",
    "/* // */ %:define int",
    "*\\\r/ int planted = 1; __attribute__((constructor)) void f(void){}",
    "<script>alert(1)</script>",
    "größe \u{1F45F} ??=include",
];

#[test]
fn a_name_never_becomes_code() {
    if !has("names in C", &["gcc", "g++", "nm"], &[]) {
        return;
    }
    let dir = tempdir().unwrap();
    let dir = dir.path();
    for (i, trick) in TRICKS.into_iter().enumerate() {
        let trick = trick.replace(['\r', '\n'], " ");
        let gan = format!("{i}.gan");
        fs::write(dir.join(&gan), model(&trick, &trick, &trick).unwrap()).unwrap();
        for [format, ending] in [["c", "h"], ["onnx-qdq", "onnx"], ["tflite", "tflite"]] {
            let out = format!("{i}.{ending}");
            ok(dir, &["export", &gan, "--format", format, "--out", &out]);
        }
        let header = fs::read_to_string(dir.join(format!("{i}.h"))).unwrap();
        assert!(
            header
                .bytes()
                .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
            "{header}"
        );
        // A use of everything, so that the compiler keeps it.
        let height = header
            .split("#define ")
            .find_map(|line| line.split_once("HEIGHT "));
        let prefix = height.unwrap().0.to_lowercase();
        let draw =
            "void gan_draw(const int8_t *x, int8_t *a, int8_t *y) { gan_generate(x, a, y); }\n";
        let code = format!("#include \"{i}.h\"\n{}", draw.replace("gan_", &prefix));
        for compiler in ["gcc", "g++"] {
            fs::write(dir.join("draw.c"), &code).unwrap();
            let symbols = compile(dir, compiler);
            assert!(
                symbols.iter().all(|name| name.contains("gan_")),
                "{trick}: {symbols:?}"
            );
        }
    }
}

/// Compiles `draw.c` with trigraphs and every warning an error; names of its symbols.
fn compile(dir: &Path, compiler: &str) -> Vec<String> {
    let language = if compiler == "g++" {
        ["-x", "c++", "-std=c++11"]
    } else {
        ["-x", "c", "-std=c99"]
    };
    let strict = [
        "-trigraphs",
        "-Wall",
        "-Wextra",
        "-Wcomment",
        "-Wtrigraphs",
        "-Werror",
        "-c",
    ];
    let strict = [&strict[..], &["-Wno-unused-function"]].concat();
    let built = Command::new(compiler)
        .args([&language[..], &strict, &["draw.c", "-o", "draw.o"]].concat())
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let nm = Command::new("nm")
        .arg("draw.o")
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8(nm.stdout).unwrap();
    text.lines()
        .filter_map(|line| Some(line.split(' ').next_back()?.to_owned()))
        .collect()
}

#[test]
fn two_models_live_in_one_c_program() {
    if !has("two headers", &["gcc"], &[]) {
        return;
    }
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let mut code = String::new();
    for name in ["one", "two"] {
        fs::write(
            dir.join(format!("{name}.gan")),
            model(name, "d", "l").unwrap(),
        )
        .unwrap();
        let [gan, header] = [format!("{name}.gan"), format!("{name}.h")];
        ok(dir, &["export", &gan, "--format", "c", "--out", &header]);
        let draw =
            "void gan_draw(const int8_t *x, int8_t *a, int8_t *y) { gan_generate(x, a, y); }\n";
        code += &format!("#include \"{header}\"\n{}", named(draw, name));
    }
    fs::write(dir.join("draw.c"), code).unwrap();
    let symbols = compile(dir, "gcc");
    assert!(
        ["gan_one_draw", "gan_two_draw"]
            .iter()
            .all(|name| symbols.contains(&(*name).to_owned()))
    );
}

#[test]
fn two_models_of_one_name_do_not_compile_until_one_is_given_another() {
    if !has("one name", &["gcc"], &[]) {
        return;
    }
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let export = |gan: &str, more: &[&str]| {
        let header = gan.replace(".gan", ".h");
        let export = ["export", gan, "--format", "c", "--out", &header];
        ok(dir, &[&export[..], more].concat());
    };
    for (file, label) in [("a.gan", "l"), ("b.gan", "m")] {
        fs::write(dir.join(file), model("\u{fc}", "d", label).unwrap()).unwrap();
        export(file, &[]);
    }
    let both = "#include \"a.h\"\n#include \"a.h\"\n#include \"b.h\"\n";
    fs::write(dir.join("both.c"), both).unwrap();
    let compiled = || {
        let gcc = Command::new("gcc")
            .args(["-c", "both.c"])
            .current_dir(dir)
            .output();
        let gcc = gcc.unwrap();
        (
            gcc.status.success(),
            String::from_utf8_lossy(&gcc.stderr).into_owned(),
        )
    };
    let (is_ok, told) = compiled();
    assert!(
        !is_ok && told.contains("export one of them with --name"),
        "{told}"
    );
    export("b.gan", &["--name", "other"]);
    assert!(compiled().0, "{}", compiled().1);
}

/// What a terminal takes for a command: escape, bell, C1's own introducers.
fn steers(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .any(|c| c != '\n' && c != '\t' && c.is_control())
}

#[test]
fn nothing_that_a_file_or_an_argument_holds_steers_the_terminal() {
    let dir = folder();
    let dir = dir.path();
    let evil = "a\u{1b}]0;x\u{7}\u{9b}31m";
    fs::write(dir.join("good.gan"), rich()).unwrap();
    let mut bytes = rich().to_vec();
    bytes[48 + 3 * 64] = 0x1B;
    fix_crc(&mut bytes);
    fs::write(dir.join("evil.gan"), bytes).unwrap();
    fs::write(dir.join("evil.toml"), TINY.replace("relu", "\\u001b]0;x")).unwrap();
    fs::create_dir_all(dir.join("classes").join(evil)).unwrap();
    for class in ["b", evil] {
        let folder = dir.join("classes").join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..6 {
            let to = folder.join(format!("{i}.png"));
            fs::copy(dir.join(format!("pictures/0{i}.png")), to).unwrap();
        }
    }
    for args in [
        &["inspect", "evil.gan"][..],
        &["sample", "good.gan", "--class", evil],
        &["inspect", evil],
        &["train", "--config", "evil.toml"],
        &["train", "--config", "tiny.toml", "--data", "classes"],
        &["train", "--preset", evil],
        &["inspect", "good.gan", evil],
        &["train", "--fit", evil],
        &[evil],
    ] {
        let output = host(dir, args);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}");
        assert!(
            !steers(&output.stdout) && !steers(&output.stderr),
            "{args:?}"
        );
    }
    assert!(!dir.join("runs").exists(), "a run began");
}

#[test]
fn a_name_is_one_component_of_a_path() {
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("weights"), "").unwrap();
    let long = "n".repeat(101);
    for name in [
        "", " ", ".", "..", "../../x", "/x/y", "a/b", "a\\\\b", "c:", "x.", &long,
    ] {
        let text = TINY.replace("\"tiny\"", &format!("\"{name}\""));
        fs::write(dir.join("named.toml"), text).unwrap();
        let train = ["train", "--config", "named.toml", "--data", "pictures"];
        let import = ["import", "--weights", "weights", "--config", "named.toml"];
        for args in [&train[..], &import] {
            let error = fails(dir, 1, args);
            assert!(error.contains("name"), "{name}: {error}");
        }
        assert!(!dir.join("runs").exists(), "{name} was taken");
    }
}
