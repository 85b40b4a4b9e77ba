//! Which device a run computes on.

/// The first NVIDIA GPU, or why there is none.
#[cfg(feature = "cuda")]
pub fn cuda() -> Result<dfdx::prelude::Cuda, String> {
    use cudarc::driver::result;
    let unusable = |e: &dyn std::fmt::Debug| format!("no usable GPU: {e:?}");
    // Asked first: dfdx's own way to a device panics where there is none.
    result::init().map_err(|e| unusable(&e))?;
    if result::device::get_count().map_err(|e| unusable(&e))? == 0 {
        return Err("the driver finds no GPU".into());
    }
    dfdx::prelude::Cuda::try_seed_from_u64(0).map_err(|e| unusable(&e))
}

/// The first NVIDIA GPU, or why there is none.
#[cfg(not(feature = "cuda"))]
pub fn cuda() -> Result<std::convert::Infallible, String> {
    Err("this program was built without CUDA: add --features cuda after `-p host`".into())
}
