"""Runs a TensorFlow Lite file of `gan export` with LiteRT's reference kernels and compares bytes.

    litert_check.py MODEL.tflite INPUT.npy EXPECTED.npy

INPUT.npy: [n, inputs], int8; EXPECTED.npy: [n, h, w, c], int8: what `gan sample FILE.gan --out
X.npy` writes. Prints one line of JSON: latents, values, how many differ, and by how much at most.
Needs numpy and ai-edge-litert.
"""

import sys

import numpy
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from report import report


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, given, expected = sys.argv[1:]
    given, expected = numpy.load(given), numpy.load(expected)
    interpreter = Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    draw = interpreter.get_signature_runner("serving_default")
    pictures = numpy.concatenate([draw(input=row[None])["picture"] for row in given])
    if pictures.shape != expected.shape or pictures.dtype != expected.dtype:
        sys.exit(f"the model draws {pictures.shape}, expected are {expected.shape}")
    differences = numpy.abs(pictures.astype(int) - expected)
    report(len(given), differences)


main()
