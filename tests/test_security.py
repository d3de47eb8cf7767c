"""What docs/security.md promises: the policy, no network, exact pins."""

import os
import re
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import pytest

#: Every use of a socket is an error, as is every look-up of a name.
WITHOUT_NETWORK = """
import sys
def refuse(event, arguments):
    if event.startswith(('socket.', 'urllib.', 'http.', 'ftplib.', 'smtplib.')):
        raise RuntimeError(f'{event} {arguments}')
sys.addaudithook(refuse)
import socket
try:
    socket.create_connection(('127.0.0.1', 9))
except RuntimeError:
    print('refused')
from meta_ood_ros.core import OodPipeline
from meta_ood_ros.scenes import render_scene
result = OodPipeline()(render_scene(0, size=(120, 160), ood_objects=1).image)
print(result.image_size)
"""


def test_pipeline_opens_no_socket(repository):
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_NETWORK],
        env={**os.environ, 'PYTHONPATH': str(repository)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'refused\n(120, 160)\n'


def test_every_requirement_is_pinned_exactly(repository):
    lines = (repository / 'requirements.txt').read_text().splitlines()
    wanted = [line.partition('#')[0].strip() for line in lines]
    pins = [line for line in wanted if line and not line.startswith('-')]
    assert len(pins) > 30
    for pin in pins:
        assert re.fullmatch(r'[\w.-]+(\[[\w,-]+\])?==[\w.+!]+( *;.*)?', pin), pin


# What only some installations have, or only some parameters open.
SOMETIMES = {
    ('topics', 'publish'): {'/ood/detections', '/ood/label_info'},
    ('topics', 'subscribe'): {'/image/compressed'},
    ('services', 'reply'): set(),
}


@pytest.fixture(scope='module')
def allowed(repository):
    """Return what the policy allows the node: (kind, direction) -> fully qualified names."""
    root = ET.parse(repository / 'config' / 'ood.policy.xml').getroot()
    (profile,) = root.iter('profile')
    namespace, name = profile.get('ns'), profile.get('node')
    found = {}
    for group in profile:
        ((direction, verdict),) = group.items()
        assert verdict == 'ALLOW'
        names = [one.text.replace('~', f'{namespace}{name}') for one in group]
        assert len(set(names)) == len(names)
        found[group.tag, direction] = {
            one if one.startswith('/') else namespace + one for one in names
        }
    return found


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_policy_allows_what_the_node_opens_and_nothing_else(
    repository, allowed, tiny_bundle, tmp_path, transport
):
    pytest.importorskip('rclpy')
    from dataclasses import replace

    from meta_ood_ros.core.bundle_files import save_bundle
    from meta_ood_ros.node import OodNode
    import rclpy
    from rclpy.context import Context
    from rclpy.parameter import Parameter

    save_bundle(replace(tiny_bundle, meta_classifiers=()), tmp_path / 'tiny')
    values = {
        'bundle': str(tmp_path / 'tiny'),
        'device': 'cpu',
        'image_transport': transport,
        'use_sim_time': True,
    }
    context = Context()
    # A node of this name that has just ended is known for a while, and would be asked instead.
    domain = 1 + (2 * os.getpid() + (transport == 'raw')) % 100
    rclpy.init(context=context, domain_id=domain)
    node = OodNode(
        context=context,
        parameter_overrides=[Parameter(name, value=one) for name, one in values.items()],
    )
    try:
        node.trigger_configure()
        node.trigger_activate()
        end, opened = time.monotonic() + 6, {}
        # The graph is learned in a thread of its own: until it stays the same.
        while time.monotonic() < end:
            known = opened
            opened = {
                ('topics', 'publish'): node.get_publisher_names_and_types_by_node('ood', '/'),
                ('topics', 'subscribe'): node.get_subscriber_names_and_types_by_node('ood', '/'),
                ('services', 'reply'): node.get_service_names_and_types_by_node('ood', '/'),
            }
            if opened == known and all(opened.values()):
                break
            time.sleep(0.5)
        assert node.get_client_names_and_types_by_node('ood', '/') == []
    finally:
        node.destroy_node()
        context.try_shutdown()
    assert set(allowed) == set(opened)
    for key, ends in opened.items():
        names = {name for name, _ in ends}
        assert names <= allowed[key]
        unused = allowed[key] - names - SOMETIMES[key]
        assert unused == (
            {'/image'} if (key[1], transport) == ('subscribe', 'compressed') else set()
        )


def test_policy_is_installed(repository):
    assert "share('config', '*.yaml', '*.rviz', '*.xml')" in (repository / 'setup.py').read_text()
