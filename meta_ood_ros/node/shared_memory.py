"""Shared memory of FastDDS: the profile that carries pictures, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
import os
from pathlib import Path
import sys

#: Gives the participants of a process shared memory for large messages.
PROFILE = Path(__file__).parents[1] / 'fastdds_profile.xml'

#: Of an answer with more bytes than this FastDDS loses parts without the profile: its own shared
#: memory has 0.5 MB, for all that is on its way.
LARGE = 2**18

# A camera's participant takes 134 MB with the profile; below twice that the second one fails.
_WANTED = 256 * 2**20

# By these a user chooses himself; the files are looked for where the process is started.
_VARIABLES = (
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)
_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')


def profile_variable(environment: Mapping[str, str]) -> str:
    """Return the variable that names a profile to the FastDDS of this ROS."""
    # The newer name is silent on Kilted and later, where the older one is warned about.
    distribution = environment.get('ROS_DISTRO')
    # From pip there is no ROS_DISTRO; there the older generation has its older name.
    is_older = not distribution and (Path(sys.prefix) / 'share' / 'fastrtps').is_dir()
    old = is_older or distribution in ('humble', 'iron', 'jazzy')
    return f'{"FASTRTPS" if old else "FASTDDS"}_DEFAULT_PROFILES_FILE'


def has_profile(environment: Mapping[str, str]) -> bool:
    """Return whether FastDDS is told what to use, by this package or by the user."""
    return any(environment.get(one) for one in _VARIABLES) or any(
        Path(one).is_file() for one in _FILES
    )


def use_profile(environment: MutableMapping[str, str]) -> None:
    """
    Name the profile to FastDDS unless the user has chosen; to be called before rclpy starts.

    Where shared memory is too small for it FastDDS keeps its own, and the node says so.
    """
    if not has_profile(environment) and not explain_shared_memory():
        environment[profile_variable(environment)] = str(PROFILE)


def explain_profile(environment: Mapping[str, str]) -> str:
    """Return a sentence about the profile that large answers lack, or ''."""
    if has_profile(environment) or explain_shared_memory():
        return ''
    return (
        'FastDDS loses parts of answers this large: its shared memory has 0.5 MB. Start the '
        f'process of the node with {profile_variable(environment)}={PROFILE}.'
    )


def explain_shared_memory(path: str | Path = '/dev/shm') -> str:
    """Return a sentence about too little shared memory for large images, or ''."""
    try:
        found = os.statvfs(path)
    except OSError:
        return (
            f'{path} is not there: FastDDS cannot use shared memory and may lose large images. '
            'Mount it, or start the container with --ipc=host.'
        )
    free = found.f_bavail * found.f_frsize
    if free >= _WANTED:
        return ''
    return (
        f'{path} has {free / 1e6:.0f} MB free, 268 MB are wanted: FastDDS may lose large images. '
        'Start the container with --shm-size=1g or --ipc=host, or remove leftovers.'
    )
