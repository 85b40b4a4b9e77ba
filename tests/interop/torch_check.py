#!/usr/bin/env python3
"""Whether PyTorch draws with an exported generator what `host` draws.

    torch_check.py G.safetensors INPUT.npy OURS.npy

G.safetensors is of `gan export RUN --format pytorch`; INPUT.npy [n, latent + classes] and OURS.npy
[n, h, w, c] are what `gan sample RUN/generator.safetensors --out OURS.npy` leaves. The loader is
the one of docs/interop.md. Prints one line of JSON: latents, values, how many are further off than
1e-5 of the largest value, and the largest difference as a share of it. Needs torch, numpy and
safetensors.
"""

import re
import sys
from pathlib import Path

import numpy
import torch
from report import report

TOLERANCE = 1e-5
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "interop.md"


def loader():
    """`load_generator` of the document's Python block."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if "def load_generator(" in block]
    assert len(blocks) == 1, f"{DOCUMENT} has {len(blocks)} blocks with load_generator"
    names = {}
    exec(compile(blocks[0], str(DOCUMENT), "exec"), names)
    return names["load_generator"]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    weights, given, ours = sys.argv[1:]
    generator = loader()(weights)
    with torch.no_grad():
        pictures = generator(torch.from_numpy(numpy.load(given)).float())
    pictures = pictures.permute(0, 2, 3, 1).numpy()
    ours = numpy.load(ours)
    if pictures.shape != ours.shape:
        sys.exit(f"PyTorch draws {pictures.shape}, host {ours.shape}")
    differences = numpy.abs(pictures - ours) / numpy.abs(ours).max()
    report(len(ours), differences, TOLERANCE)


if __name__ == "__main__":
    main()
