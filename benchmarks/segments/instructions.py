"""
Growth again, in instructions instead of seconds: repeatable however busy the machine is.

Needs valgrind and a C compiler; without them there are no rows. The kernels are compiled for
AVX2 here, because callgrind knows no AVX-512.
"""

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks.figures.comparison import Comparison, Options
from benchmarks.segments.synthetic import make_scene, Scene

TITLE = 'Growth of the post-processing, in instructions (callgrind, one thread, AVX2)'
REPOSITORY = Path(__file__).resolve().parents[2]

SWITCH = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_ZERO_STATS; CALLGRIND_START_INSTRUMENTATION; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def measure(options: Options) -> list[Comparison]:
    """Return the rows of growth.py, each counted once."""
    if shutil.which('valgrind') is None or shutil.which('cc') is None:
        print('  needs valgrind and cc (apt install valgrind gcc)')
        return []
    height, width = options.image_size
    few = options.segments

    def scene(segments: int = few, ood: float = 0.05, columns: int = width) -> Scene:
        size = height, columns
        return make_scene((height // 4, columns // 4), size, segments=segments, share=ood)

    scenes = {
        'base': scene(),
        'segments': scene(segments=2 * few),
        'pixels': scene(columns=2 * width),
        'share': scene(ood=0.2),
    }
    with tempfile.TemporaryDirectory() as folder:
        counts = count_instructions(scenes, Path(folder))
    base = f'{few} segments, 5 %, {height}x{width}'
    steps = (
        ('segments', f'{2 * few} segments', 1.1),
        ('pixels', f'{height}x{2 * width}', 2.2),
        ('share', '20 % OoD pixels', 2.0),
    )
    return [
        Comparison(
            f'{curve}: {name}',
            name,
            base,
            [counts[curve] / 1e6],
            [counts['base'] / 1e6],
            unit='million instructions',
            kind='cost',
            target=target,
            details={'segments': scenes[curve].segments, 'ood_share': scenes[curve].share},
        )
        for curve, name, target in steps
    ]


def count_instructions(scenes: dict[str, Scene], folder: Path) -> dict[str, int]:
    """Return the instructions that the post-processing of each scene takes."""
    (folder / 'scenes').mkdir()
    for name, scene in scenes.items():
        np.savez(folder / 'scenes' / f'{name}.npz', logits=scene.logits.numpy(), size=scene.size)
    (folder / 'switch.c').write_text(SWITCH)
    library = folder / 'switch.so'
    _run(['cc', '-O1', '-shared', '-fPIC', str(folder / 'switch.c'), '-o', str(library)])
    environment = {
        **os.environ,
        'NUMBA_CPU_NAME': 'haswell',
        'NUMBA_CPU_FEATURES': '+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2',
        'NUMBA_CACHE_DIR': str(folder / 'numba'),
        'OMP_NUM_THREADS': '1',
    }
    driver = [sys.executable, '-m', 'benchmarks.segments.instruction_driver']
    # without valgrind first: the kernels are then in numba's cache
    _run([sys.executable, '-m', 'meta_ood_ros.core.kernels.warm_up'], environment)
    valgrind = ['valgrind', '--tool=callgrind', '--instr-atstart=no']
    valgrind.append(f'--callgrind-out-file={folder / "callgrind"}')
    _run([*valgrind, *driver, str(library), str(folder / 'scenes')], environment)
    counts = {}
    for path in folder.glob('callgrind*'):
        text = path.read_text()
        trigger = re.search(r'Trigger: Client Request: (\w+)', text)
        totals = re.search(r'^(?:summary|totals): (\d+)', text, re.MULTILINE)
        if trigger and totals:
            counts[trigger[1]] = int(totals[1])
    return counts


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    run = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise RuntimeError(f'{command[0]} failed: {run.stderr.strip()[-500:]}')
