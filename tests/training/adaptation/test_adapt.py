"""`adapt` on drawn streets, by a network of three classes: every stage, once, and whole."""

from dataclasses import replace
import json

import cv2
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.image import resize_image
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training import adapt, AdaptOptions
from meta_ood_training.adaptation import stages, taught, unknown
from meta_ood_training.adaptation.pasted import paste_unknown
from meta_ood_training.adaptation.recordings import Masks, open_recordings
from meta_ood_training.adaptation.report import _verdicts
from meta_ood_training.cli import main
from meta_ood_training.datasets.folder import Folder
import numpy as np
import pytest

SIZE = (64, 96)  # whole strides: the work grid is that of the frames
DAMAGED = '030'
QUICK = {
    'steps': 2,
    'device': 'cpu',
    'thresholds': 0.8,
    'sure': 0.4,
    'false_per_minute': 600,
    'overrides': ('augmentation.crop=48', 'training.workers=0', 'training.batch_size=2'),
}


def picture(seed):
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def write_images(folder, draw=picture, count=60):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f'{number:03d}.png'), draw(number)[..., ::-1])
    return folder


@pytest.fixture(scope='module')
def few_objects():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unknown, 'RENDERED', {'train': 60, 'test': 12})
        yield


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Write a recording with a damaged frame in the middle."""
    folder = write_images(tmp_path_factory.mktemp('recorded') / 'drive')
    content = (folder / f'{DAMAGED}.png').read_bytes()
    (folder / f'{DAMAGED}.png').write_bytes(content[: len(content) // 2])
    return folder


@pytest.fixture(scope='module')
def adapted(drive, small_bundle, few_objects, tmp_path_factory):
    """Interrupt a run behind the training, and go on with it."""
    root = tmp_path_factory.mktemp('adapted')
    output, body = root / 'mine', np.zeros(SIZE, np.uint8)
    body[52:] = 1
    cv2.imwrite(str(root / 'body.png'), body)
    chosen = {'bundle': small_bundle, 'images': drive, 'mask': root / 'body.png', **QUICK}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, 'extract_segments', interrupt)
        with pytest.raises(KeyboardInterrupt):
            adapt(output, **chosen)
    weights = output / 'work' / 'network' / 'final.pth'
    trained = weights.read_bytes()
    with pytest.raises(ValueError, match='which holds files. Add --resume to go on with it'):
        adapt(output, **chosen)
    with pytest.raises(ValueError, match='--resume must go on .* with steps 2, got 3. Repeat'):
        adapt(output, **{**chosen, 'steps': 3}, resume=True)
    result = adapt(output, **chosen, resume=True)
    assert weights.read_bytes() == trained
    return result


def test_a_bundle_comes_out_that_is_named_after_its_folder(adapted, small_bundle):
    bundle, start = load_bundle(adapted.output / 'bundle'), load_bundle(small_bundle)
    assert (bundle.name, bundle.digest, adapted.problem) == ('mine', adapted.bundle.digest, '')
    assert bundle.class_names == start.class_names
    assert bundle.class_colors == start.class_colors
    assert [one.entropy_threshold for one in bundle.meta_classifiers] == [0.8]
    assert bundle.network_sha256 != start.network_sha256
    said = OodPipeline(bundle)(picture(1))
    assert np.isfinite(said.ood_probability).all()
    stated = bundle.provenance['adaptation']
    assert (stated['start'], stated['recordings']) == (start.model_id, ['drive'])
    assert bundle.provenance['start'] == start.model_id
    assert repr(adapted).startswith('AdaptResult(found ')


def test_what_was_damaged_is_named_skipped_and_counted(adapted):
    (name,) = adapted.skipped
    assert name == f'drive/{DAMAGED}'
    report = json.loads((adapted.output / 'report.json').read_text())
    assert report['frames'] == {'fit': 28, 'meta': 13, 'judge': 12}
    text = (adapted.output / 'report.md').read_text()
    assert '| drive | drive | 60 | 54 | 1 | - |' in text
    assert f'- drive/{DAMAGED}: ' in text


def test_the_teacher_teaches_where_it_is_sure_and_nothing_under_the_mask(adapted, small_bundle):
    frames = Folder(adapted.output / 'work' / 'frames' / 'fit')
    pipeline = OodPipeline(load_bundle(small_bundle), device='cpu')
    total = 0
    for index in (0, 9):
        sample = frames[index]
        number = int(frames.names[index].split('-')[1])
        assert np.array_equal(sample.image, picture(number))
        sure = pipeline(sample.image).max_probability >= QUICK['sure']
        assert sure.any()
        sure[52:] = False
        assert np.array_equal(sample.target == 253, sure)
        assert np.array_equal(sample.target == 255, ~sure)
        total += int(sure.sum())
    assert total


def test_no_frame_and_no_object_serves_two_parts(adapted):
    work = adapted.output / 'work'
    names, sources = {}, {}
    for part in ('meta', 'judge'):
        listed = json.loads((work / part / 'manifest.json').read_text())['frames']
        names[part] = {one['name'] for one in listed}
        sources[part] = {one['object']['source'] for one in listed}
        by_group = {}
        for one in listed:
            by_group.setdefault(one['object']['source'], set()).add(one['group'])
        assert all(len(groups) == 1 for groups in by_group.values())
    names['fit'] = set(Folder(work / 'frames' / 'fit').names)
    assert len(set().union(*names.values())) == sum(map(len, names.values()))
    assert not sources['meta'] & sources['judge']
    trained = {path.stem for path in (work / 'rendered_objects' / 'train').iterdir()}
    tested = {path.stem for path in (work / 'rendered_objects' / 'test').iterdir()}
    assert {one.split('/')[1] for one in sources['judge']} <= tested
    assert {one.split('/')[1] for one in sources['meta']} <= trained


def test_numbers_of_the_report_are_those_of_the_verb_that_judges(adapted, tmp_path, capsys):
    judge = adapted.output / 'work' / 'judge'
    words = [
        'evaluate',
        '--segments',
        '--data',
        f'folder={judge}',
        '--output',
        str(tmp_path / 'e'),
    ]
    assert main([*words, '--bundle', f'after={adapted.output / "bundle"}']) == 0
    capsys.readouterr()
    (row,) = json.loads((tmp_path / 'e' / 'segments.json').read_text())['decisions']
    scores = adapted.report['scores']['after']
    assert scores['found'][0] == row['found']['value']
    assert scores['false_a_minute'][0] == pytest.approx(300 * row['false_a_frame']['value'])
    assert set(adapted.report['scores']) == {'before', 'before, filter fitted', 'after'}
    assert (adapted.output / 'before_after.png').is_file()


def test_own_values_reach_the_training_and_wrong_ones_cost_nothing(
    adapted, drive, small_bundle, tmp_path
):
    config = json.loads((adapted.output / 'work' / 'network' / 'config.json').read_text())
    assert config['augmentation']['crop'] == 48
    assert config['training']['max_steps'] == 2
    chosen = {'bundle': small_bundle, 'images': drive, **QUICK}
    with pytest.raises(ValueError, match="unknown key 'cropp'. Did you mean 'crop'"):
        adapt(tmp_path / 'new', **{**chosen, 'overrides': 'augmentation.cropp=4'})
    with pytest.raises(ValueError, match='output must lie outside the recordings, got'):
        adapt(drive / 'new', **chosen)
    (tmp_path / 'objects').mkdir()
    cut_out = np.pad(np.full((40, 40, 4), 255, np.uint8), ((9, 9), (9, 9), (0, 0)))
    cv2.imwrite(str(tmp_path / 'objects' / 'one.png'), cut_out)
    with pytest.raises(ValueError, match='--objects must hold source images for training and 2'):
        adapt(tmp_path / 'new', **chosen, objects=f'folder={tmp_path / "objects"}')
    with pytest.raises(ValueError, match="--objects must be one of folder, coco, ecssd, got 'pas"):
        adapt(tmp_path / 'new', **chosen, objects='pascal=there')
    (tmp_path / 'mine').write_text('mine')
    with pytest.raises(ValueError, match='output must be a folder, got the file'):
        adapt(tmp_path / 'mine', **chosen)
    (tmp_path / 'held').mkdir()
    (tmp_path / 'held' / 'mine.txt').write_text('mine')
    with pytest.raises(ValueError, match='--resume needs .*adapt.json, got no such file'):
        adapt(tmp_path / 'held', **chosen, resume=True)
    onnx = replace(load_bundle(small_bundle), architecture='onnx', weights={}, onnx=b'graph',
                   arguments={'stride': 8, 'align_corners': False})  # fmt: skip
    with pytest.raises(ValueError, match='adapt needs a network that can be trained, got small@'):
        adapt(tmp_path / 'new', **{**chosen, 'bundle': onnx})
    assert not (tmp_path / 'new').exists()


def test_masks_over_everything_and_a_teacher_that_is_never_sure(
    drive, small_bundle, tmp_path, few_objects
):
    cv2.imwrite(str(tmp_path / 'all.png'), np.ones(SIZE, np.uint8))
    chosen = {'bundle': small_bundle, 'images': drive, **QUICK}
    output = tmp_path / 'new'
    with pytest.raises(ValueError, match='show something that is not masked, got masks over ev'):
        adapt(output, **chosen, mask=tmp_path / 'all.png')
    with pytest.raises(ValueError, match='must be sure of something, got no pixel of 28 frames'):
        adapt(output, **{**chosen, 'sure': 0.99999999})
    assert not [path for path in output.rglob('*') if path.is_file()]


def test_constant_frames_have_no_bundle_and_say_why(small_bundle, tmp_path, few_objects, capsys):
    folder = write_images(tmp_path / 'grey', lambda _: np.full((*SIZE, 3), 90, np.uint8), 30)
    words = ['adapt', '--images', str(folder), '--bundle', str(small_bundle), '--steps', '1']
    words += ['--device', 'cpu', '--threshold', '1', '--sure', '0.1', '--output']
    words += [str(tmp_path / 'mine'), '--set', 'augmentation.crop=48', 'training.workers=0']
    assert main(words) == 1
    said = capsys.readouterr()
    assert 'meta-ood-train adapt: no bundle, because' in said.err
    assert not (tmp_path / 'mine' / 'bundle').exists()
    assert '**There is no bundle.**' in (tmp_path / 'mine' / 'report.md').read_text()


def test_blocks_are_joined_where_objects_are_few(adapted, tmp_path):
    stretches = adapted.output / 'work' / 'frames' / 'meta'
    objects = unknown.find_folder_objects(adapted.output / 'work' / 'rendered_objects' / 'test')
    facts = paste_unknown(stretches, objects[:3], tmp_path / 'set', object_share=0.5, seed=0)
    assert facts == {'frames': 13, 'objects': 6, 'groups': 3}
    assert sorted(set(Folder(tmp_path / 'set').groups)) == [f'drive_{n:04d}' for n in range(3)]
    with pytest.raises(ValueError, match='a source image for each of 1 recordings, got 0 of one'):
        paste_unknown(stretches, [], tmp_path / 'none', object_share=0.5, seed=0)


def test_a_frame_of_another_size_is_left_out(small_bundle, tmp_path):
    def draw(number):
        return picture(number)[: 40 if number == 3 else None]

    folder = write_images(tmp_path / 'drive', draw, 30)
    recordings = open_recordings(AdaptOptions(images=folder))
    facts = taught.write_frames(
        recordings,
        Masks(None, None, recordings),
        load_bundle(small_bundle),
        tmp_path / 'frames',
        sure=0.1,
        device='cpu',
        progress=False,
    )
    (skipped,) = (one['skipped'] for one in facts['recordings'])
    assert skipped['003'].endswith('64 x 96 px, got 40 x 96.')
    assert facts['frames']['fit'] == 13


def test_frames_larger_than_the_work_grid_are_kept_on_it(small_bundle, tmp_path):
    path = tmp_path / 'small'
    save_bundle(replace(load_bundle(small_bundle), work_short_side=64), path)
    pipeline = OodPipeline(path, device='cpu')
    large = cv2.resize(picture(1), (192, 128), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((128, 192), bool)
    mask[:41] = True
    image, target = taught._prepare(pipeline, large, mask)
    assert image.shape == (*SIZE, 3)
    assert np.array_equal(image, resize_image(large, SIZE))
    assert (target[:21] == 255).all()  # a pixel that is masked in part counts nowhere
    assert (target[21:] == 253).all()


def test_better_and_worse_need_intervals_that_do_not_meet():
    def scores(found, false):
        return {'found': found, 'false_a_minute': false}

    nan = float('nan')
    before = scores([0.2, 0.1, 0.3], [9.0, 8.0, 10.0])
    assert _verdicts({'before': before, 'after': scores([0.5, 0.4, 0.6], [12, 11, 13])}) == [
        'objects found: better',
        'false segments a minute: worse',
    ]
    assert _verdicts({'before': before, 'after': scores([0.3, 0.25, 0.4], [9, nan, nan])}) == [
        'objects found: no difference beyond the intervals',
        'false segments a minute: 9.000 -> 9.000, without intervals',
    ]
