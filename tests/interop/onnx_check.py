"""Runs an ONNX file of `gan export` with ONNX Runtime and compares pictures.

    onnx_check.py MODEL.onnx INPUT.npy EXPECTED.npy TOLERANCE_ABS

INPUT.npy: [n, inputs], float32 as the model takes it, or int8, of which 32 steps are 1.
EXPECTED.npy: [n, h, w, c], float32 from -1 to 1, or int8, of which 128 steps are 1.
TOLERANCE_ABS and `worst` are in the units of EXPECTED.npy: 1 is a whole of the range 0 to 1
of float32, and one step of int8. What `gan sample FILE --out X.npy` writes fits both.

Prints one line of JSON: latents, values, how many are further off than the tolerance, the
largest difference, and the share of values within the tolerance. Needs numpy and onnxruntime.
"""

import sys

import numpy
import onnxruntime
from report import report


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    model, given, expected = sys.argv[1:4]
    tolerance = float(sys.argv[4])
    given, expected = numpy.load(given), numpy.load(expected)
    if given.dtype == numpy.int8:
        given = given.astype(numpy.float32) / 32
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    [pictures] = session.run(["picture"], {"input": given})
    pictures = pictures.transpose(0, 2, 3, 1).astype(numpy.float64)
    if expected.dtype == numpy.int8:
        pictures *= 128
    if pictures.shape != expected.shape:
        sys.exit(f"the model draws {pictures.shape}, expected are {expected.shape}")
    differences = numpy.abs(pictures - expected)
    report(len(given), differences, tolerance)


main()
