//! Standard output and standard error: a reader that goes away ends no command, and text from
//! files cannot steer a terminal.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Mutex;

use gan_core::format::is_control;

/// The first error of standard output, which [`finish`] reports.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line on standard output; see [`print()`].
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::console::print(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints a line on standard error; see [`printable`].
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::console::print_error(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints text on standard output as [`printable`] shows it.
///
/// A closed pipe is ignored, as every further line is then; any other error is kept for
/// [`finish`], so that a long run goes on.
pub fn print(text: &str) {
    print_raw(&printable(text));
}

/// Prints on standard output what this program made itself, escape sequences included.
pub fn print_raw(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let mut failed = FAILED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        failed.get_or_insert(error);
    }
}

/// Prints text on standard error as [`printable`] shows it. Its errors have no place to go.
pub fn print_error(text: &str) {
    let _ = io::stderr().lock().write_all(printable(text).as_bytes());
}

/// The first error of standard output, if any text did not arrive although somebody reads.
pub fn finish() -> io::Result<()> {
    let mut failed = FAILED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    failed.take().map_or(Ok(()), Err)
}

/// Text with U+FFFD in the place of every control character but line breaks and tabs.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if is_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A path as [`printable`] text of one line.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).replace(['\n', '\t'], "\u{fffd}")
}

/// Checks that text has characters to show only, and at least one; `what` names it in the error.
pub fn check_text(what: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{what} is empty: give it a name"));
    }
    match text.chars().find(|&c| is_control(c)) {
        Some(c) => Err(format!(
            "{what} `{}` holds the control character U+{:04X}: write it without",
            printable(text).replace(['\n', '\t'], "\u{fffd}"),
            u32::from(c)
        )),
        None => Ok(()),
    }
}

/// A number and its noun: `1 image`, `2 images`; `class` and the like end in `es`.
pub fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('s') => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}
