"""OpenMP's threads rest while they wait, whichever door of the package is opened first."""

import os
import re
import subprocess
import sys

import pytest


def policy(program, *arguments, **environment):
    """Return the policy that OpenMP says it has, in a process of its own."""
    inherited = {name: one for name, one in os.environ.items() if not name.startswith('OMP_')}
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        env={**inherited, 'OMP_DISPLAY_ENV': 'TRUE', **environment},
        text=True,
        capture_output=True,
    )
    said = re.findall(r"OMP_WAIT_POLICY ?= ?'(\w+)'", done.stderr)
    assert said, done.stderr
    return said[-1]


@pytest.mark.parametrize(
    'program',
    [
        ['-c', 'import meta_ood_ros.core'],
        ['-c', 'import meta_ood_training.finetuning.training_run'],
        ['-c', 'import meta_ood_training.evaluation.bundle_scores'],
        ['-c', 'import meta_ood_ros.demo.frames, torch'],
    ],
)
def test_threads_wait_passively(program):
    assert policy(program) == 'PASSIVE'


def test_node_waits_passively():
    pytest.importorskip('rclpy')
    program = ['-m', 'meta_ood_ros.node.start_node', '--ros-args', '--nonsense']
    assert policy(program) == 'PASSIVE'


def test_policy_of_the_user_stays():
    assert policy(['-c', 'import meta_ood_ros.core'], OMP_WAIT_POLICY='ACTIVE') == 'ACTIVE'


def test_torch_that_is_loaded_already_keeps_its_policy():
    program = 'import torch, meta_ood_ros.core; assert torch.ones(3).sum() == 3'
    unset = policy(['-c', 'import torch'])
    assert policy(['-c', program]) == unset
