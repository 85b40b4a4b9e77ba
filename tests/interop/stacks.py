#!/usr/bin/env python3
"""Random small PyTorch generators, and what PyTorch draws with them.

    stacks.py make FOLDER [--count 20] [--seed 1]    FOLDER/00 ... with net.toml, weights.safetensors
                                                     and spec.json
    stacks.py check FOLDER/00 INPUT.npy OURS.npy     compares what PyTorch draws of inputs
                                                     [n, latent + classes] with pictures
                                                     [n, h, w, c], float32, from -1 to 1

`host import` takes net.toml and weights.safetensors; INPUT.npy and OURS.npy are what `host sample
RUN/generator.safetensors --out OURS.npy` leaves. A generator that ends in sigmoid draws from 0 to 1;
its pictures are compared as 2 y - 1, as `host import` reads them. `check` prints one line of JSON:
latents, values, how many are further off than 1e-5 of the largest value, and the largest difference
as a share of it. Needs torch, numpy and safetensors.
"""

import argparse
import json
import math
import random
from pathlib import Path

import numpy
import torch
from report import report
from safetensors.torch import load_file, save_file
from torch import nn

# Layers behind the first map: kind, kernel, stride, padding, output padding. Each is in a stack of
# its own at least; the first map is of this height and width.
CASES = [
    ("for a board", (4, 4), [("up", 4, 2, 1, 0), ("up", 3, 2, 1, 1), ("up", 5, 1, 2, 0)]),
    ("k4 s2 p1", (3, 4), [("up", 4, 2, 1, 0), ("up", 4, 2, 1, 0)]),
    ("k5 s2 p2 op1", (3, 3), [("up", 5, 2, 2, 1)]),
    ("k3 s1 p1", (4, 5), [("up", 3, 1, 1, 0)]),
    ("k5 s1 p2", (4, 3), [("up", 5, 1, 2, 0), ("up", 4, 2, 1, 0)]),
    ("k3 s2 p1 op1", (3, 2), [("up", 3, 2, 1, 1), ("up", 3, 1, 1, 0)]),
    ("k5 s3 p1", (3, 3), [("up", 5, 3, 1, 0)]),
    ("k2 s3, holes", (3, 3), [("up", 2, 3, 0, 0), ("up", 3, 1, 1, 0)]),
    ("1x1 to 1x1", (1, 1), [("up", 3, 1, 1, 0)]),
    ("1x1 map", (1, 1), [("up", 4, 2, 1, 0), ("up", 4, 2, 1, 0)]),
    ("Conv2d k3 p1", (4, 4), [("up", 4, 2, 1, 0), ("conv", 3, 1, 1, 0)]),
    ("Conv2d k5 p1, smaller", (5, 6), [("conv", 5, 1, 1, 0), ("up", 4, 2, 1, 0)]),
    ("Conv2d k1", (3, 3), [("up", 4, 2, 1, 0), ("conv", 1, 1, 0, 0)]),
    ("Conv2d k4 p3", (3, 3), [("conv", 4, 1, 3, 0)]),
    ("dense to 4 layers", (2, 2), [("up", 4, 2, 1, 0), ("conv", 3, 1, 1, 0), ("up", 5, 2, 2, 1), ("conv", 3, 1, 1, 0)]),
]
CHANNELS = [1, 2, 3, 5, 6, 8]
ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def choose_spec(i, rng):
    """Everything about stack `i` but its numbers; what comes in few forms takes turns."""
    case, (height, width), rows = CASES[i % len(CASES)]
    first = {
        "kind": "up" if i % 4 == 3 and height == width else "linear",
        "channels": rng.choice(CHANNELS),
    }
    if first["kind"] == "linear":
        first["norm"] = ["1d", "2d", None][i % 3]
    else:
        first["norm"] = rng.choice(["2d", None])
    layers = [first]
    for j, (kind, kernel, stride, padding, output_padding) in enumerate(rows):
        last = j + 1 == len(rows)
        layers.append({
            "kind": kind, "kernel": kernel, "stride": stride, "padding": padding,
            "output_padding": output_padding,
            # A Conv2d with as many channels as before it is not told by its shape.
            "channels": [1, 3][i % 2] if last else layers[-1]["channels"] if kind == "conv" else rng.choice(CHANNELS),
            "norm": None if last and i % 5 else "2d" if i == 0 else rng.choice(["2d", None]),
        })
    for j, layer in enumerate(layers):
        last = j + 1 == len(layers)
        known = list(ACTIVATIONS)
        layer["activation"] = ["tanh", "tanh", "sigmoid"][i % 3] if last else known[(i + j) % len(known)]
        layer["bias"] = rng.random() < 0.6
        layer["affine"] = rng.random() < 0.8
    return {
        "name": case, "map": [height, width], "latent": rng.randint(3, 9),
        "classes": [0, 0, 3][i % 3], "eps": [1e-5, 1e-5, 1e-3][rng.randrange(3)],
        "names": ["main", "module.main", "named"][i % 3],
        "type": list(TYPES)[i % 7] if i % 7 < 4 else "F32",
        "layers": layers,
    }


def modules_of(spec):
    """The modules in order, each with its name; names of `named` do not tell the order."""
    height, width = spec["map"]
    c_in = spec["latent"] + spec["classes"]
    modules = []
    for i, layer in enumerate(spec["layers"]):
        c, bias = layer["channels"], layer["bias"]
        if i == 0 and layer["kind"] == "linear":
            linear = nn.Linear(c_in, c * height * width, bias=bias)
            unflatten = nn.Unflatten(1, (c, height, width))
        elif i == 0:
            linear = nn.ConvTranspose2d(c_in, c, height, 1, 0, bias=bias)
            modules.append((None, nn.Unflatten(1, (c_in, 1, 1))))
        elif layer["kind"] == "up":
            linear = nn.ConvTranspose2d(
                c_in, c, layer["kernel"], layer["stride"], layer["padding"],
                layer["output_padding"], bias=bias,
            )
        else:
            linear = nn.Conv2d(c_in, c, layer["kernel"], 1, layer["padding"], bias=bias)
        modules.append((f"layer {i}", linear))
        affine = {"eps": spec["eps"], "affine": layer["affine"]}
        if layer["norm"] == "1d":
            modules.append((f"norm {i}", nn.BatchNorm1d(c * height * width, **affine)))
        if layer["kind"] == "linear":
            modules.append((None, unflatten))
        if layer["norm"] == "2d":
            modules.append((f"norm {i}", nn.BatchNorm2d(c, **affine)))
        modules.append((None, ACTIVATIONS[layer["activation"]]()))
        c_in = c
    return modules


def build(spec):
    """The generator, and the prefix in its state_dict of `layer 0`, `norm 0` and so on."""
    modules, names = modules_of(spec), {}
    if spec["names"] == "named":
        # Falling letters: sorted, the last layer comes first.
        chain = nn.Sequential()
        for place, (what, module) in enumerate(modules):
            name = f"part_{chr(ord('z') - place)}"
            chain.add_module(name, module)
            if what:
                names[what] = name
        return chain, names
    outer = nn.Module()
    outer.main = nn.Sequential(*(module for _, module in modules))
    for place, (what, _) in enumerate(modules):
        if what:
            names[what] = f"{spec['names']}.{place}"
    if spec["names"] == "module.main":
        wrapper = nn.Module()
        wrapper.module = outer
        outer = wrapper
    outer.forward = lambda x: next(m for m in outer.modules() if isinstance(m, nn.Sequential))(x)
    return outer.eval(), names


def randomize(model):
    """Weights that keep activations near 1, and statistics as of a trained network."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.3)
            elif isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                fan_in = module.weight[0].numel()
                if isinstance(module, nn.ConvTranspose2d):
                    taps = module.weight[0, 0].numel() / module.stride[0] ** 2
                    # Of the first layer, one pixel's taps do not meet.
                    taps = 1 if module.padding[0] == 0 and module.stride[0] == 1 else max(taps, 1)
                    fan_in = module.in_channels * taps
                module.weight.normal_(0, 1 / math.sqrt(fan_in))
                if module.bias is not None:
                    module.bias.normal_(0, 0.3)


def net_toml(spec, names):
    """What `host import` has to be told."""
    height, width = spec["map"]
    lines, layers = [], spec["layers"]
    first = layers[0]
    for layer in layers[1:]:
        kernel, padding = layer["kernel"], layer["padding"]
        if layer["kind"] == "up":
            far = padding - layer["output_padding"]
            crop, grown = [padding, padding, far, far], lambda n: (n - 1) * layer["stride"] + kernel - padding - far
        else:
            crop, grown = [kernel - 1 - padding] * 4, lambda n: n + 2 * padding - kernel + 1
        height, width = grown(height), grown(width)
        lines += [
            "[[generator.conv_transpose]]", f"channels = {layer['channels']}", f"kernel = {kernel}",
            f"stride = {layer['stride']}", f"crop = {crop}", *norm_and_activation(layer), "",
        ]
    head = [
        f'name = "{spec["name"]}"', "", "[image]", f"height = {height}", f"width = {width}",
        f"channels = {layers[-1]['channels']}", "", "[generator]", f"latent = {spec['latent']}", "",
        "[generator.dense]", f"height = {spec['map'][0]}", f"width = {spec['map'][1]}",
        f"channels = {first['channels']}", *norm_and_activation(first), "",
    ]
    if spec["classes"]:
        lines += ["[data]", f"class_names = {[f'class {i}' for i in range(spec['classes'])]}", ""]
    lines += ["[import]", f"eps = {spec['eps']}"]
    plain = [i for i, layer in enumerate(layers) if layer["kind"] == "conv"]
    told_by_shape = all(layers[i - 1]["channels"] != layers[i]["channels"] for i in plain)
    if not told_by_shape:
        lines.append(f"conv2d = {plain}")
    if spec["names"] == "named":
        lines.append(f"layers = {[names[f'layer {i}'] for i in range(len(layers))]}")
        lines.append(f"norms = {[names.get(f'norm {i}', '') for i in range(len(layers))]}")
    return "\n".join(head + lines) + "\n"


def norm_and_activation(layer):
    norm = "true" if layer["norm"] else "false"
    return [f"norm = {norm}", f'activation = "{layer["activation"]}"']


def make(args):
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    for i in range(args.count):
        spec = choose_spec(i, rng)
        model, names = build(spec)
        randomize(model)
        tensors = {
            name: tensor.to(TYPES[spec["type"]]) if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()
        }
        folder = args.folder / f"{i:02}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "weights.safetensors")
        (folder / "net.toml").write_text(net_toml(spec, names))
        (folder / "spec.json").write_text(json.dumps(spec, indent=1))
        print(f"{folder}: {spec['name']}")


TOLERANCE = 1e-5


def check(args):
    spec = json.loads((args.folder / "spec.json").read_text())
    model, _ = build(spec)
    tensors = load_file(args.folder / "weights.safetensors")
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    model.eval()
    given, ours = numpy.load(args.input), numpy.load(args.ours)
    with torch.no_grad():
        pictures = model(torch.from_numpy(given).float())
    if spec["layers"][-1]["activation"] == "sigmoid":
        pictures = 2 * pictures - 1
    pictures = pictures.permute(0, 2, 3, 1).numpy()
    assert pictures.shape == ours.shape, f"PyTorch draws {pictures.shape}, host {ours.shape}"
    differences = numpy.abs(pictures - ours) / numpy.abs(ours).max()
    report(len(given), differences, TOLERANCE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("folder", type=Path)
    command.add_argument("--count", type=int, default=20)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(run=make)
    command = commands.add_parser("check")
    command.add_argument("folder", type=Path)
    command.add_argument("input", type=Path)
    command.add_argument("ours", type=Path)
    command.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
