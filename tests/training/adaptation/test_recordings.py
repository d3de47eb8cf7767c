"""Which frames of bags, videos and folders are used, and what is refused before any is read."""

import importlib.util
from pathlib import Path

import cv2
from meta_ood_training.adaptation.options import AdaptOptions
from meta_ood_training.adaptation.recordings import Masks, open_recordings
from meta_ood_training.prediction.inputs import open_input
import numpy as np
import pytest


def load_recording():
    path = Path(__file__).parents[1] / 'segments' / 'recording.py'
    spec = importlib.util.spec_from_file_location('recording', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recording = load_recording()


def write_images(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f'{number:03d}.png'), np.full((8, 12, 3), number, np.uint8))
    return folder


def read_times(path):
    return [frame.seconds for frame in open_input([path]).read(lambda _: True)]


def test_frames_know_when_they_were_taken(tmp_path):
    recording.record(tmp_path / 'bag', 4, labels=False)
    times = read_times(tmp_path / 'bag')
    assert np.diff(times).tolist() == [2.0, 2.0, 2.0]
    assert times[0] == recording.FIRST / 1e9
    video = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 10, (32, 24))
    for number in range(5):
        writer.write(np.full((24, 32, 3), 50 * number, np.uint8))
    writer.release()
    assert read_times(video) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert np.isnan(read_times(write_images(tmp_path / 'images', 2))).all()


def test_frames_are_thinned_evenly_over_all_recordings(tmp_path):
    one, other = (write_images(tmp_path / name / 'drive', 120) for name in 'ab')
    opened = open_recordings(AdaptOptions(images=(one, other), frames=60))
    assert [one.title for one in opened] == ['drive', 'drive-2']
    # 108 of 120 lie in no gap; 216 in all, every fourth
    assert [len(one.places) for one in opened] == [27, 27]
    assert [int(name) for name in opened[0].places][:4] == [0, 4, 8, 12]
    frames = [(frame.name, place.part) for frame, place in opened[1].read()]
    assert frames == [(name, place.part) for name, place in opened[1].places.items()]


def test_nothing_too_little_and_two_cameras_are_refused(tmp_path):
    with pytest.raises(ValueError, match='adapt needs recordings of the new domain, got none'):
        open_recordings(AdaptOptions())
    images = write_images(tmp_path / 'one', 1)
    with pytest.raises(ValueError, match='at least 30 frames, got 1 in .*one: there would be'):
        open_recordings(AdaptOptions(images=images))
    (tmp_path / 'none').mkdir()
    with pytest.raises(ValueError, match='a folder must hold images .* which holds none'):
        open_recordings(AdaptOptions(images=tmp_path / 'none'))
    recorder = recording.Recorder(tmp_path / 'bag')
    for index in range(2):
        for topic in ('/front/image', '/rear/image'):
            pixels = np.zeros((8, 12, 3), np.uint8)
            recorder.image(topic, recording.stamp_of(index), pixels, 'rgb8')
    recorder.writer.close()
    with pytest.raises(ValueError, match='got /front/image, /rear/image. Choose with --topic'):
        open_recordings(AdaptOptions(bags=tmp_path / 'bag'))
    with pytest.raises(ValueError, match='at least 30 frames, got 2 in'):
        open_recordings(AdaptOptions(bags=tmp_path / 'bag', topic='/rear/image'))


def test_masks_lie_over_all_frames_and_over_single_ones(tmp_path):
    opened = open_recordings(AdaptOptions(images=write_images(tmp_path / 'drive', 30)))
    body, single = np.zeros((2, 8, 12), np.uint8)
    body[6:], single[:, :3] = 255, 1
    cv2.imwrite(str(tmp_path / 'body.png'), body)
    (tmp_path / 'masks' / 'drive').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'masks' / 'drive' / '003.png'), single)
    masks = Masks(tmp_path / 'body.png', tmp_path / 'masks', opened)
    assert np.array_equal(masks('drive', '002', (8, 12)), body > 0)
    assert np.array_equal(masks('drive', '003', (8, 12)), (body > 0) | (single > 0))
    assert Masks(None, None, opened)('drive', '003', (8, 12)) is None
    with pytest.raises(ValueError, match='a mask must have the size of its frames, 9 x 12 px of'):
        masks('drive', '002', (9, 12))
    cv2.imwrite(str(tmp_path / 'masks' / 'drive' / '300.png'), single)
    with pytest.raises(ValueError, match=r'such as drive/000.png, got drive/300.png, and there'):
        Masks(None, tmp_path / 'masks', opened)
    with pytest.raises(ValueError, match='--masks must be a folder of PNG, got .*body.png'):
        Masks(None, tmp_path / 'body.png', opened)


@pytest.mark.parametrize(
    ('wrong', 'sentence'),
    [
        ({'false_per_minute': -1}, '--false-per-minute must be at least 0, got -1'),
        ({'rate': 0}, '--rate must be positive, got 0'),
        ({'frames': 29}, '--frames must be at least 30, got 29'),
        ({'steps': 0}, '--steps must be at least 1, got 0'),
        ({'sure': 1}, r'--sure must be in \[0, 1\), got 1'),
        ({'scenes': -1}, '--scenes must be at least 0, got -1'),
        ({'seed': -1}, '--seed must be at least 0, got -1'),
        ({'thresholds': (70.0,)}, r'--thresholds must lie in \(0, 1\], got \[70.0\]'),
        ({'thresholds': ()}, r'--thresholds must lie in \(0, 1\], got \[\]'),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        AdaptOptions(**wrong)


def test_the_bound_is_that_of_one_frame():
    assert AdaptOptions(false_per_minute=30, rate=5).false_per_frame == pytest.approx(0.1)
