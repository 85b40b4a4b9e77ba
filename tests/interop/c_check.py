"""Compiles a C header of `gan export` with gcc and compares bytes.

    c_check.py MODEL.h INPUT.npy EXPECTED.npy

INPUT.npy: [n, inputs], int8; EXPECTED.npy: [n, h, w, c], int8: what `gan sample FILE.gan --out
X.npy` writes. Prints one line of JSON: latents, values, how many differ, and by how much at most.
Needs gcc and numpy.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import numpy
from report import report

MAIN = """
#include MODEL
#include <stdio.h>
int main(void) {
    static int8_t input[GAN_INPUT], arena[GAN_ARENA], picture[GAN_PICTURE];
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {
        gan_generate(input, arena, picture);
        fwrite(picture, 1, sizeof picture, stdout);
    }
    return 0;
}
"""


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    header, given, expected = sys.argv[1:]
    given, expected = numpy.load(given), numpy.load(expected)
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "draw"
        source = program.with_suffix(".c")
        prefix = re.search(r"#define (GAN_\w*)HEIGHT ", pathlib.Path(header).read_text())[1]
        main = MAIN.replace("GAN_", prefix).replace("gan_", prefix.lower())
        source.write_text(main)
        include = f'-DMODEL="{pathlib.Path(header).resolve()}"'
        strict = ["-std=c99", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", "-O2"]
        subprocess.run(["gcc", *strict, include, source, "-o", program], check=True)
        drawn = subprocess.run([program], input=given.tobytes(), capture_output=True, check=True)
    pictures = numpy.frombuffer(drawn.stdout, numpy.int8)
    if pictures.size != expected.size:
        sys.exit(f"{pictures.size} bytes drawn, {expected.size} expected")
    differences = numpy.abs(pictures.astype(int) - expected.ravel())
    report(len(given), differences)


main()
