"""
Play pictures through the real node and show what it does not know: `python -m meta_ood_ros.demo`.

The node runs as its own process; frames go to it over DDS, one after the other, and everything it
publishes is drawn, recorded and counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import re
import signal
import sys
from types import FrameType


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m meta_ood_ros.demo',
        description='Play pictures through the node and show what it does not know. Without '
        '--images and --bag it plays rendered streets, whose truth is known.',
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--images', type=_path, metavar='FOLDER', help='play these pictures')
    source.add_argument('--bag', type=_path, help='play the images of a ROS 2 bag (.mcap, .db3)')
    parser.add_argument(
        '--labels', type=_path, metavar='FOLDER',
        help='truth of --images, a grey .png of equal name each (class ids, 254 unknown, 255 '
        'ignored), recorded beside them for fit-meta',
    )  # fmt: skip
    parser.add_argument('--topic', default='', help='image topic of the bag; needed if several')
    parser.add_argument(
        '--output', type=_path, default=Path('demo_output'), metavar='FOLDER',
        help='where pictures and recording go (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--cameras', nargs='+', default=[''], metavar='NAME', type=_name,
        help='deal the frames to these cameras in turn; default is one without a name',
    )  # fmt: skip
    parser.add_argument('--namespace', default='', type=_namespace, help='of the node')
    parser.add_argument(
        '--bundle', type=_path, help='model bundle, or the name of an installed one'
    )
    parser.add_argument('--device', help='cpu, cuda or cuda:N; default is what the node chooses')
    parser.add_argument('--frames', type=_positive, metavar='N', help='play the first N only')
    parser.add_argument(
        '--domain', type=_domain, help='ROS_DOMAIN_ID, to watch with RViz; default is a free one'
    )
    parser.add_argument('--no-recording', action='store_true', help='write no bag')
    options = parser.parse_args(arguments)
    if options.labels is not None and options.images is None:
        parser.error('--labels needs --images, got none. Name the folder of the pictures.')
    if len(set(options.cameras)) < len(options.cameras):
        parser.error(f'--cameras must differ, got {" ".join(options.cameras)}')
    return options


def _path(text: str) -> Path:
    # make and some shells leave ~ as it is where it does not begin a word.
    return Path(text).expanduser()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a number from 1 on, got {text!r}')
    return int(text)


def _domain(text: str) -> int:
    # Above 101 the ports of DDS run into those that Linux hands out.
    if not text.isdecimal() or int(text) > 101:
        raise argparse.ArgumentTypeError(f'must be a number from 0 to 101, got {text!r}')
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r'[A-Za-z]\w*', text, re.ASCII):
        raise argparse.ArgumentTypeError(f'must be letters, digits and _, got {text!r}')
    return text


def _namespace(text: str) -> str:
    parts = text.strip('/').split('/') if text.strip('/') else []
    return ''.join(f'/{_name(part)}' for part in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    Returns
    -------
    int
        Exit status: 0; 1 where frames were lost, the node died or the output could not be written;
        2 where there is nothing to play; 3 where no frame of it could be used; 130 after Ctrl-C.

    """
    options = parse_arguments(arguments)
    # A polite kill ends the demo in order, as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options)
    except ImportError as error:
        print(
            f'The demo needs {error.name}: on a ROS machine source the workspace and run '
            'pip install rosbags tqdm, elsewhere run make demo.',
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(options: argparse.Namespace) -> int:
    # Imported here: what is needed may be missing, and a wrong option need not wait for it.
    from meta_ood_ros.demo.frames import find_source

    try:
        source = find_source(
            images=options.images,
            labels=options.labels,
            bag=options.bag,
            topic=options.topic,
            frames=options.frames,
        )
    except (OSError, ValueError) as error:
        print(f'Nothing to play: {error}', file=sys.stderr)
        return 2
    from meta_ood_ros.demo.run import run

    return run(source, options)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
