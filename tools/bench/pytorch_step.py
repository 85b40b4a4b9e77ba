"""Times a training step of a preset here and in PyTorch, in turns, and prints the ratio.

    python3 tools/bench/pytorch_step.py fashion          # or avatar, article, article-bn

Needs Python 3.11 and PyTorch. The networks are built from host/presets/*.toml, the step is the
trainer's: both networks, forward and backward, Adam, 64 pictures, on all processors. PyTorch runs
in its default memory layout and in channels_last; the faster one counts.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import tomllib

import torch
from torch import nn
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).parents[2]
BATCH = 64
ROUNDS = 3
SECONDS = 4


class Act(nn.Module):
    FUNCTIONS = {
        "linear": lambda x: x,
        "relu": F.relu,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
        "tanh": torch.tanh,
    }

    def __init__(self, name):
        super().__init__()
        self.function = self.FUNCTIONS[name]

    def forward(self, x):
        return self.function(x)


def after(layer, channels, norm):
    return ([norm(channels)] if layer["norm"] else []) + [Act(layer["activation"])]


def generator(config, classes):
    g = config["generator"]
    d = g["dense"]
    size = (d["channels"], d["height"], d["width"])
    values = d["channels"] * d["height"] * d["width"]
    layers = [nn.Linear(g["latent"] + classes, values, bias=not d["norm"]), nn.Unflatten(1, size)]
    layers += after(d, d["channels"], nn.BatchNorm2d)
    c_in = d["channels"]
    for layer in g["conv_transpose"]:
        top, _, bottom, _ = layer["crop"]
        # PyTorch crops more at the top where Keras crops more at the bottom: as much work.
        pad, more = max(top, bottom), abs(top - bottom)
        layers.append(nn.ConvTranspose2d(c_in, layer["channels"], layer["kernel"], layer["stride"],
                                         pad, more, bias=not layer["norm"]))
        layers += after(layer, layer["channels"], nn.BatchNorm2d)
        c_in = layer["channels"]
    return nn.Sequential(*layers)


def discriminator(config, classes):
    image = config["image"]
    layers, c_in, h, w = [], image["channels"], image["height"], image["width"]
    for layer in config["discriminator"].get("conv", []):
        pad, kernel, stride = layer["pad"][0], layer["kernel"], layer["stride"]
        layers.append(nn.Conv2d(c_in, layer["channels"], kernel, stride, pad, bias=not layer["norm"]))
        layers += after(layer, layer["channels"], nn.BatchNorm2d)
        c_in = layer["channels"]
        h, w = ((side + 2 * pad - kernel) // stride + 1 for side in (h, w))
    layers.append(nn.Flatten())
    n_in = c_in * h * w
    for layer in config["discriminator"].get("dense", []):
        layers.append(nn.Linear(n_in, layer["units"], bias=not layer["norm"]))
        layers += after(layer, layer["units"], nn.BatchNorm1d)
        n_in = layer["units"]
    return nn.Sequential(*layers, nn.Linear(n_in, 1 + classes))


class Step:
    """One step of host/src/train/trainer.rs."""

    def __init__(self, config, layout):
        self.classes = 10 if config["name"] == "fashion" else 0
        self.latent = config["generator"]["latent"]
        training = config.get("training", {})
        self.weights = training.get("real_weight", 1.0), training.get("fake_weight", 1.0)
        self.g = generator(config, self.classes).to(memory_format=layout)
        self.d = discriminator(config, self.classes).to(memory_format=layout)
        adam = lambda net: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.99))
        self.adam_g, self.adam_d = adam(self.g), adam(self.d)
        self.average = [p.detach().clone() for p in self.g.parameters()]
        image = config["image"]
        shape = (BATCH, image["channels"], image["height"], image["width"])
        self.real = (torch.rand(shape) * 2 - 1).to(memory_format=layout)

    def judge(self, x, labels, target):
        judgement = self.d(x)
        logits = judgement[:, 0]
        if self.classes:
            logits = logits + judgement.gather(1, 1 + labels[:, None])[:, 0]
        return F.binary_cross_entropy_with_logits(logits, torch.full((BATCH,), target))

    def __call__(self):
        labels = torch.randint(max(self.classes, 1), (BATCH,))
        z = torch.randn(BATCH, self.latent)
        if self.classes:
            z = torch.cat([z, F.one_hot(labels, self.classes).float()], 1)
        fake = self.g(z)
        real_loss = self.judge(self.real, labels, 1.0)
        fake_loss = self.judge(fake.detach(), labels, 0.0)
        self.adam_d.zero_grad()
        (self.weights[0] * real_loss + self.weights[1] * fake_loss).backward()
        self.adam_d.step()
        self.d.requires_grad_(False)
        self.adam_g.zero_grad()
        self.judge(fake, labels, 1.0).backward()
        self.adam_g.step()
        self.d.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.g.parameters()), 0.001)

    def milliseconds(self):
        times, end = [], time.perf_counter() + SECONDS
        while time.perf_counter() < end or len(times) < 3:
            begun = time.perf_counter()
            self()
            times.append(1e3 * (time.perf_counter() - begun))
        return statistics.median(times)


def ours(preset):
    command = ["cargo", "bench", "-q", "-p", "host", "--bench", "train_step", "--",
               f"^{preset}/training step$", "--warm-up-time", "1", "--measurement-time", str(SECONDS)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    measured = target / "criterion" / preset / "training step" / "new" / "estimates.json"
    estimates = json.loads(measured.read_text())
    # Criterion's own choice; in nanoseconds.
    return (estimates["slope"] or estimates["mean"])["point_estimate"] / 1e6


def main():
    preset = sys.argv[1] if len(sys.argv) > 1 else "fashion"
    config = tomllib.loads((ROOT / f"host/presets/{preset}.toml").read_text())
    layouts = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
    steps = {name: Step(config, layout) for name, layout in layouts.items()}
    found = {"host": []} | {name: [] for name in steps}
    ours(preset)  # builds
    for _ in range(ROUNDS):
        found["host"].append(ours(preset))
        for name, step in steps.items():
            found[name].append(step.milliseconds())
    best = {name: min(times) for name, times in found.items()}
    for name, times in found.items():
        who = name if name == "host" else f"PyTorch {torch.__version__}, {name}"
        print(f"{preset}: {who}: {best[name]:.1f} ms a step, {1e3 * BATCH / best[name]:.0f} images/s"
              f" (of {', '.join(f'{t:.1f}' for t in times)})")
    print(f"{preset}: ratio {best['host'] / min(best[name] for name in steps):.2f}"
          f" ({best['host'] / best['default']:.2f} to the default layout)")


main()
