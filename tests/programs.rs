//! The workspace's programs, built as a user would; and what a check tells them.

use std::fs::File;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// Runs `cargo build` with more arguments; the last program that it names.
pub fn build(args: &[&str]) -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--message-format=json"])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{errors}");
    let messages = String::from_utf8(build.stdout).unwrap();
    let messages = messages
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let executable = |message: Value| message["executable"].as_str().map(PathBuf::from);
    let last = messages.filter_map(executable).next_back();
    last.expect("cargo names the program")
}

/// Prints what a check has found, past the test harness, which keeps what passing tests
/// print. It is also a line of JSON at the end of the file that `FOUND` names, for `cargo
/// tools ci`.
pub fn found(check: &str, text: &str) {
    let _ = writeln!(stderr(), "{text}");
    let Some(path) = std::env::var_os("FOUND") else {
        return;
    };
    let mut file = File::options().append(true).open(path).expect("FOUND");
    let line = format!("{}\n", json!({"check": check, "found": text}));
    file.write_all(line.as_bytes()).expect("FOUND");
}
