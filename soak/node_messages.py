"""Each fuzzed message to the real node: answered or dropped with a sentence, and it lives on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import random
from tempfile import mkdtemp

from sensor_msgs.msg import CompressedImage, Image

from soak.live_node import LiveNode, new_header, wait_for
from soak.messages import draw_message

_NAMES = {Image: 'raw', CompressedImage: 'packed'}


def make_trial() -> Callable[[int, int], str]:
    """Return what sends the message of a number to a node that has two cameras."""
    folder = Path(mkdtemp(prefix='soak'))
    nodes = {}
    for kind, name in _NAMES.items():
        transport = 'compressed' if kind is CompressedImage else 'raw'
        nodes[kind] = LiveNode(
            folder, max_age=0.0, image_transport=transport, max_failures=1000, cameras=[name]
        )
        node = nodes[kind]
        node.listen(name)
        if (node.do('configure'), node.do('activate')) != ('success', 'success'):
            raise RuntimeError('the node cannot be started')
        node.connect(name, kind=kind)

    def trial(number: int, seed: int) -> str:
        message = draw_message(random.Random(f'{seed} {number}'))
        message.header = new_header()
        node, name = nodes[type(message)], _NAMES[type(message)]
        before, processed = node.settled(name), node.counts(name).processed
        failed = node.counts(name).dropped['failed']
        node.camera(name, type(message)).publish(message)
        wait_for(lambda: node.settled(name) > before)
        if node.counts(name).dropped['failed'] > failed:
            raise RuntimeError(f'the network failed: {node.session._processor.last_failure}')
        if node.counts(name).processed == processed:
            facts = node.session._cameras[name].record.facts
            if not facts['last_drop'].startswith('invalid: '):
                raise AssertionError(f'dropped as {facts["last_drop"]}')
            return 'dropped with a sentence'
        wait_for(lambda: any(one.header == message.header for one in node.answers))
        return 'answered'

    return trial
