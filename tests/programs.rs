//! The workspace's programs, built as a user would.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

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
