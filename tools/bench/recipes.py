"""Trains `fashion` by several recipes and prints a table of what their pictures are like.

    python3 tools/bench/recipes.py --data FASHION-MNIST-FOLDER --steps 3000 [--seeds 1] [NAME ...]

Needs PyTorch, for tools/bench/quality.py. Runs are left in target/recipes; those that are there are
not trained again. A recipe is the preset with some lines changed.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
LABELS = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


def spectral(preset):
    """Spectral norm in place of batch normalization in the discriminator."""
    generator, discriminator = preset.split("[[discriminator.conv]]", 1)
    discriminator = discriminator.replace("norm = true", "norm = false")
    return f"{generator}[discriminator]\nspectral_norm = true\n\n[[discriminator.conv]]{discriminator}"


def training(*lines):
    """The preset, which ends in [training], with these lines in the place of those of the same keys."""
    keys = [line.split(" = ")[0] for line in lines]
    kept = lambda preset: [line for line in preset.splitlines() if line.split(" = ")[0] not in keys]
    return lambda preset: "\n".join([*kept(preset), *lines]) + "\n"


RECIPES = {
    "default": training(),
    "rate 2e-4": training("learning_rate = 2e-4"),
    "hinge": training('loss = "hinge"'),
    "relativistic": training('loss = "relativistic"'),
    "label smoothing 0.1": training("label_smoothing = 0.1"),
    "LeCam 0.1": training("lecam = 0.1"),
    "DiffAugment": training('augment = ["translation", "color", "cutout"]', "augment_target = 0"),
    "spectral norm, hinge, TTUR": lambda preset: training(
        'loss = "hinge"', "learning_rate = 1e-4", "discriminator_learning_rate = 4e-4")(spectral(preset)),
    "the article's": lambda _: (ROOT / "tools/bench/article.toml").read_text(),
    "constant rate": training("decay_from = 1.0"),
    "no averaging": training("ema = 0.0"),
}


def host(*args):
    command = ["cargo", "run", "--quiet", "-p", "host", "--", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    args = parser.parse_args()
    out = ROOT / "target/recipes"
    out.mkdir(parents=True, exist_ok=True)
    preset = (ROOT / "host/presets/fashion.toml").read_text()
    print("| recipe | steps | seed | recognised | coverage | precision | FD |\n|---|---|---|---|---|---|---|")
    for name in args.names or RECIPES:
        config = out / (re.sub(r"\W+", "-", name) + ".toml")
        config.write_text(RECIPES[name](preset))
        for seed in range(1, args.seeds + 1):
            run = out / f"{config.stem}-{args.steps}-{seed}"
            if not (run / "generator.gan").exists():
                host("train", "--config", config, "--data", args.data, "--labels", LABELS,
                     "--steps", args.steps, "--seed", seed, "--out", run)
            host("sample", run / "generator.gan", "--count", 10000, "--out", run / "drawn.idx")
            judged = subprocess.run(
                [sys.executable, ROOT / "tools/bench/quality.py", "--data", args.data,
                 "--cache", out / "classifier.pt", run / "drawn.idx"],
                check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            found = json.loads(judged)
            print(f"| {name} | {args.steps:,} | {seed} | {100 * found['recognised']:.1f} % "
                  f"| {found['coverage']:.3f} | {found['precision']:.3f} | {found['frechet_distance']:.2f} |",
                  flush=True)


main()
