"""
Parameters of every name, type and value, in every state of the real node.

What must hold: a change is made, or refused with a reason and without effect; the node can always
be brought back, and then answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
import math
from pathlib import Path
import random
from tempfile import mkdtemp
from typing import Any

from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.conversions import to_image
import numpy as np
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from soak.bounded import run_trials
from soak.live_node import LiveNode, new_header, SIZE, wait_for

_FIELDS = {one.name: one for one in fields(NodeSettings)}
_BLOCK = 25
"""After so many changes the node is brought back, must answer, and its state changes."""
_STATES = ('active', 'inactive', 'unconfigured')
_FLOATS = (0.0, -1.0, 0.5, 1.0, 1e-9, -0.0, 1e300, -5.0, math.nan, math.inf, -math.inf, 20.0)
_INTEGERS = (0, -1, 1, 2, 10, 64, 100, 255, 1000, 65_536, 2**31, 2**63 - 1, -(2**63))
_TEXTS = (
    '',
    'auto',
    'cpu',
    'cuda:99',
    'eager',
    'entropy',
    'none',
    'é',
    'a\nb',
    '/no/such',
    '~',
    '..',
    'x' * 5000,
)
#: Sound, and too slow or too large for a trial each.
_SLOW = {'work_short_side': 64, 'backend': 'eager', 'cpu_threads': 0, 'build_only': False}
_KINDS = {
    'bool_value': (ParameterType.PARAMETER_BOOL, (True, False)),
    'integer_value': (ParameterType.PARAMETER_INTEGER, _INTEGERS),
    'double_value': (ParameterType.PARAMETER_DOUBLE, _FLOATS),
    'string_value': (ParameterType.PARAMETER_STRING, _TEXTS),
    'string_array_value': (
        ParameterType.PARAMETER_STRING_ARRAY, ([], [''], ['front', 'rear'], ['1st'], ['a'] * 300),
    ),
    'double_array_value': (ParameterType.PARAMETER_DOUBLE_ARRAY, ([], [0.5], [math.nan] * 3)),
    'byte_array_value': (ParameterType.PARAMETER_BYTE_ARRAY, ([b'\x00'],)),
}  # fmt: skip
_RIGHT_KIND = {
    bool: 'bool_value', int: 'integer_value', float: 'double_value', str: 'string_value',
    tuple: 'string_array_value',
}  # fmt: skip


def run(count: int, seed: int) -> list[tuple[str, str]]:
    """Make so many changes, of one to three parameters each."""
    return run_trials('soak.parameters', 'changes of parameters', count, seed)


def make_trial() -> Callable[[int, int], str]:
    """Return what makes the change of a number."""
    node = LiveNode(Path(mkdtemp(prefix='soak')), max_age=0.0)
    node.listen()
    ask: Any = node.peer.create_client(SetParameters, '/ood/set_parameters')
    ask.wait_for_service(60)
    start = {name: node.node.get_parameter(name).value for name in _FIELDS}

    def trial(number: int, seed: int) -> str:
        dice = random.Random(f'{seed} {number}')
        if number % _BLOCK == 0 or node.state == 'finalized':
            _bring_back(node, start, _STATES[number // _BLOCK % len(_STATES)])
        state = node.state
        changes = [_draw(dice) for _ in range(dice.choice((1, 1, 2, 3)))]
        before = {name: node.node.get_parameter(name).value for name in _FIELDS}
        results = ask.call(SetParameters.Request(parameters=changes), timeout_sec=60).results
        for change, result in zip(changes, results, strict=True):
            if not result.successful and not result.reason:
                raise AssertionError(f'{change.name} refused without a reason')
        if not any(one.successful for one in results):
            after = {name: node.node.get_parameter(name).value for name in _FIELDS}
            if repr(after) != repr(before):
                raise AssertionError('a change that was refused had an effect')
        if state == 'active' or dice.random() < 0.2:
            _go_on(node)
        made = sum(one.successful for one in results)
        return (
            f'{state} {"made" if made == len(results) else "made in part" if made else "refused"}'
        )

    return trial


def _draw(dice: random.Random) -> ParameterMessage:
    """Return a change of any parameter, mostly of its own type."""
    name = dice.choice((*_FIELDS, 'no_such_parameter'))
    kind = dice.choice(list(_KINDS))
    if name in _FIELDS and dice.random() < 0.7:
        kind = _RIGHT_KIND[type(_FIELDS[name].default)]
    number, values = _KINDS[kind]
    value = ParameterValue(type=number, **{kind: dice.choice(values)})
    if dice.random() < 0.02:
        value = ParameterValue()  # of no type at all
    return ParameterMessage(name=name, value=value)


def _go_on(node: LiveNode) -> None:
    """Let the node do what it does in its state: take a frame, or try to be configured."""
    if node.state == 'active':
        before = node.settled()
        node.camera().publish(to_image(new_header(), np.full((*SIZE, 3), 90, np.uint8), 'rgb8'))
        wait_for(lambda: node.settled() > before or node.state != 'active')
    elif node.state == 'unconfigured':
        _set(node, _SLOW)
        ended = node.do('configure')
        if ended == 'success':
            node.do('cleanup')
        if node.state != 'unconfigured' or ended not in ('success', 'failure'):
            raise AssertionError(f'configure ended as {ended} in {node.state}')


def _bring_back(node: LiveNode, start: dict[str, Any], state: str) -> None:
    """Undo all changes, ask for an answer, and leave the node in a state."""
    if node.state == 'active':
        node.do('deactivate')
    if node.state == 'inactive':
        node.do('cleanup')
    _set(node, start)
    now = {name: node.node.get_parameter(name).value for name in _FIELDS}
    if repr(now) != repr(start):
        changed = [name for name in now if repr(now[name]) != repr(start[name])]
        raise AssertionError(f'parameters cannot be set back: {changed}')
    for transition in ('configure', 'activate'):
        if node.do(transition) != 'success':
            raise AssertionError(f'{transition} fails with the parameters it began with')
    if not node.answers_one():
        raise AssertionError('the node does not answer any more')
    if state != 'active':
        node.do('deactivate')
    if state == 'unconfigured':
        node.do('cleanup')


def _set(node: LiveNode, values: dict[str, Any]) -> None:
    """Set parameters one by one, twice: what contradicts another goes with the second turn."""
    for _ in range(2):
        node.call(
            node.node.set_parameters, [Parameter(name, value=one) for name, one in values.items()]
        )
