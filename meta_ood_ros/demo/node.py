"""The node of the demo, in a process of its own, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import re
import signal
import subprocess
import sys

from meta_ood_ros.node.shared_memory import use_profile
from meta_ood_ros.node.stopping import END_WITH

_STOP_SECONDS = 15.0
# However the user's own terminal is set up, the lines are those that are looked for below.
_LOG_ENVIRONMENT = {
    'RCUTILS_COLORIZED_OUTPUT': '0',
    'RCUTILS_CONSOLE_OUTPUT_FORMAT': '[{severity}] [{time}] [{name}]: {message}',
}
_LOG_LINE = re.compile(r'^\[(\w+)\] \[[\d.]+\] \[[^\]]*\]: (.*)$')


class NodeDiedError(Exception):
    """The node ended, or stopped to work, although it should not."""


class NodeProcess:
    """A running node."""

    def __init__(self, parameters: Mapping[str, object], *, namespace: str, log: Path) -> None:
        arguments = to_ros_arguments(parameters)
        if namespace:
            arguments += ['-r', f'__ns:={namespace}']
        self._log = log
        self._file = log.open('wb')
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the node in order.
        self._process = subprocess.Popen(
            [sys.executable, '-u', '-m', 'meta_ood_ros.node.start_node', *arguments],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **_LOG_ENVIRONMENT, END_WITH: str(os.getpid())},
        )

    def check(self) -> None:
        """Raise NodeDiedError with its last words if it has ended."""
        status = self._process.poll()
        if status is not None:
            how = f'signal {signal.Signals(-status).name}' if status < 0 else f'status {status}'
            raise NodeDiedError(f'The node ended with {how}. Its last lines:\n{self.last_lines()}')

    def last_lines(self, count: int = 15) -> str:
        """Return the end of what it printed."""
        lines = self._log.read_text(errors='replace').splitlines()
        return '\n'.join(f'  {line}' for line in lines[-count:])

    def warnings(self) -> list[str]:
        """Return its warnings and errors, each once."""
        found = {}
        for line in self._log.read_text(errors='replace').splitlines():
            match = _LOG_LINE.match(line)
            if match and match[1] in ('WARN', 'ERROR', 'FATAL'):
                found.setdefault(match[2])
        return list(found)

    def stop(self) -> None:
        """Interrupt it as Ctrl-C does, and return when it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._file.close()


def to_ros_arguments(parameters: Mapping[str, object]) -> list[str]:
    """Return the command line that gives a node its parameters."""
    arguments = ['--ros-args']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={_to_yaml(value)}']
    return arguments


def _to_yaml(value: object) -> str:
    """Return a parameter value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(_to_yaml(one) for one in value)}]'
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def prepare_environment(domain: int | None) -> int:
    """Keep the demo's traffic on this machine and to itself; to be called before rclpy starts."""
    if domain is None:
        domain = find_free_domain(range(1 + os.getpid() % 90, 102))
    os.environ.update(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        ROS_LOCALHOST_ONLY='1' if os.environ.get('ROS_DISTRO') == 'humble' else '0',
    )
    use_profile(os.environ)
    return domain


def find_free_domain(candidates: Sequence[int]) -> int:
    """Return the first domain in which no participant of this machine listens, else the last."""
    listening = _udp_ports()
    for domain in candidates:
        # DDS: participant k of a domain listens on 7400 + 250 x domain + 10 + 2 k.
        first = 7400 + 250 * domain
        if not any(first <= port < first + 250 for port in listening):
            return domain
    return candidates[-1]


def _udp_ports() -> set[int]:
    ports = set()
    for name in ('udp', 'udp6'):
        try:
            lines = Path(f'/proc/net/{name}').read_text().splitlines()[1:]
        except OSError:
            continue
        ports.update(int(line.split()[1].rsplit(':', 1)[1], 16) for line in lines)
    return ports
