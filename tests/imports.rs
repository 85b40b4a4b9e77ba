//! The modules of `gan-core`, of the host and of the firmware import only from those below them.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `gan-core`, from the ground up.
const CORE: [&str; 18] = [
    "slice", "error", "fixed", "image", "types", "geometry", "layout", "layer", "latent", "ops",
    "plan", "critic", "format", "check", "model", "infer", "choose", "encode",
];

/// Modules of the host's library, from the ground up.
const HOST: [&str; 21] = [
    "console",
    "files",
    "memory",
    "random",
    "seeds",
    "npy",
    "html",
    "run_folder",
    "nn",
    "data",
    "picture",
    "config",
    "generator",
    "sample",
    "quant",
    "finetune",
    "compare",
    "risk",
    "train",
    "export",
    "import",
];

/// Modules of the firmware, from the ground up.
const FIRMWARE: [&str; 9] = [
    "model", "input", "display", "event", "screen", "app", "device", "chip", "board",
];

/// The Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().chain(below).collect()
}

/// Fails where a module below `folder` imports one that stands after it in `modules`. The
/// files `skipped` are roots of crates. Returns how many imports were seen.
fn check(folder: &str, modules: &[&str], prefixes: &[&str], skipped: &[&str]) -> usize {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let rank = |module: &str| modules.iter().position(|known| *known == module);
    let mut seen = 0;
    for file in files(&src) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        if skipped.contains(&module) {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("{inside}: add the module to the list"));
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("super::super"),
            "{inside}: begin the path with `crate`"
        );
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        // In a module's own file `super` is the crate, in a test below it the module itself.
        let is_module = file.parent() == Some(&src)
            || inside.matches('/').count() == 1 && inside.ends_with("/mod.rs");
        let prefixes = prefixes
            .iter()
            .copied()
            .chain(is_module.then_some("super::"));
        let prefixed = |line| prefixes.clone().map(move |prefix| (line, prefix));
        for (line, prefix) in code.flat_map(prefixed) {
            for path in line.split(prefix).skip(1) {
                let imported = path
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                let imported = imported.unwrap();
                if prefix == "super::" && rank(imported).is_none() {
                    continue;
                }
                let below = rank(imported).is_some_and(|rank| rank <= own);
                assert!(
                    below,
                    "{inside} imports {imported}, which is not below it: {line}"
                );
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn the_modules_of_core_import_only_from_those_below_them() {
    let seen = check("../core/src", &CORE, &["crate::"], &["lib"]);
    assert!(seen > 40, "only {seen} imports were found");
}

#[test]
fn the_modules_of_the_host_import_only_from_those_below_them() {
    // The program stands on the library.
    let roots = ["lib", "main", "cli", "commands", "device"];
    let seen = check("../host/src", &HOST, &["crate::"], &roots);
    assert!(seen > 150, "only {seen} imports were found");
}

#[test]
fn the_modules_of_the_firmware_import_only_from_those_below_them() {
    let roots = ["lib", "main", "bin"];
    let prefixes = ["crate::", "firmware::"];
    let seen = check("../firmware/src", &FIRMWARE, &prefixes, &roots);
    assert!(seen > 30, "only {seen} imports were found");
}
