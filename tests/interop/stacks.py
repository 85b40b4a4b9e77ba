#!/usr/bin/env python3
"""Random small PyTorch generators, and what PyTorch draws with them.

    stacks.py make FOLDER [--count 20] [--seed 1] [--family plain]
                                         FOLDER/00 ... with net.toml, weights.safetensors, the bare
                                         plain.safetensors and spec.json
    stacks.py check FOLDER/00 ...        compares what PyTorch draws of ours-input.npy in each
                                         folder, [n, latent + classes], with ours.npy,
                                         [n, h, w, c], float32, from -1 to 1

`gan import` takes net.toml and weights.safetensors; both arrays are what `gan sample
RUN/generator.safetensors --out ours.npy` leaves. A generator that ends in sigmoid draws from 0 to 1;
its pictures are compared as 2 y - 1, as `gan import` reads them. `check` prints a line of JSON for
each folder: latents, values, how many are further off than 1e-5 of the largest value, and the
largest difference as a share of it. Needs torch, numpy and safetensors.
"""

import argparse
import json
import math
import random
from pathlib import Path

import numpy
import torch
import torch.nn.utils.parametrizations as parametrizations
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
    "leaky_relu": nn.LeakyReLU,
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
    return finish_spec(i, rng, {"name": case, "map": [height, width], "layers": layers})


def finish_spec(i, rng, spec):
    """Activations and the like of layers, and what is chosen for a whole stack."""
    layers = spec["layers"]
    for j, layer in enumerate(layers):
        last = j + 1 == len(layers)
        known = list(ACTIVATIONS)
        layer["activation"] = ["tanh", "tanh", "sigmoid"][i % 3] if last else known[(i + j) % len(known)]
        layer["bias"] = rng.random() < 0.6
        layer["affine"] = rng.random() < 0.8
        layer["slope"] = 0.2
    eps = [1e-5, 1e-5, 1e-3][rng.randrange(3)]
    for layer in layers:
        layer["eps"] = eps
    return spec | {
        "latent": rng.randint(3, 9), "classes": [0, 0, 3][i % 3],
        "names": ["main", "module.main", "named"][i % 3],
        "type": list(TYPES)[i % 7] if i % 7 < 4 else "F32",
        "weights": None, "file": None, "embedding": None,
    }


def scaled_spec(i, rng, kind):
    """A stack of layers that make maps larger by `kind`, "upsample" or "shuffle"."""
    side = [1, 2, 3, 4][i % 4]
    layers = [{"kind": "linear", "channels": rng.choice(CHANNELS), "norm": ["1d", "2d", None][i % 3]}]
    for j in range(rng.randint(1, 3)):
        kernel = rng.choice([3, 3, 3, 5, 1])
        # As many pixels as before, or fewer.
        padding = rng.choice([kernel // 2, kernel // 2, max(kernel // 2 - 1, 0)]) if side > 2 else kernel // 2
        norms = ["2d", None, "before"] if kind == "shuffle" else ["2d", None]
        layers.append({
            "kind": kind, "kernel": kernel, "stride": rng.choice([2, 2, 3]), "padding": padding,
            "channels": rng.choice(CHANNELS), "norm": rng.choice(norms),
            # All neighbours of one pixel are itself.
            "mode": "bilinear" if side == 1 and j == 0 and kind == "upsample" else "nearest",
        })
    layers[-1]["channels"] = [1, 3][i % 2]
    if side == 1:
        layers = layers[:2]
        layers[-1]["channels"] = [1, 3][i % 2]
    return finish_spec(i, rng, {"name": kind, "map": [side, side], "layers": layers})


def mlp_spec(i, rng):
    """Dense layers only, or some before a map that grows."""
    hidden = [
        {"kind": "hidden", "channels": rng.randint(4, 24), "norm": ["1d", None][rng.randrange(2)]}
        for _ in range(rng.randint(1, 4))
    ]
    last = {"kind": "linear", "channels": [1, 3][i % 2], "norm": None}
    rows = []
    if i % 3 == 2:
        last |= {"channels": 5, "norm": "1d"}
        rows = [{"kind": "up", "kernel": 4, "stride": 2, "padding": 1, "output_padding": 0, "channels": 1, "norm": None}]
    return finish_spec(i, rng, {"name": "mlp", "map": [7, 5], "layers": [*hidden, last, *rows]})


def family_spec(family, i, rng):
    """Stack `i` of a kind: what it has that others have not."""
    if family in ("upsample", "shuffle"):
        spec = scaled_spec(i, rng, family)
    else:
        spec = mlp_spec(i, rng) if family == "mlp" else choose_spec(i, rng)
    if family == "plain":
        return spec
    for layer in spec["layers"]:
        layer["eps"] = rng.choice([1e-5, 1e-3, 0.8])
        layer["slope"] = rng.choice([0.01, 0.05, 0.2, 0.3])
    if family == "normed":
        spec["weights"] = list(WEIGHTS)[i % len(WEIGHTS)]
    if family == "files":
        spec["file"] = FILES[i % len(FILES)]
        # Names of the generator's own are chosen for it.
        spec["names"] = ["main", "named"][i % 2]
    if family == "embedding":
        spec["classes"] = 3
        spec["embedding"] = {"len": rng.randint(1, 5), "joined": ["before", "after"][i % 2]}
        spec["names"] = ["main", "named"][i % 2]
    return spec


# How weights are kept in parts.
WEIGHTS = {
    "spectral_norm": nn.utils.spectral_norm,
    "weight_norm": nn.utils.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
}
# What else a file holds, and around what names.
FILES = ["both networks", "AveragedModel", "EMA and online, compiled", "DataParallel"]
FAMILIES = ["plain", "upsample", "shuffle", "mlp", "normed", "files", "embedding"]


def modules_of(spec):
    """The modules in order, each with its name; names of `named` do not tell the order."""
    height, width = spec["map"]
    c_in = spec["latent"] + (spec["embedding"]["len"] if spec["embedding"] else spec["classes"])
    modules = []
    for i, layer in enumerate(spec["layers"]):
        c, bias = layer["channels"], layer["bias"]
        if layer["kind"] == "hidden":
            linear = nn.Linear(c_in, c, bias=bias)
        elif layer["kind"] == "linear":
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
            if layer["kind"] == "upsample":
                modules.append((None, nn.Upsample(scale_factor=layer["stride"], mode=layer["mode"])))
            wide = c * layer["stride"] ** 2 if layer["kind"] == "shuffle" else c
            linear = nn.Conv2d(c_in, wide, layer["kernel"], 1, layer["padding"], bias=bias)
        modules.append((f"layer {i}", linear))
        affine = {"eps": layer["eps"], "affine": layer["affine"]}
        if layer["norm"] == "before":
            modules.append((f"norm {i}", nn.BatchNorm2d(wide, **affine)))
        if layer["kind"] == "shuffle":
            modules.append((None, nn.PixelShuffle(layer["stride"])))
        if layer["norm"] == "1d":
            values = c if layer["kind"] == "hidden" else c * height * width
            modules.append((f"norm {i}", nn.BatchNorm1d(values, **affine)))
        if layer["kind"] == "linear":
            modules.append((None, unflatten))
        if layer["norm"] == "2d":
            modules.append((f"norm {i}", nn.BatchNorm2d(c, **affine)))
        slope = [layer["slope"]] if layer["activation"] == "leaky_relu" else []
        modules.append((None, ACTIVATIONS[layer["activation"]](*slope)))
        c_in = c
    return modules


def build(spec):
    """The generator, and the prefix in its state_dict of `layer 0`, `norm 0` and so on."""
    modules, names = modules_of(spec), {}
    if spec["names"] == "named":
        # Falling letters: sorted, the last layer comes first.
        chain = nn.Sequential()
        for place, (what, module) in enumerate(modules):
            name = f"part_{len(modules) - place:02}"
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
    """What `gan import` has to be told."""
    height, width = spec["map"]
    lines, layers = [], spec["layers"]
    dense = [layer["kind"] in ("hidden", "linear") for layer in layers].count(True) or 1
    first = layers[dense - 1]
    for layer in layers[dense:]:
        kernel, padding, stride = layer["kernel"], layer["padding"], layer["stride"]
        if layer["kind"] == "upsample":
            crop, kernel = [kernel - 1 - padding] * 4, kernel + stride - 1
        elif layer["kind"] == "shuffle":
            crop, kernel = [stride * (kernel - 1 - padding)] * 4, kernel * stride
        elif layer["kind"] == "up":
            far = padding - layer["output_padding"]
            crop = [padding, padding, far, far]
        else:
            crop = [kernel - 1 - padding] * 4
        height, width = (side(n, layer) for n in (height, width))
        lines += [
            "[[generator.conv_transpose]]", f"channels = {layer['channels']}", f"kernel = {kernel}",
            f"stride = {stride}", f"crop = {crop}", *norm_and_activation(layer), "",
        ]
    head = [
        f'name = "{spec["name"]}"', "", "[image]", f"height = {height}", f"width = {width}",
        f"channels = {layers[-1]['channels']}", "", "[generator]", f"latent = {spec['latent']}", "",
        *(
            line for layer in layers[: dense - 1]
            for line in ("[[generator.hidden]]", f"units = {layer['channels']}", *norm_and_activation(layer), "")
        ),
        "[generator.dense]", f"height = {spec['map'][0]}", f"width = {spec['map'][1]}",
        f"channels = {first['channels']}", *norm_and_activation(first), "",
    ]
    if spec["classes"]:
        lines += ["[data]", f"class_names = {[f'class {i}' for i in range(spec['classes'])]}", ""]
    eps, slopes = ([layer[key] for layer in layers] for key in ("eps", "slope"))
    lines += ["[import]", f"eps = {eps[0] if len(set(eps)) == 1 else eps}"]
    if set(slopes) != {0.2}:
        lines.append(f"leaky_slope = {slopes}")
    kinds = {kind: [i for i, layer in enumerate(layers) if i >= dense and layer["kind"] == kind] for kind in KEYS}
    is_square = lambda i: layers[i - 1]["channels"] == layers[i]["channels"]
    kinds["up"] = [i for i in kinds["up"] if is_square(i)]
    if not any(is_square(i) for i in kinds["conv"]):
        kinds["conv"] = []
    lines += [f"{KEYS[kind]} = {where}" for kind, where in kinds.items() if where]
    if any(layer.get("mode") == "bilinear" for layer in layers):
        lines.append('upsample_mode = "bilinear"')
    if spec["names"] == "named":
        lines.append(f"layers = {[names[f'layer {i}'] for i in range(len(layers))]}")
        lines.append(f"norms = {[names.get(f'norm {i}', '') for i in range(len(layers))]}")
    if spec["embedding"]:
        joined = spec["embedding"]["joined"]
        lines.append(f'embedding = {{ module = "label_emb", joined = "{joined}" }}')
    lines += {
        "both networks": ['prefix = "G"'], "EMA and online, compiled": ['prefix = "ema_model"'],
        "DataParallel": ['ignore = ["D"]'],
    }.get(spec["file"], [])
    return "\n".join(head + lines) + "\n"


def side(pixels, layer):
    """Pixels that a layer makes of so many."""
    kernel, stride, twice = layer["kernel"], layer["stride"], 2 * layer["padding"]
    match layer["kind"]:
        case "up":
            return (pixels - 1) * stride + kernel + layer["output_padding"] - twice
        case "upsample":
            return pixels * stride + twice - kernel + 1
        case "shuffle":
            return (pixels + twice - kernel + 1) * stride
    return pixels + twice - kernel + 1


# Keys of [import] for the kinds of layers.
KEYS = {"conv": "conv2d", "up": "conv_transpose2d", "upsample": "upsample", "shuffle": "pixel_shuffle"}


def norm_and_activation(layer):
    norm = "true" if layer["norm"] else "false"
    return [f"norm = {norm}", f'activation = "{layer["activation"]}"']


def keep_in_parts(model, kind):
    """Weights as `kind` keeps them, after some steps of training's forward pass."""
    for module in list(model.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            WEIGHTS[kind](module)
    first = next(module for module in model.modules() if isinstance(module, (nn.Linear, nn.ConvTranspose2d)))
    inputs = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    model.train()
    for _ in range(3):
        model(torch.randn(8, inputs))
    model.eval()


def file_of(kind, state):
    """The tensors that a program leaves which keeps more than the generator."""
    other = {f"{i}.{part}": torch.randn(3, 4) for i in range(3) for part in ("weight", "bias")}
    prefixed = lambda prefix, tensors: {prefix + name: tensor.clone() for name, tensor in tensors.items()}
    counter = {"n_averaged": torch.tensor(7)}
    match kind:
        case "both networks":
            return prefixed("G.", state) | prefixed("D.", other)
        case "AveragedModel":
            return prefixed("module.", state) | counter
        case "EMA and online, compiled":
            return (
                prefixed("ema_model._orig_mod.", state) | {"initted": torch.tensor(True)}
                | prefixed("online_model._orig_mod.", {name: -tensor if tensor.is_floating_point() else tensor for name, tensor in state.items()})
            )
        case "DataParallel":
            return prefixed("module.", state) | prefixed("D.", other)
    return state


def make(args):
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    for i in range(args.count):
        spec = family_spec(args.family, i, rng)
        model, names = build(spec)
        randomize(model)
        if spec["weights"]:
            keep_in_parts(model, spec["weights"])
        tensors = {
            name: tensor.to(TYPES[spec["type"]]) if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()
        }
        folder = args.folder / f"{i:02}"
        folder.mkdir(parents=True, exist_ok=True)
        if spec["embedding"]:
            tensors["label_emb.weight"] = torch.randn(spec["classes"], spec["embedding"]["len"])
        tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        save_file(tensors, folder / "plain.safetensors")
        save_file(file_of(spec["file"], tensors), folder / "weights.safetensors")
        (folder / "net.toml").write_text(net_toml(spec, names))
        (folder / "spec.json").write_text(json.dumps(spec, indent=1))
        print(f"{folder}: {spec['name']}")


TOLERANCE = 1e-5


def check(args):
    for folder in args.folders:
        spec = json.loads((folder / "spec.json").read_text())
        model, _ = build(spec)
        if spec["weights"]:
            keep_in_parts(model, spec["weights"])
        tensors = load_file(folder / "plain.safetensors")
        embedding = tensors.pop("label_emb.weight", None)
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
        model.eval()
        given, ours = numpy.load(folder / "ours-input.npy"), numpy.load(folder / "ours.npy")
        given = torch.from_numpy(given).float()
        if embedding is not None:
            latent, one_hot = given[:, : spec["latent"]], given[:, spec["latent"] :]
            both = [embedding[one_hot.argmax(1)], latent]
            given = torch.cat(both if spec["embedding"]["joined"] == "before" else both[::-1], 1)
        with torch.no_grad():
            pictures = model(given)
        if spec["layers"][-1]["activation"] == "sigmoid":
            pictures = 2 * pictures - 1
        pictures = pictures.permute(0, 2, 3, 1).numpy()
        assert pictures.shape == ours.shape, f"{folder}: PyTorch draws {pictures.shape}, host {ours.shape}"
        differences = numpy.abs(pictures - ours) / numpy.abs(ours).max()
        report(len(given), differences, TOLERANCE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("folder", type=Path)
    command.add_argument("--count", type=int, default=20)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--family", choices=FAMILIES, default="plain")
    command.set_defaults(run=make)
    command = commands.add_parser("check")
    command.add_argument("folders", type=Path, nargs="+")
    command.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
