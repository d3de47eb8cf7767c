"""What the node knows about its own work -> /diagnostics and the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import re
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from meta_ood_ros.node.scheduling import Counts, Frame
from rclpy.node import Node

#: Owner of conditions that concern the whole node; no camera can have this name.
ALL_CAMERAS = '*'

#: Images are missed after this many seconds without one.
SILENCE = 3.0

# A drop is told at once, but not more often than this, in seconds.
_SHORTEST_PERIOD = 0.05
# What is within quotes or a number tells sentences of one kind apart; so many kinds are logged.
_DETAIL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d+""")
_MOST_KINDS = 256
# Mean times are over this many frames.
_FRAMES = 30


class Conditions:
    """
    Sentences that are true for now: each is logged when it first appears.

    Safe to use from several threads.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._standing: dict[tuple[str, str], str] = {}
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def set(self, owner: str, what: str, sentence: str) -> None:
        """Let a sentence stand until another, or '', takes its place."""
        with self._lock:
            if self._standing.get((owner, what), '') == sentence:
                return
            if sentence:
                self._standing[owner, what] = sentence
            else:
                del self._standing[owner, what]
        if sentence:
            self.log_once(sentence)

    def clear(self, owner: str) -> None:
        """Let no sentence of an owner stand any longer."""
        with self._lock:
            for key in [one for one in self._standing if one[0] == owner]:
                del self._standing[key]

    def log_once(self, sentence: str) -> None:
        """
        Log a sentence unless the same, but for its numbers and quotes, was logged before.

        The log of a node that meets ever new trouble comes to an end; /diagnostics does not.
        """
        kind = _DETAIL.sub('#', sentence)
        with self._lock:
            if kind in self._logged or len(self._logged) >= _MOST_KINDS:
                return
            self._logged.add(kind)
            is_last = len(self._logged) == _MOST_KINDS
        self._warn(sentence)
        if is_last:
            self._warn('No further kinds of warnings are logged: see /diagnostics.')

    def standing(self, *owners: str) -> list[str]:
        """Return the sentences that stand for these owners."""
        with self._lock:
            return [one for (owner, _), one in self._standing.items() if owner in owners]


@dataclass
class CameraRecord:
    """The latest facts about one camera, written by the worker and read by the executor."""

    facts: dict[str, str] = field(default_factory=dict)
    last_arrival: float = field(default_factory=time.monotonic)
    milliseconds: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=_FRAMES))

    def note_drop(self, frame: Frame, cause: str, sentence: str = '') -> None:
        """
        Remember which frame was dropped last, and why.

        Parameters
        ----------
        frame : Frame
            Its stamp is told, so that an offline source knows that it need not wait.

        """
        stamp = frame.message.header.stamp
        self.facts['last_drop'] = f'{cause}: {sentence}' if sentence else cause
        self.facts['last_drop_stamp'] = f'{stamp.sec}.{stamp.nanosec:09d}'

    def mean_milliseconds(self) -> dict[str, float]:
        """Return the mean time of each stage over the last frames."""
        frames = list(self.milliseconds)
        stages = dict.fromkeys(stage for frame in frames for stage in frame)
        return {
            stage: sum(frame.get(stage, 0.0) for frame in frames) / len(frames) for stage in stages
        }


def to_status(
    name: str,
    hardware_id: str,
    *,
    level: bytes,
    message: str,
    facts: Mapping[str, object],
) -> DiagnosticStatus:
    """Return one status."""
    values = [KeyValue(key=key, value=_written(value)) for key, value in facts.items()]
    return DiagnosticStatus(
        name=name, hardware_id=hardware_id, level=level, message=message, values=values
    )


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def count_facts(counts: Counts) -> dict[str, int]:
    """Return what became of the frames of a camera, by key."""
    return {
        'in': counts.received,
        'processed': counts.processed,
        'idle_frames': counts.idle,
        'dropped': counts.dropped_total,
        **{f'dropped_{cause}': number for cause, number in counts.dropped.items()},
    }


class DiagnosticsPublisher:
    """Publishes the state once a period, and at once when something should be seen."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._last = float('-inf')
        self._urgent = False

    def hurry(self) -> None:
        """Have the state published at the next poll; may be called from any thread."""
        self._urgent = True

    def poll(self, period: float, statuses: Callable[[], Iterable[DiagnosticStatus]]) -> None:
        """Publish if it is time."""
        now = time.monotonic()
        if now - self._last < (_SHORTEST_PERIOD if self._urgent else period):
            return
        self._last, self._urgent = now, False
        message = DiagnosticArray(status=list(statuses()))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def join_sentences(sentences: Sequence[str]) -> str:
    """Return the sentences as one text, without repeating any."""
    return ' '.join(dict.fromkeys(sentences))
