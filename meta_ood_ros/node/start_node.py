"""The executable `ood_node`: what the interpreter lacks is said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
import sys


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node until it is told to stop.

    Raises
    ------
    SystemExit
        A module is missing, mostly because the virtual environment is not active.

    """
    try:
        # Imported here: torch and ROS are what may be missing.
        from meta_ood_ros.node.ood_node import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f'ood_node needs the Python module {error.name}, which {sys.executable} does not '
            'have. Activate the virtual environment that has it (as in: . '
            '~/ood/bin/activate) in this terminal, too, or run pip install -r '
            'requirements-robot.txt; for a module of ROS source the workspace '
            '(. install/setup.bash).'
        )
    return run(arguments)


if __name__ == '__main__':
    sys.exit(main())
