//! The CUDA build, kernels included, on a machine without a GPU.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::root;

/// Builds `host --features cuda` with nvcc from the Python registry, and starts it without a GPU.
///
/// Into target/cuda-check go: NVIDIA's compiler as wheels (270 MB), an `nvidia-smi` that
/// names a compute capability, and libraries in which every function says "no device".
#[derive(clap::Args)]
pub struct CudaCheck {
    /// Compute capability to build for.
    #[arg(long, default_value = "8.6")]
    compute_cap: String,
}

/// nvcc, its parts, and the headers that the kernels include.
const WHEELS: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
];

/// Libraries that cudarc links, and the folder of its bindings for each.
const LIBRARIES: [(&str, &str); 5] = [
    ("cuda", "driver"),
    ("nvrtc", "nvrtc"),
    ("curand", "curand"),
    ("cublas", "cublas"),
    ("cublasLt", "cublaslt"),
];

/// Nothing but `host doctor` is run of it: optimizing would only take time.
const UNOPTIMIZED: [&str; 6] = [
    "--config",
    "profile.dev.package.\"*\".opt-level=0",
    "--config",
    "profile.dev.package.gan-core.opt-level=0",
    "--config",
    "profile.dev.package.host.opt-level=0",
];

impl CudaCheck {
    pub fn run(self) -> anyhow::Result<()> {
        let cache = root().join("target/cuda-check");
        let cuda = toolkit(&cache)?;
        let bin = cache.join("bin");
        fake_gpu(&bin, &self.compute_cap)?;
        stub_libraries(&cuda.join("lib"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [bin, cuda.join("bin")]
            .into_iter()
            .chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path)?;
        let build = cache.join("build");
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "-p", "host", "--features", "cuda", "--target-dir"])
            .arg(&build)
            .args(UNOPTIMIZED)
            .current_dir(root())
            .env("PATH", &path)
            .env("CUDA_PATH", &cuda);
        run(&mut cargo)?;
        let kernels = kernels(&build)?;
        ensure!(
            kernels > 0,
            "nvcc left no kernels under {}",
            build.display()
        );
        println!(
            "{kernels} files of kernels compiled for {}",
            self.compute_cap
        );
        let mut doctor = Command::new(build.join("debug/gan"));
        doctor
            .args(["doctor", "--json"])
            .env("PATH", &path)
            .env("CUDA_PATH", &cuda)
            .env("LD_LIBRARY_PATH", cuda.join("lib"));
        let output = doctor.output().context("cannot start the program")?;
        let told = String::from_utf8_lossy(&output.stdout);
        print!("{told}");
        let report: serde_json::Value =
            serde_json::from_str(&told).context("`gan doctor --json` prints no JSON")?;
        let missing = report["missing"].as_object();
        ensure!(
            output.status.success() && missing.is_some_and(|missing| missing.is_empty()),
            "`gan doctor` does not find what it was built with"
        );
        Ok(())
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    println!("{command:?}");
    let status = command.status();
    let status = status.with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Fetches the wheels, once; the folder that `CUDA_PATH` has to name.
fn toolkit(cache: &Path) -> anyhow::Result<PathBuf> {
    let wheels = cache.join("wheels");
    let cuda = wheels.join("nvidia/cu13");
    if !cuda.join("bin/nvcc").exists() {
        let mut pip = Command::new("python3");
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]);
        run(pip.arg(&wheels).args(WHEELS)).context("the wheels need Python's pip")?;
    }
    Ok(cuda)
}

/// dfdx's build script asks `nvidia-smi` for the capability to compile for.
fn fake_gpu(bin: &Path, compute_cap: &str) -> anyhow::Result<()> {
    fs::create_dir_all(bin)?;
    let program = bin.join("nvidia-smi");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\n*name*) echo 'none (only compiled for), 0, {compute_cap}' ;;\n\
         *) printf 'compute_cap\\n{compute_cap}\\n' ;;\nesac\n"
    );
    fs::write(&program, script)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// `CUDA_ERROR_NO_DEVICE`, in the driver and in all others an error too.
const NO_DEVICE: u32 = 100;

/// Libraries with every function that cudarc declares, for where the real ones are absent.
fn stub_libraries(lib: &Path) -> anyhow::Result<()> {
    let cudarc = cudarc()?;
    for (name, folder) in LIBRARIES {
        let library = lib.join(format!("lib{name}.so"));
        let source = lib.join(format!("{name}.c"));
        if library.exists() && !source.exists() {
            continue; // a real one
        }
        let bindings = fs::read_to_string(cudarc.join(folder).join("sys.rs"))?;
        let functions: BTreeSet<_> = declared(&bindings).into_iter().collect();
        let stubs = functions.iter().map(|name| stub(name));
        fs::write(&source, stubs.collect::<String>())?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source);
        run(&mut cc)?;
    }
    Ok(())
}

/// A function in C that fails; those that name an error succeed.
fn stub(name: &str) -> String {
    match name {
        "cuGetErrorName" | "cuGetErrorString" => {
            format!("int {name}(int e, const char **s) {{ *s = \"no device\"; return 0; }}\n")
        }
        _ => format!("int {name}(void) {{ return {NO_DEVICE}; }}\n"),
    }
}

/// The sources of cudarc that the lock file names.
fn cudarc() -> anyhow::Result<PathBuf> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--features",
            "host/cuda",
        ])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "cudarc")
        .find_map(|package| package["manifest_path"].as_str())
        .context("cudarc is not among the dependencies")?;
    Ok(Path::new(manifest).with_file_name("src"))
}

/// Names of the functions that bindings declare.
fn declared(bindings: &str) -> Vec<String> {
    let names = bindings.split("pub fn ").skip(1);
    let names = names.filter_map(|rest| rest.split('(').next());
    names.map(str::to_owned).collect()
}

/// Files of compiled kernels that dfdx's build script has left.
fn kernels(build: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for package in fs::read_dir(build.join("debug/build"))? {
        let out = package?.path().join("out");
        let Ok(files) = fs::read_dir(out) else {
            continue;
        };
        for file in files {
            let path = file?.path();
            let filled = fs::metadata(&path)?.len() > 0;
            count += usize::from(filled && path.extension().is_some_and(|end| end == "ptx"));
        }
    }
    Ok(count)
}
