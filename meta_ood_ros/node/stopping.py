"""What SIGINT and SIGTERM do to the process, from its first line to its last."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
import signal
import sys
import threading
import time
from types import FrameType

#: After the first signal the process ends within this time, whatever holds it up, in seconds.
GRACE = 1.5

#: Variable with the id of a process whose end is to end this one.
END_WITH = 'META_OOD_END_WITH'

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """
    Ends the process in order where that is quick, and always with status 0.

    The first signal interrupts what runs, further ones change nothing. To be made before rclpy is
    initialised: its handlers call those that they find.
    """

    def __init__(self) -> None:
        self._state = 'starting'

    def listen(self) -> None:
        """Handle the signals from now on; for the main thread only."""
        for one in _SIGNALS:
            signal.signal(one, self._on_signal)
        # Written by the interpreter in C: a library that holds up the main thread does not matter.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_end_late, args=(reader,), daemon=True).start()

    def listen_to_parent(self) -> None:
        """Have the end of the process that END_WITH names be a signal, too, if it is a parent."""
        parent = os.environ.pop(END_WITH, '')
        if not parent:
            return
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if not Path('/proc', parent).exists():
            os.kill(os.getpid(), signal.SIGINT)

    def run(self) -> None:
        """Have the first signal raise KeyboardInterrupt from now on."""
        self._state = 'running'

    def finish(self) -> None:
        """Ignore signals; where one has come, end at once: taking libraries down takes seconds."""
        told, self._state = self._state == 'told', 'ending'
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        if told:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        before = self._state
        if before != 'ending':
            self._state = 'told'
        if before == 'starting':
            os._exit(0)  # imports that are interrupted leave tracebacks
        if before == 'running':
            raise KeyboardInterrupt


def _end_late(reader: int) -> None:
    """Wait for a signal, and end the process if that has not ended it in time."""
    os.read(reader, 1)
    time.sleep(GRACE)
    os.write(2, b'ood_node ends without waiting for what was in work.\n')
    os._exit(0)
