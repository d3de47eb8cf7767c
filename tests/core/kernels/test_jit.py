"""Kernels compile once, on machines where the cache cannot be written, too."""

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import threading

from meta_ood_ros.core.kernels import jit
from meta_ood_ros.core.kernels.jit import array, Kernel, kernel
from meta_ood_ros.core.kernels.warm_up import warm_up
from numba import types
import numpy as np
import pytest

KERNELS = Path(jit.__file__).parent


def double(values):
    for i in range(values.size):
        values[i] *= 2


def make_double() -> Kernel:
    return kernel(array(types.float32, 1, readonly=False))(double)


def test_kernel_compiles_once_for_many_threads():
    doubles = make_double()
    compiled = []
    threads = [threading.Thread(target=lambda: compiled.append(doubles.compile())) for _ in '1234']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(code) for code in compiled}) == 1
    values = np.ones(3, np.float32)
    doubles(values)
    np.testing.assert_array_equal(values, 2)


def test_another_dtype_is_refused_instead_of_compiled():
    with pytest.raises(TypeError, match='No matching definition'):
        make_double()(np.ones(3))


def test_read_only_input_fits():
    @kernel(array(types.float64, 1), returns=types.float64)
    def first(values):
        return values[0]

    values = np.array([3.0])
    values.flags.writeable = False
    assert first(values) == 3.0


@pytest.mark.parametrize('error', [RuntimeError('no locator'), OSError(28, 'full'), EOFError()])
def test_unusable_cache_only_costs_time(error, monkeypatch):
    attempts = []
    compile_ = Kernel._jit

    def fail_with_cache(self, *, cache):
        attempts.append(cache)
        if cache:
            raise error
        return compile_(self, cache=False)

    monkeypatch.setattr(Kernel, '_jit', fail_with_cache)
    values = np.ones(3, np.float32)
    make_double()(values)
    np.testing.assert_array_equal(values, 2)
    assert attempts == [True, False]


def test_nowhere_to_write(tmp_path):
    """No cache beside the package and none in the home folder: as on a read-only root."""
    shutil.copytree(
        KERNELS.parents[1],
        tmp_path / 'meta_ood_ros',
        ignore=shutil.ignore_patterns('__pycache__', 'bundles'),
    )
    for folder in ('core', 'core/kernels'):  # a file where a folder must be
        (tmp_path / 'meta_ood_ros' / folder / '__pycache__').touch()
    program = (
        'import numpy as np\n'
        'from meta_ood_ros.core.segments import find_segments\n'
        'print(find_segments(np.eye(3, dtype=bool)).count)\n'
    )
    environment = {
        **os.environ, 'HOME': '/dev/null', 'PYTHONPATH': str(tmp_path),
        'PYTHONDONTWRITEBYTECODE': '1',
    }  # fmt: skip
    environment.pop('NUMBA_CACHE_DIR', None)
    environment.pop('XDG_CACHE_HOME', None)
    run = subprocess.run(
        [sys.executable, '-c', program], env=environment, cwd=tmp_path,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.stdout == '1\n', run.stderr
    assert not list(tmp_path.rglob('*.nbi'))


def test_parts_lists_the_files_whose_parts_go_into_other_files():
    files = {
        path.name
        for path in KERNELS.glob('*.py')
        if '\n@part\n' in path.read_text() or '\n@intrinsic\n' in path.read_text()
    }
    with_kernels = {
        path.name for path in KERNELS.glob('*.py') if re.search(r'[@ ]kernel\(', path.read_text())
    }
    assert files - with_kernels <= set(jit.PARTS)
    assert set(jit.PARTS) <= {path.name for path in KERNELS.glob('*.py')}


def test_stale_cache_is_dropped(tmp_path, monkeypatch):
    doubles = make_double()

    class Dispatcher:
        class stats:  # noqa: N801
            cache_path = str(tmp_path)

    stale, fresh = tmp_path / 'test_jit.double-1.nbi', tmp_path / 'test_jit.double-2.nbi'
    foreign = tmp_path / 'other.double-1.nbi'
    for index in (stale, fresh, foreign):
        index.touch()
    os.utime(stale, (0, 0))
    os.utime(foreign, (0, 0))
    doubles._drop_stale_cache(Dispatcher)
    assert not stale.exists()
    assert fresh.exists()
    assert foreign.exists()


def test_warm_up_leaves_nothing_to_compile():
    from meta_ood_ros.core import segments
    from meta_ood_ros.core.kernels import dense_cpu, segment_sums_from_logits

    warm_up()
    for module in (dense_cpu, segments, segment_sums_from_logits):
        kernels = [value for value in vars(module).values() if isinstance(value, Kernel)]
        assert kernels
        assert all(value._compiled is not None for value in kernels)
