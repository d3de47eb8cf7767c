"""Where a COCO annotation file and its images lie, as COCO and as other tools leave them."""

from collections.abc import Sequence
from pathlib import Path

from meta_ood_training.datasets.paired import require_folder, visible


def find_annotations(root: Path, part: str) -> Path:
    """Return the annotation file of a folder, or the file itself."""
    if root.is_file():
        return root
    path = root / 'annotations' / f'instances_{part}.json'
    if path.is_file():
        return path
    if not (root / part).is_dir():
        found = visible(path for place in _places(root) for path in place.glob('*.json'))
        if len(found) == 1:
            return found[0]
        if found:
            raise FileNotFoundError(
                f'COCO expects one .json in {root}, got {", ".join(one.name for one in found)}. '
                'Give the path of the file that is meant.'
            )
        require_folder(root / part, 'COCO', 'images')
    raise FileNotFoundError(
        f'COCO expects {path}, got no such file. Unpack annotations_trainval2017.zip there.'
    )


def _places(root: Path) -> list[Path]:
    return [place for place in (root, root / 'annotations') if place.is_dir()]


def find_images(root: Path, part: str, annotations: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of images by their names, all from one folder."""
    if root.is_dir() and annotations == root / 'annotations' / f'instances_{part}.json':
        folders = [require_folder(root / part, 'COCO', 'images')]
    else:
        above = annotations.parent
        folders = [above, above / 'images', above.parent, above.parent / 'images']
    lacking: list[list[str]] = []
    for folder in folders:
        lacking.append([Path(name).name for name in names if not (folder / name).is_file()])
        if not lacking[-1]:
            return [folder / name for name in names]
    fewest = min(range(len(folders)), key=lambda place: len(lacking[place]))
    absent = lacking[fewest]
    raise FileNotFoundError(
        f'COCO expects the {len(names)} images of {annotations.name} in {folders[fewest]}, got '
        f'{len(absent)} less: {", ".join(absent[:3])}. Unpack {part}.zip again.'
        if len(folders) == 1
        else f'COCO expects the {len(names)} images of {annotations.name} in one of '
        f'{", ".join(map(str, folders))}, got {len(absent)} less in {folders[fewest]}: '
        f'{", ".join(absent[:3])}. Put the images beside the file.'
    )
