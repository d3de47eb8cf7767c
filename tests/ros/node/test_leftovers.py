"""`make leftovers` removes the shared memory of processes that were killed, and of no other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='there is no make')

SEGMENT_LOCK = re.compile(r'fast(?:dds|rtps)_[0-9a-f]{16}_el')
NODE = """
import time, rclpy
rclpy.init()
node = rclpy.create_node('left')
print('up', flush=True)
time.sleep(99)
"""


def sweep(repository, folder):
    command = ['make', '--silent', 'leftovers', f'SHARED_MEMORY={folder}']
    subprocess.run(command, cwd=repository, check=True, timeout=60)


def age(path):
    os.utime(path, (time.time() - 300,) * 2)


def test_what_is_locked_young_or_foreign_stays(repository, tmp_path):
    names = [f'fast{family}_{place:016x}' for family in ('dds', 'rtps') for place in range(3)]
    others = ('fastdds_port7400', 'fastdds_port7400_el', 'sem.fastdds_port7400_mutex', 'mine_el')
    for name in (*names, *(f'{name}_el' for name in names), *others):
        (tmp_path / name).touch()
        age(tmp_path / name)
    held, young = names[1], names[5]
    (tmp_path / f'{young}_el').touch()
    with (tmp_path / f'{held}_el').open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(repository, tmp_path)
    kept = {held, f'{held}_el', young, f'{young}_el', *others}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_segment_of_a_node_goes_when_the_node_was_killed_and_no_sooner(repository):
    node = subprocess.Popen([sys.executable, '-c', NODE], stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout.readline() == 'up\n'
        opened = {one.resolve() for one in Path(f'/proc/{node.pid}/fd').iterdir()}
        locks = [one for one in opened if SEGMENT_LOCK.fullmatch(one.name)]
        if not locks:
            pytest.skip('this ROS has no FastDDS with shared memory')
        segments = [one.with_name(one.name[: -len('_el')]) for one in locks]
        for lock in locks:
            age(lock)
        sweep(repository, '/dev/shm')
        assert all(one.exists() for one in (*locks, *segments))
    finally:
        node.kill()
        node.wait()
        node.stdout.close()
    assert all(one.exists() for one in segments)
    sweep(repository, '/dev/shm')
    assert not any(one.exists() for one in (*locks, *segments))
