//! The modules of `gan-core` import only from those below them.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up.
const MODULES: [&str; 18] = [
    "slice", "error", "fixed", "image", "types", "geometry", "layout", "layer", "latent", "ops",
    "plan", "critic", "format", "check", "model", "infer", "choose", "encode",
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

#[test]
fn the_modules_of_core_import_only_from_those_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let rank = |module: &str| MODULES.iter().position(|known| *known == module);
    let mut seen = 0;
    for file in files(&src) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("{inside}: add the module to MODULES"));
        let text = fs::read_to_string(&file).unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for path in line.split("crate::").skip(1) {
                let imported = path
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                let imported = imported.unwrap();
                let below = rank(imported).is_some_and(|rank| rank <= own);
                assert!(
                    below,
                    "{inside} imports {imported}, which is not below it: {line}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} imports were found");
}
