"""`meta-ood-train overlay`: the command line of `make_overlay`."""

import argparse
from pathlib import Path

#: Of an overlay set; `test_overlay` compares them with what their rooms have, which need PyTorch.
OBJECTS = ('coco', 'ecssd', 'folder')
SPLITS = ('train', 'select', 'test', 'all')
BLENDING = ('none', 'border', 'colour', 'full')
STYLES = ('street', 'fishyscapes')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        '--data',
        '--frames',
        dest='frames',
        required=True,
        metavar='NAME=PATH',
        help='street frames, as camvid_test=PATH',
    )
    parser.add_argument(
        '--objects',
        action='append',
        required=True,
        metavar='NAME=PATH',
        help=f'objects to paste; NAME is one of {", ".join(OBJECTS)}',
    )
    parser.add_argument(
        '--split',
        default='test',
        choices=SPLITS,
        help='source images of the objects; what is a proxy in training must not be pasted here',
    )
    parser.add_argument(
        '--controls',
        metavar='NAME=PATH',
        help='labelled street frames whose cars, people and bicycles are pasted as control',
    )
    parser.add_argument('--output', type=Path, required=True, help='folder to write')
    parser.add_argument(
        '--style',
        default='street',
        choices=STYLES,
        help='fishyscapes: anywhere but on the ego vehicle, blended as FS Static and FS Web',
    )
    parser.add_argument(
        '--fog-share', type=float, default=0.0, help='frames in fog, with --style fishyscapes'
    )
    parser.add_argument('--blending', default='full', choices=BLENDING, help='how far to blend')
    parser.add_argument(
        '--area',
        nargs=2,
        type=float,
        default=(0.004, 0.06),
        metavar=('MIN', 'MAX'),
        help='share of the frame that an object covers, log-uniform',
    )
    parser.add_argument('--object-share', type=float, default=0.5, help='frames with an object')
    parser.add_argument(
        '--control-share', type=float, default=0.5, help='other frames with a control'
    )
    parser.add_argument('--jpeg-quality', type=int, default=95, help='of every frame')
    parser.add_argument('--seed', type=int, default=0, help='decides everything')


def run(arguments: argparse.Namespace) -> int:
    """Write an overlay set."""
    from meta_ood_training.overlays.overlay_set import make_overlay
    from meta_ood_training.overlays.plan import OverlaySettings

    area_min, area_max = arguments.area
    settings = OverlaySettings(
        object_share=arguments.object_share,
        control_share=arguments.control_share,
        area_min=area_min,
        area_max=area_max,
        blending=arguments.blending,
        style=arguments.style,
        fog_share=arguments.fog_share,
        jpeg_quality=arguments.jpeg_quality,
        seed=arguments.seed,
    )
    result = make_overlay(
        arguments.frames,
        arguments.objects,
        arguments.output,
        split=arguments.split,
        controls=arguments.controls,
        settings=settings,
        progress=True,
    )
    print(
        f'{result.frames} frames, {result.objects} with an OoD object, '
        f'{result.controls} with a control, {result.ood_share:.2%} OoD pixels: {result.folder}'
    )
    return 0
