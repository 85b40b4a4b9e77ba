"""Judges generated pictures by a classifier that has nothing to do with this project.

    cargo run -p host -- sample models/fashion.gan --count 10000 --out drawn.idx
    python3 tools/bench/quality.py --data FASHION-MNIST-FOLDER drawn.idx

Needs PyTorch. Trains a small CNN on the 60,000 training pictures (a few minutes, kept in --cache),
then prints for each file and for the 10,000 held-out pictures: the share recognised as the class in
the labels file beside it, coverage and precision (k = 5, 3,000 pictures against 3,000 held-out
ones; Naeem et al. 2020, Kynkaanniemi et al. 2019) and the Frechet distance, all in the classifier's
64 features. Different features give different numbers: compare only within this script.
"""

import argparse
import gzip
import json
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

K = 5
SUBSET = 3000


def read_idx(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    dims = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(dims)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def labels_of(path):
    name = path.name
    for end in (".idx.gz", ".idx"):
        if name.endswith(end):
            return read_idx(path.with_name(name[:-len(end)] + ".labels" + end))
    raise SystemExit(f"{path}: not an .idx or .idx.gz file")


def as_input(images):
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1).reshape(-1, 1, 28, 28)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(0.3), nn.Linear(576, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.body(x))


def train(data, epochs=4):
    torch.manual_seed(0)
    model = Classifier()
    x = as_input(read_idx(data / "train-images-idx3-ubyte.gz"))
    y = torch.from_numpy(read_idx(data / "train-labels-idx1-ubyte.gz").astype(np.int64))
    steps = epochs * (len(x) // 128)
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x))[:len(x) // 128 * 128].split(128):
            adam.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            adam.step()
            schedule.step()
        print(f"classifier: epoch {epoch + 1} of {epochs}", flush=True)
    return model


@torch.no_grad()
def judge(model, images):
    found = [(model.body(x), model(x)) for x in as_input(images).split(500)]
    features, scores = (torch.cat(part) for part in zip(*found))
    return features.double(), scores.argmax(1).numpy()


def radii(x):
    return torch.cdist(x, x).kthvalue(K + 1, 1).values


def frechet(a, b):
    root = lambda m: (lambda w, v: v @ torch.diag(w.clamp(min=0).sqrt()) @ v.T)(*torch.linalg.eigh(m))
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    ra = root(ca)
    cross = torch.linalg.eigvalsh(ra @ cb @ ra).clamp(min=0).sqrt().sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + ca.trace() + cb.trace() - 2 * cross)


def report(name, model, images, labels, real):
    features, classes = judge(model, images)
    shuffled = features[torch.randperm(len(features), generator=torch.Generator().manual_seed(0))]
    some, held = shuffled[:SUBSET], real[:SUBSET]
    distance = torch.cdist(held, some)
    coverage = (distance.min(1).values < radii(held)).double().mean()
    precision = (distance < radii(held)[:, None]).any(0).double().mean()
    print(json.dumps({
        "name": str(name),
        "pictures": len(images),
        "recognised": float(np.mean(classes == labels)),
        "coverage": float(coverage),
        "precision": float(precision),
        "frechet_distance": frechet(features, real),
    }))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--cache", type=pathlib.Path, help="where the classifier is kept")
    parser.add_argument("files", type=pathlib.Path, nargs="+", help="X.idx, with X.labels.idx beside it")
    args = parser.parse_args()
    if args.cache and args.cache.exists():
        model = Classifier()
        model.load_state_dict(torch.load(args.cache))
    else:
        model = train(args.data)
        if args.cache:
            torch.save(model.state_dict(), args.cache)
    model.eval()
    held = read_idx(args.data / "t10k-images-idx3-ubyte.gz")
    held_labels = read_idx(args.data / "t10k-labels-idx1-ubyte.gz")
    order = np.random.default_rng(0).permutation(len(held))
    held, held_labels = held[order], held_labels[order]
    real, _ = judge(model, held)
    # The floor: one half of the held-out pictures against the other.
    report("held-out pictures", model, held[5000:], held_labels[5000:], real[:5000])
    for path in args.files:
        report(path, model, read_idx(path), labels_of(path), real)


main()
