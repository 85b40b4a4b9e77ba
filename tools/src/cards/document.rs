//! The document whose figures are generated. Each generated block stands between the lines
//! `<!-- cards:NAME -->` and `<!-- /cards:NAME -->`.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context;

/// A Markdown file, read whole.
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub fn read(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let path = path.into();
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, text })
    }

    pub fn write(&self) -> anyhow::Result<()> {
        let written = fs::write(&self.path, &self.text);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// The block `name`, without its markers.
    pub fn block(&self, name: &str) -> anyhow::Result<&str> {
        Ok(&self.text[self.range(name)?])
    }

    /// Replaces the block `name` by `new`.
    pub fn replace(&mut self, name: &str, new: &str) -> anyhow::Result<()> {
        let range = self.range(name)?;
        self.text.replace_range(range, new);
        Ok(())
    }

    /// Where the block `name` lies: behind the line of its first marker, up to the second one.
    fn range(&self, name: &str) -> anyhow::Result<Range<usize>> {
        let (first, last) = (
            format!("<!-- cards:{name} -->\n"),
            format!("<!-- /cards:{name} -->\n"),
        );
        let missing = |marker: &str| format!("{} lacks {}", self.path.display(), marker.trim_end());
        let start = self.text.find(&first).with_context(|| missing(&first))? + first.len();
        let len = self.text[start..].find(&last);
        let len = len.with_context(|| missing(&last))?;
        Ok(start..start + len)
    }
}
