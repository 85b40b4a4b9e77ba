//! The checksums of every layer, host and cores side by side.

use super::Counts;

/// Prints a table. The host's column needs no count of its own: what differs from it has
/// already failed.
pub fn print(all: &[Counts]) {
    let mut models: Vec<&str> = Vec::new();
    let mut cores: Vec<&str> = Vec::new();
    for counts in all {
        if !models.contains(&counts.model.as_str()) {
            models.push(&counts.model);
        }
        if !cores.contains(&counts.core.as_str()) {
            cores.push(&counts.core);
        }
    }
    println!("\nCRC-32 of each layer's output for seed 1, class 0: the host's, and");
    let heads: String = cores.iter().map(|core| format!("  {core:>8}")).collect();
    println!("{:8} {:32} {:>8}{heads}", "model", "layer", "host");
    for model in models {
        let of_model: Vec<&Counts> = all.iter().filter(|counts| counts.model == model).collect();
        let Some(first) = of_model.first() else {
            continue;
        };
        for (i, layer) in first.layers.iter().enumerate() {
            let crcs = of_model.iter().filter_map(|counts| counts.layers.get(i));
            let crcs: String = crcs.map(|layer| format!("  {:08x}", layer.crc32)).collect();
            println!("{model:8} {:32} {:08x}{crcs}", layer.name, layer.crc32);
        }
    }
    println!("all are equal, layer by layer, on {}", cores.join(", "));
}
