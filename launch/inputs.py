"""
What the arguments of ood.launch.py mean: cameras and topics -> names, remappings, parameters.

No ROS, and nothing of the package: what cannot be used raises ValueError before a node starts.
"""

from collections.abc import Callable
from pathlib import Path
import re

import yaml

#: A camera with its topic, without, or ''. What a name may be like the node knows better.
CAMERA = re.compile(r'(?:([\w/]+)(?: *= *([\w/~]+))?)?', re.ASCII)


def read_cameras(text: str) -> list[tuple[str, str]]:
    """
    Return the cameras that an argument names, each with its topic, '' where none is given.

    Parameters
    ----------
    text : str
        As in 'front,rear', '[front, rear]' or 'front=/front_camera/image_raw,rear'.

    Raises
    ------
    ValueError
        The text is neither a list of these nor empty.

    """
    try:
        entries = yaml.safe_load(text if text.startswith('[') else f'[{text}]')
    except yaml.YAMLError:
        entries = [None]
    found = [CAMERA.fullmatch(entry) if isinstance(entry, str) else None for entry in entries]
    if not all(found):
        raise ValueError(
            'cameras must be a list of names (letters, digits, _), each alone or as name=topic, '
            f'got {text!r}. Write cameras:=front,rear or '
            'cameras:=front=/front_camera/image_raw,rear=/rear_camera/image_raw.'
        )
    return [(one[1] or '', one[2] or '') for one in found]


def cameras_in(path: str, node: str) -> list[str]:
    """
    Return the parameter `cameras` of a parameter file, or [] where it cannot be found.

    Parameters
    ----------
    path : str
        Of the file. What is wrong with it the node says itself.
    node : str
        Fully qualified name of the node. Besides its section only that of all nodes, /**, is
        read. Where both have it and /** comes last, versions of ROS differ in which one wins:
        then it is [], too.

    """
    try:
        sections = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        found = [
            (name, section['ros__parameters']['cameras'])
            for name, section in sections.items()
            if name in ('/**', node, node.lstrip('/')) and 'cameras' in section['ros__parameters']
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return []  # the file cannot be read, or looks otherwise: the node says so itself
    if not found or (found[-1][0] == '/**' and found[0][1] != found[-1][1]):
        return []
    cameras = found[-1][1]
    is_list = isinstance(cameras, list) and all(isinstance(name, str) for name in cameras)
    return cameras if is_list else []


def refuse_transport(
    argument: str, topic: str, chooser: str = 'image_transport', transport: str = 'compressed'
) -> None:
    """Raise ValueError where a topic ends in its transport: the node itself appends that."""
    if topic.endswith(f'/{transport}'):
        raise ValueError(
            f'{argument} must be given the topic without its transport, got {topic!r}. Write '
            f'{topic[: -len(transport) - 1]} and {chooser}:={transport}.'
        )


def find_inputs(
    given: Callable[[str], str], cameras: list[tuple[str, str]]
) -> tuple[list[str], dict[str, str]]:
    """
    Return the names of the cameras, none for a single one, and what their topics become.

    Parameters
    ----------
    given : callable
        Returns the value of an argument by its name.
    cameras : list of (str, str)
        Name and topic of those that the argument names.

    Returns
    -------
    list of str
        Those of the argument, otherwise those of params_file.
    dict of str to str
        Topic in the node -> topic that was given, which ROS expands in the namespace.

    Raises
    ------
    ValueError
        `image` is given for several cameras, or a topic ends in its transport.

    """
    node = '/'.join(['', *filter(None, given('namespace').split('/')), 'ood'])
    names = [name for name, _ in cameras] or cameras_in(given('params_file'), node)
    names = [name for name in names if name]  # [''] is a single camera
    remappings = {f'{name}/image': topic for name, topic in cameras if topic}
    whole = given('append_transport') == 'false'
    if not whole:
        for topic in remappings.values():
            refuse_transport('cameras', topic)
    if given('image'):
        if names:
            got = given('cameras') or f'[{", ".join(names)}] in {given("params_file")}'
            raise ValueError(
                f'image is the topic of a single camera, got cameras:={got} as well. Give each '
                f'camera its own, as in cameras:={names[0]}={given("image")}, or drop one of the '
                'two.'
            )
        if not whole:
            refuse_transport('image', given('image'))
        remappings['image'] = given('image')
    if whole:
        remappings.update({f'{name}/compressed': topic for name, topic in remappings.items()})
    return names, remappings


def refuse_absent(params_file: str) -> None:
    """Raise ValueError where there is no such file: launch would go on with the defaults."""
    path = Path(params_file)
    if params_file and not path.is_file():
        raise ValueError(
            f'params_file must be a file, got {params_file!r}, which '
            f'{"is none" if path.exists() else "does not exist"}. Correct the path, or leave '
            'params_file out.'
        )


def find_depth(
    given: Callable[[str], str], names: list[str]
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the parameters and remappings of depth; ValueError as of `find_inputs`."""
    topics = {'depth': given('depth_topic'), 'camera_info': given('camera_info')}
    topics = {name: topic for name, topic in topics.items() if topic}
    if topics and names:
        raise ValueError(
            'depth_topic and camera_info are topics of a single camera, got cameras '
            f'{", ".join(names)} as well. Have the cameras publish {names[0]}/depth, '
            f'{names[0]}/camera_info and so on.'
        )
    refuse_transport('depth_topic', topics.get('depth', ''), 'depth_transport', 'compressedDepth')
    parameters: dict[str, object] = {'depth': [given('depth')]} if given('depth') else {}
    if given('depth_transport'):
        parameters['depth_transport'] = given('depth_transport')
    return parameters, topics
