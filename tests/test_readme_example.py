"""The Python of README, run as it stands, on a scene whose unknown objects are known."""

import re
import shutil

import cv2
from meta_ood_ros.core import load_result
from meta_ood_ros.core.pictures import OOD_COLOR
from meta_ood_ros.scenes import render_scene
import numpy as np

SIZE = (720, 1280)


def overlap(box, other):
    """Return the intersection over union of two boxes of x, y, width and height."""
    left, top = np.maximum(box[:2], other[:2])
    right, bottom = np.minimum(box[:2] + box[2:], other[:2] + other[2:])
    shared = max(right - left, 0) * max(bottom - top, 0)
    return shared / (box[2:].prod() + other[2:].prod() - shared)


def test_boxes_that_the_example_prints_lie_on_the_objects(
    repository, tmp_path, monkeypatch, capsys
):
    scene = render_scene(60_008, size=SIZE, split='test')
    cv2.imwrite(str(tmp_path / 'street.jpg'), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
    (tmp_path / 'drive').mkdir()
    shutil.copy(tmp_path / 'street.jpg', tmp_path / 'drive' / 'frame.jpg')
    blocks = re.findall(
        r'^```python\n(.*?)^```', (repository / 'README.md').read_text(), re.M | re.S
    )
    section = [block for block in blocks if 'meta_ood_training' not in block]
    assert len(section) == 2
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in section:
        exec(compile(block, 'README.md', 'exec'), names)
    lines = capsys.readouterr().out.splitlines()
    boxes = [np.array(line.split()[:4], float) for line in lines if line.endswith('True')]
    ids = np.unique(scene.ood_ids[scene.ood_ids > 0])
    objects = [
        np.array(cv2.boundingRect((scene.ood_ids == one).astype(np.uint8)), float) for one in ids
    ]
    found = [any(overlap(box, one) > 0.5 for box in boxes) for one in objects]
    assert objects
    assert all(found), (boxes, objects)
    picture = cv2.imread('frame.png')[..., ::-1]
    assert picture.shape == scene.image.shape
    cyan = (picture == OOD_COLOR).all(axis=2)
    for x, y, width, height in np.int64(boxes):  # the border of each lies on its outline
        assert cyan[y : y + height, x : x + width].sum() >= min(width, height)
    assert load_result('frame.npz').to_dict()['segments'] == names['result'].to_dict()['segments']
