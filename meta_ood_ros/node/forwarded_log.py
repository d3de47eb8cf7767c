"""What the core logs, which knows no ROS -> the log of the node, and so /rosout."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class ForwardedLog(logging.Handler):
    """Hands what this package logs with Python to a node, from INFO on, until it is closed."""

    def __init__(self, log: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._log = log
        self._source = logging.getLogger('meta_ood_ros')
        self._source.setLevel(logging.INFO)
        self._source.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record."""
        sentence = record.getMessage()
        # rclpy allows each line of code one severity only.
        if record.levelno >= logging.ERROR:
            self._log.error(sentence)
        elif record.levelno >= logging.WARNING:
            self._log.warning(sentence)
        else:
            self._log.info(sentence)

    def close(self) -> None:
        """Hand over nothing from now on."""
        self._source.removeHandler(self)
        super().close()
