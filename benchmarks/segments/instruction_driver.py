"""
Do each case once under valgrind's callgrind; run by benchmarks/segments/instructions.py.

    PROGRAM=benchmarks.segments.instruction_driver
    valgrind --tool=callgrind --instr-atstart=no python -m $PROGRAM LIB SCENES

LIB is the compiled switch that starts and stops counting; SCENES a folder of .npz files. Each
case is done once uncounted, so that compilation and first touches of memory stay outside.
"""

import ctypes
from pathlib import Path
import sys

import numpy as np
import torch

from benchmarks.segments.post_processing import post_process
from benchmarks.segments.synthetic import make_classifier, Scene


def main(library: str, folder: str) -> None:
    """Count the instructions of the post-processing of each scene in the folder."""
    torch.set_num_threads(1)
    switch = ctypes.CDLL(library)
    classifier = make_classifier()
    for path in sorted(Path(folder).glob('*.npz')):
        data = np.load(path)
        scene = Scene(torch.from_numpy(data['logits']), tuple(data['size'].tolist()), 0, 0.0)
        post_process(scene, classifier)
        switch.begin()
        post_process(scene, classifier)
        switch.end(path.stem.encode())


if __name__ == '__main__':
    main(*sys.argv[1:])
