"""The executable `ood_node`: what the process needs before torch and ROS are loaded."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import sys

from meta_ood_ros.node.shared_memory import use_profile
from meta_ood_ros.node.stopping import Stop

# Set by a process that has handed over to another interpreter.
_HANDED_OVER = '_META_OOD_HANDED_OVER'


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node until it is told to stop.

    Raises
    ------
    SystemExit
        A module is missing, mostly because the virtual environment is not active; or ROS cannot
        use the arguments.

    """
    stop = Stop()
    stop.listen()
    stop.listen_to_parent()
    use_profile(os.environ)
    try:
        # Imported here: torch and ROS are what may be missing.
        from meta_ood_ros.node.ood_node import main as run
    except ModuleNotFoundError as error:
        _hand_over(sys.argv[1:] if arguments is None else arguments)
        sys.exit(
            f'ood_node needs the Python module {error.name}, which {sys.executable} does not '
            'have. Activate the virtual environment that has it (as in: . '
            '~/ood/bin/activate) in this terminal, too, or run pip install -r '
            'requirements-robot.txt; for a module of ROS source the workspace '
            '(. install/setup.bash).'
        )
    try:
        stop.run()
        return run(arguments)
    except KeyboardInterrupt:
        return 0
    finally:
        stop.finish()


def _hand_over(arguments: Sequence[str]) -> None:
    """
    Become the python3 of the active virtual environment where this is another one.

    The interpreter of colcon, which `colcon build --symlink-install` writes into the executable,
    need not be the one that has torch.
    """
    active = Path(os.environ.get('VIRTUAL_ENV') or sys.prefix)
    python = active / 'bin' / 'python3'
    is_other = active.resolve() != Path(sys.prefix).resolve()
    if not is_other or not os.access(python, os.X_OK) or os.environ.get(_HANDED_OVER):
        return
    os.environ[_HANDED_OVER] = '1'
    sys.stdout.flush()
    os.execv(python, [str(python), '-m', 'meta_ood_ros.node.start_node', *arguments])


if __name__ == '__main__':
    sys.exit(main())
