"""Frames of several cameras -> one worker: the latest of each, the longest waiting first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
import queue
import threading
import time
from typing import Any

#: Why a frame was not processed. `replaced`: a newer one came before its turn; `stale`: it waited
#: longer than max_age; `rate`: it came sooner than max_rate allows; `invalid`: it could not be
#: read; `failed`: the network or what follows it failed; `cleared`: the node was deactivated or
#: the clock jumped back.
DROP_CAUSES = ('replaced', 'stale', 'rate', 'invalid', 'failed', 'cleared')


@dataclass(frozen=True, eq=False)
class Frame:
    """An image that waits for its turn."""

    camera: str
    message: Any
    arrival: float


@dataclass
class Counts:
    """What became of the frames of one camera: received = processed + idle + dropped + waiting."""

    received: int = 0
    processed: int = 0
    idle: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROP_CAUSES, 0))

    @property
    def dropped_total(self) -> int:
        """Return the frames dropped for any cause."""
        return sum(self.dropped.values())


class LatestFrames:
    """
    One slot for each camera: a new frame replaces the one that still waits there.

    Safe to use from several threads. Closed at first: `open` lets frames in.

    Parameters
    ----------
    clock : callable
        Returns seconds; monotonic, because the age of a frame counts from its arrival whatever
        happens to the wall clock or a simulated one.
    on_drop : callable, optional
        Called with frame and cause after a drop was counted, without any lock held.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        on_drop: Callable[[Frame, str], None] | None = None,
    ) -> None:
        self.counts = {camera: Counts() for camera in cameras}
        self._clock = clock
        self._on_drop = on_drop
        self._slots: dict[str, Frame] = {}
        self._due = dict.fromkeys(cameras, float('-inf'))
        self._rate = dict.fromkeys(cameras, 0.0)
        self._changed = threading.Condition()
        self._closed = True

    def open(self) -> None:
        """Let frames in."""
        with self._changed:
            self._closed = False

    def offer(self, camera: str, message: Any, *, max_rate: float = 0.0) -> None:
        """
        Take in a frame that has just arrived.

        Parameters
        ----------
        max_rate : float
            Frames per second let through, in the mean; a frame may come early by half a period,
            so that a camera of that very rate loses none to its jitter. 0 is no limit.

        """
        now = self._clock()
        frame = Frame(camera, message, now)
        dropped: tuple[Frame, str] | None = None
        with self._changed:
            counts = self.counts[camera]
            counts.received += 1
            if max_rate != self._rate[camera]:  # set while running: the old deadline means nothing
                self._rate[camera], self._due[camera] = max_rate, float('-inf')
            if self._closed:
                dropped = frame, 'cleared'
            elif max_rate > 0 and now < self._due[camera]:
                dropped = frame, 'rate'
            else:
                if max_rate > 0:
                    period = 1.0 / max_rate
                    self._due[camera] = max(self._due[camera], now - period / 2) + period
                if camera in self._slots:
                    dropped = self._slots[camera], 'replaced'
                self._slots[camera] = frame
                self._changed.notify()
            if dropped is not None:
                self._count_drop(*dropped)
        if dropped is not None:
            self._report(*dropped)

    def skip(self, camera: str) -> None:
        """Count a frame that came while nobody wanted any output."""
        with self._changed:
            self.counts[camera].received += 1
            self.counts[camera].idle += 1

    def take_ready(self, limit: int, *, timeout: float | None = None) -> list[Frame]:
        """
        Return the frames that wait, that of the camera whose turn is next first.

        A camera takes its turn when a frame of it begins to wait and keeps it when a newer frame
        takes that one's place: otherwise, of two cameras of one rate, the one that is always the
        first of the period would be served nearly always.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for the first; no frame is waited for once there is one.

        Returns
        -------
        list of Frame
            Empty after the timeout or `close`. They leave their slots; the caller owes each one
            call of `count_processed` or `drop`.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._closed, timeout)
            if self._closed:
                return []
            # a dict keeps the place of a key whose value is replaced
            waiting = list(self._slots.values())[:limit]
            return [self._slots.pop(frame.camera) for frame in waiting]

    def age(self, frame: Frame) -> float:
        """Return the seconds since the frame arrived."""
        return self._clock() - frame.arrival

    def count_processed(self, frame: Frame) -> None:
        """Count a frame whose answer was sent."""
        with self._changed:
            self.counts[frame.camera].processed += 1

    def drop(self, frame: Frame, cause: str) -> None:
        """Count a frame that was taken and then given up, for one of DROP_CAUSES."""
        with self._changed:
            self._count_drop(frame, cause)
        self._report(frame, cause)

    def clear(self) -> None:
        """Drop all frames that wait."""
        with self._changed:
            frames = list(self._slots.values())
            self._slots.clear()
            self._due = dict.fromkeys(self._due, float('-inf'))
            for frame in frames:
                self._count_drop(frame, 'cleared')
        for frame in frames:
            self._report(frame, 'cleared')

    def close(self) -> None:
        """Drop all frames that wait and let every `take_ready` return nothing from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.clear()

    def _count_drop(self, frame: Frame, cause: str) -> None:
        self.counts[frame.camera].dropped[cause] += 1

    def _report(self, frame: Frame, cause: str) -> None:
        if self._on_drop is not None:
            self._on_drop(frame, cause)


class Worker:
    """
    Two threads: one computes the frames that wait, the other sends what the first has made.

    While the network works on a frame, the answer to the one before it is sent. Not more than
    one finished frame waits between the two, so that a slow subscriber slows the network down
    instead of filling the memory.

    Parameters
    ----------
    compute : callable
        List of frames -> what `send` shall send, one after the other; frames without an answer
        are left out. It must not raise.
    limit : int
        Frames computed together at most: those of several cameras that wait at the same time.

    """

    def __init__(
        self,
        frames: LatestFrames,
        compute: Callable[[list[Frame]], Iterable[Any]],
        send: Callable[[Any], None],
        *,
        limit: int = 1,
    ) -> None:
        self._frames = frames
        self._compute = compute
        self._send = send
        self._limit = limit
        self._made: queue.Queue[Any] = queue.Queue(maxsize=1)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work."""
        if self._threads:
            return
        self._frames.open()
        self._threads = [
            threading.Thread(target=target, name=f'meta_ood {name}', daemon=True)
            for name, target in (('compute', self._run_compute), ('send', self._run_send))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when the frame in work is done and sent; those that wait are dropped."""
        self._frames.close()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _run_compute(self) -> None:
        while frames := self._frames.take_ready(self._limit):
            for made in self._compute(frames):
                self._made.put(made)
                del made
            del frames  # do not hold megabytes while waiting for the next
        self._made.put(None)

    def _run_send(self) -> None:
        while (made := self._made.get()) is not None:
            self._send(made)
            del made
