//! `gan doctor`: what this program is and runs on, and what a CUDA build would miss.

use std::path::{Path, PathBuf};
use std::process::Command;

use host::console::counted;
use host::say;

use crate::device;

pub fn run(json: bool) -> anyhow::Result<()> {
    let toolkit = toolkit();
    if json {
        return print_json(&toolkit);
    }
    let line = |name: &str, what: &str| say!("{name:<20} {what}");
    line("gan", env!("CARGO_PKG_VERSION"));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    line("system", &format!("{os} {arch}"));
    let threads = counted(rayon::current_num_threads(), "thread");
    line("processor", &format!("{threads}{}", vectors()));
    let (built, usable) = (cfg!(feature = "cuda"), device::cuda());
    line("CUDA in this program", if built { "yes" } else { "no" });
    match usable {
        Ok(_) => line("GPU", "works"),
        Err(reason) => line("GPU", &reason),
    }
    say!("\nWhat `cargo run -p host --features cuda` needs:");
    let mut missing = 0;
    for (name, found) in toolkit {
        match found {
            Ok(what) => line(name, &what),
            Err(remedy) => {
                missing += 1;
                line(name, &format!("MISSING: {remedy}"));
            }
        }
    }
    match missing {
        0 => say!("All of it is there."),
        n => say!("{n} missing. Training on the processor needs none of it."),
    }
    Ok(())
}

/// The same for programs: whether a GPU works, and what a CUDA build finds or misses.
fn print_json(toolkit: &[Found]) -> anyhow::Result<()> {
    let found = |is_there: bool| -> serde_json::Map<String, serde_json::Value> {
        let found = toolkit
            .iter()
            .filter(|(_, found)| found.is_ok() == is_there);
        let text = |found: &Result<String, String>| match found {
            Ok(text) | Err(text) => text.as_str().into(),
        };
        let found = found.map(|(name, found)| ((*name).to_owned(), text(found)));
        found.collect()
    };
    let report = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "threads": rayon::current_num_threads(),
        "cuda": cfg!(feature = "cuda"),
        "gpu_error": device::cuda().err(),
        "found": found(true),
        "missing": found(false),
    });
    say!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return ", AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return ", AVX2 and FMA";
        }
    }
    ""
}

type Found = (&'static str, Result<String, String>);

/// Files that the build scripts of dfdx and cudarc need, each with a remedy where it is missing.
fn toolkit() -> Vec<Found> {
    let gpu = output(
        "nvidia-smi",
        &[
            "--query-gpu=name,driver_version,compute_cap",
            "--format=csv,noheader",
        ],
    );
    let gpu_fields: Vec<String> = gpu
        .as_deref()
        .and_then(|text| text.lines().next())
        .map(|line| {
            line.split(',')
                .map(|field| field.trim().to_owned())
                .collect()
        })
        .unwrap_or_default();
    let field = |i: usize, remedy: &str| gpu_fields.get(i).cloned().ok_or(remedy.to_owned());
    let codes = output("nvcc", &["--list-gpu-code"]);
    let root = roots()
        .into_iter()
        .find(|root| root.join("include/cuda.h").is_file());
    let mut found = vec![
        (
            "nvidia-smi, GPU",
            field(0, "install NVIDIA's driver; `nvidia-smi` has to list a GPU"),
        ),
        ("driver", field(1, "comes with nvidia-smi")),
        (
            "compute capability",
            capability(field(2, "comes with nvidia-smi"), codes.as_deref()),
        ),
        (
            "nvcc",
            output("nvcc", &["--version"])
                .and_then(|text| Some(text.lines().find(|l| l.contains("release"))?.to_owned()))
                .ok_or("install the CUDA toolkit and add its bin folder to PATH".into()),
        ),
        (
            "include/cuda.h",
            root.as_ref()
                .map(|root| root.display().to_string())
                .ok_or("set CUDA_PATH to the toolkit's folder".into()),
        ),
    ];
    for (name, file) in LIBRARIES {
        found.push((name, library(root.as_deref(), file)));
    }
    found
}

const LIBRARIES: [(&str, &str); 5] = [
    ("libcuda", "libcuda.so"),
    ("libcublas", "libcublas.so"),
    ("libcublasLt", "libcublasLt.so"),
    ("libcurand", "libcurand.so"),
    ("libnvrtc", "libnvrtc.so"),
];

/// Standard output of a program that ended well.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The GPU's capability, if nvcc knows it.
fn capability(of_gpu: Result<String, String>, codes: Option<&str>) -> Result<String, String> {
    let capability = of_gpu?;
    let code = format!("sm_{}", capability.replace('.', ""));
    match codes {
        Some(codes) if !codes.lines().any(|line| line == code) => Err(format!(
            "this nvcc cannot build for {capability}: install another version of the toolkit"
        )),
        _ => Ok(capability),
    }
}

/// Where the build scripts look for the toolkit.
fn roots() -> Vec<PathBuf> {
    let variables = ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];
    let variables = variables.into_iter().filter_map(std::env::var_os);
    let usual = ["/usr", "/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda"];
    let usual = usual.into_iter().map(Into::into);
    variables.chain(usual).map(PathBuf::from).collect()
}

/// A library where the linker will look for it.
fn library(root: Option<&Path>, file: &str) -> Result<String, String> {
    let folders = [
        "lib",
        "lib64",
        "lib64/stubs",
        "lib/x86_64-linux-gnu",
        "targets/x86_64-linux/lib",
        "targets/x86_64-linux/lib/stubs",
    ];
    let in_toolkit = folders.iter().filter_map(|folder| Some(root?.join(folder)));
    let system = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    let paths = in_toolkit.chain(system.iter().map(PathBuf::from));
    paths
        .map(|folder| folder.join(file))
        .find(|path| path.exists())
        .map(|path| path.display().to_string())
        .ok_or(format!(
            "no {file} in the toolkit's lib folders or the system's"
        ))
}
