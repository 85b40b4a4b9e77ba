//! `host doctor`: what this program is and runs on.

pub fn run() -> anyhow::Result<()> {
    println!("host        {}", env!("CARGO_PKG_VERSION"));
    println!(
        "system      {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    println!("processor   {} threads", rayon::current_num_threads());
    #[cfg(target_arch = "x86_64")]
    {
        let has =
            |name: &str, found: bool| println!("{name:11} {}", if found { "yes" } else { "no" });
        has(
            "AVX2 + FMA",
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        );
        has("AVX-512", is_x86_feature_detected!("avx512f"));
    }
    #[cfg(feature = "cuda")]
    match dfdx::prelude::Cuda::try_seed_from_u64(0) {
        Ok(_) => println!("CUDA        built in, the first GPU works"),
        Err(e) => println!("CUDA        built in, no usable GPU: {e:?}"),
    }
    #[cfg(not(feature = "cuda"))]
    println!("CUDA        not built in (cargo run -p host --features cuda, needs the toolkit)");
    Ok(())
}
