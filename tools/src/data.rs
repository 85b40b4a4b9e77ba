//! The embedded data set: the first images of each class, in file order.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use flate2::{Compression, GzBuilder, read::GzDecoder};

const PIXELS: usize = 28 * 28;
/// Part, and images taken of each of its ten classes.
const PARTS: [(&str, usize); 2] = [("train", 1000), ("t10k", 200)];

/// Writes the embedded data set: the first 1,000 training and 200 held-out images of each class
/// of Fashion-MNIST.
#[derive(clap::Args)]
pub struct Data {
    /// Folder of Fashion-MNIST's four gzipped IDX files.
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    from: PathBuf,
    /// Compare with the committed files instead of writing them.
    #[arg(long)]
    check: bool,
}

impl Data {
    pub fn run(self) -> anyhow::Result<()> {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/data/fashion");
        for (part, per_class) in PARTS {
            let images = read(&self.from.join(format!("{part}-images-idx3-ubyte.gz")), 16)?;
            let labels = read(&self.from.join(format!("{part}-labels-idx1-ubyte.gz")), 8)?;
            ensure!(
                images.len() == labels.len() * PIXELS,
                "{part}: images and labels differ"
            );
            let mut taken = [0; 10];
            let (mut pixels, mut kept) = (Vec::new(), Vec::new());
            for (image, &label) in images.chunks_exact(PIXELS).zip(&labels) {
                let count = taken
                    .get_mut(usize::from(label))
                    .context("a label above 9")?;
                if *count < per_class {
                    *count += 1;
                    pixels.extend_from_slice(image);
                    kept.push(label);
                }
            }
            ensure!(
                taken == [per_class; 10],
                "{part}: too few of a class: {taken:?}"
            );
            let n = kept.len() as u32;
            let images = compress(&[n, 28, 28], &pixels)?;
            let labels = compress(&[n], &kept)?;
            self.put(&to.join(format!("{part}-images-idx3-ubyte.gz")), &images)?;
            self.put(&to.join(format!("{part}-labels-idx1-ubyte.gz")), &labels)?;
        }
        Ok(())
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let name = path.file_name().unwrap_or_default().display();
        println!(
            "{name}: {} bytes, CRC-32 {:08x}",
            bytes.len(),
            crc32fast::hash(bytes)
        );
        if self.check {
            let committed = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
            if committed != bytes {
                bail!("{name} differs from what this command makes: run `cargo tools data`");
            }
            return Ok(());
        }
        std::fs::write(path, bytes).with_context(|| format!("cannot write {name}"))
    }
}

/// Classes of the embedded set.
pub const CLASSES: usize = 10;

/// The embedded training images, by class.
pub fn embedded_by_class() -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let folder = crate::root().join("host/data/fashion");
    let images = read(&folder.join("train-images-idx3-ubyte.gz"), 16)?;
    let labels = read(&folder.join("train-labels-idx1-ubyte.gz"), 8)?;
    Ok(grouped(&images, &labels))
}

/// The images of a plain IDX file and its labels, by class.
pub fn by_class(images: &Path, labels: &Path) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let content = |path: &Path, header_len: usize| -> anyhow::Result<Vec<u8>> {
        let bytes = std::fs::read(path);
        let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(bytes.get(header_len..).unwrap_or_default().to_vec())
    };
    Ok(grouped(&content(images, 16)?, &content(labels, 8)?))
}

fn grouped(images: &[u8], labels: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut classes = vec![Vec::new(); CLASSES];
    for (image, &label) in images.chunks_exact(PIXELS).zip(labels) {
        if let Some(class) = classes.get_mut(usize::from(label)) {
            class.push(image.to_vec());
        }
    }
    classes
}

/// The content of a gzipped IDX file behind its header.
fn read(path: &Path, header_len: usize) -> anyhow::Result<Vec<u8>> {
    let missing = "install Debian's dataset-fashion-mnist, or name the folder with --from";
    let file = std::fs::File::open(path);
    let file = file.with_context(|| format!("cannot open {}: {missing}", path.display()))?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(file), &mut content)?;
    ensure!(content.len() > header_len, "{} is cut", path.display());
    Ok(content.split_off(header_len))
}

/// A gzipped IDX file without a time in it.
fn compress(sizes: &[u32], content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gz = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    gz.write_all(&[0, 0, 8, sizes.len() as u8])?;
    for size in sizes {
        gz.write_all(&size.to_be_bytes())?;
    }
    gz.write_all(content)?;
    Ok(gz.finish()?)
}
