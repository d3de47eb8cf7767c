"""A walk over frames: shared out, interrupted, with damaged frames; sums are those of one go."""

import io

import cv2
from meta_ood_ros.core.dense import DensePrediction
from meta_ood_training.datasets import Folder, IGNORED, OOD
from meta_ood_training.evaluation import frame_walk
from meta_ood_training.evaluation.frame_walk import Kept, walk_frames
from meta_ood_training.evaluation.pixel_evaluation import evaluate_pixels, PixelCounts
from meta_ood_training.evaluation.sharing import join_ranks, own_device, Ranks
import numpy as np
import pytest

SIZE = (24, 32)
FRAMES = 7


@pytest.fixture
def dataset(tmp_path):
    """Write seven frames, each with an object and void pixels."""
    rng = np.random.default_rng(0)
    for part in ('images', 'labels'):
        (tmp_path / 'data' / part).mkdir(parents=True)
    for number in range(FRAMES):
        target = rng.integers(0, 19, SIZE).astype(np.uint8)
        target[4:9, 5 : 8 + number] = OOD
        target[:2] = IGNORED
        cv2.imwrite(str(tmp_path / f'data/labels/{number}.png'), target)
        image = rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'data/images/{number}.png'), image)
    return Folder(tmp_path / 'data')


def predict(image):
    """Say something about each pixel that depends on the image alone."""
    value = image.astype(np.float32).sum(axis=2) / 765
    return DensePrediction((image[..., 0] % 19).astype(np.uint8), value, 1 - value / 2)


def maker(dataset, network=predict):
    return lambda: PixelCounts(
        network,
        dataset,
        scores=('entropy', 'variation_ratio'),
        parts=('3',),
        num_classes=19,
        names_classes=True,
    )


def records(counts):
    """Return all that a report states."""
    from meta_ood_training.evaluation.report import to_record

    return {part: to_record(one) for part, one in counts.evaluate(50, 0).items()}


def whole(dataset):
    return records(walk_frames(dataset, range(FRAMES), maker(dataset), title='data')[0])


def test_a_walk_counts_what_evaluate_pixels_counts(dataset):
    from meta_ood_training.evaluation.report import to_record

    expected = evaluate_pixels(
        predict, dataset, scores=('entropy', 'variation_ratio'), parts=('3',), draws=50
    )
    assert whole(dataset) == {part: to_record(one) for part, one in expected.items()}


@pytest.mark.parametrize('count', [2, 3, 9])
def test_the_sums_of_ranks_are_those_of_one(dataset, count):
    each = []
    for rank in range(count):
        counts = maker(dataset)()
        for index in Ranks(rank, count).share(range(FRAMES)):
            counts.count(index, dataset[index])
        each.append(counts.to_arrays())
    total = maker(dataset)()
    for arrays in each:
        total.add_arrays(arrays)
    assert records(total) == whole(dataset)


def test_shares_are_disjoint_whole_and_in_order():
    for length in (0, 1, 5, 16):
        shares = [Ranks(rank, 3).share(range(length)) for rank in range(3)]
        assert [index for share in shares for index in share] == list(range(length))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_needs_no_launcher():
    with join_ranks({}) as ranks:
        assert ranks == Ranks(0, 1)
        assert ranks.gather('x') == ['x']
    assert own_device('auto', {}) == 'auto'
    assert own_device('cpu', {'WORLD_SIZE': '4', 'LOCAL_RANK': '1'}) == 'cpu'


def test_every_rank_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    devices = [own_device('auto', {'WORLD_SIZE': '3', 'LOCAL_RANK': str(one)}) for one in range(3)]
    assert devices == ['cuda:0', 'cuda:1', 'cuda:0']


@pytest.mark.parametrize('killed_after', [1, 4, FRAMES - 1])
def test_an_interrupted_walk_goes_on_where_it_was(dataset, tmp_path, monkeypatch, killed_after):
    monkeypatch.setattr(frame_walk, 'KEEP_EVERY_S', 0)
    seen = []

    def dies(image):
        if len(seen) == killed_after:
            raise KeyboardInterrupt
        seen.append(image)
        return predict(image)

    kept = Kept(tmp_path / 'out/state', 'facts', resume=True)
    with pytest.raises(KeyboardInterrupt):
        walk_frames(dataset, range(FRAMES), maker(dataset, dies), title='data', kept=kept)
    again = []

    def network(image):
        again.append(image)
        return predict(image)

    counts, skipped = walk_frames(
        dataset, range(FRAMES), maker(dataset, network), title='data', kept=kept
    )
    assert len(again) == FRAMES - killed_after
    assert records(counts) == whole(dataset)
    assert skipped == {}
    # and what is complete is not counted twice
    again.clear()
    counts, _ = walk_frames(
        dataset, range(FRAMES), maker(dataset, network), title='data', kept=kept
    )
    assert again == []
    assert records(counts) == whole(dataset)


def test_large_counts_are_kept_less_often(dataset, tmp_path, monkeypatch):
    now, kept_at = [0.0], []

    def slow(image):
        now[0] += 30
        return predict(image)

    def save(*arguments):
        kept_at.append(arguments[-1])
        now[0] += 3

    monkeypatch.setattr(frame_walk.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(frame_walk, '_save', save)
    kept = Kept(tmp_path / 'state', 'facts', resume=False)
    walk_frames(dataset, range(FRAMES), maker(dataset, slow), title='data', kept=kept)
    assert kept_at == [1, 3, 5, 7]  # every 20 s, then every 60 s; and what is left at the end


def test_without_resume_a_walk_begins_anew(dataset, tmp_path):
    kept = Kept(tmp_path / 'state', 'facts', resume=False)
    for _ in range(2):
        counts, _ = walk_frames(dataset, range(FRAMES), maker(dataset), title='data', kept=kept)
        assert records(counts) == whole(dataset)


def test_counts_of_another_run_are_refused(dataset, tmp_path):
    walk_frames(
        dataset, range(3), maker(dataset), title='d', kept=Kept(tmp_path / 's', 'a', False)
    )
    with pytest.raises(ValueError, match=r'must go on as the run was begun, with a, got b. Rep'):
        walk_frames(
            dataset, range(3), maker(dataset), title='d', kept=Kept(tmp_path / 's', 'b', True)
        )
    file = tmp_path / 's.0of1.npz'
    with np.load(file) as kept:
        own = {name: kept[name] for name in kept if name.startswith('.')}
    contents = []
    for arrays in ({'other': np.zeros(3)}, own):  # the second: nothing was counted
        content = io.BytesIO()
        np.savez(content, **arrays)
        contents.append(content.getvalue())
    for damage in (b'', file.read_bytes()[:60], *contents):
        file.write_bytes(damage)
        with pytest.raises(ValueError, match=r'needs the counts that were kept in .*s.0of1.npz'):
            walk_frames(
                dataset, range(3), maker(dataset), title='d', kept=Kept(tmp_path / 's', 'a', True)
            )


def test_counts_in_other_bins_are_refused(dataset, tmp_path, monkeypatch):
    options = {'title': 'one', 'facts': {'seed': 0}}
    monkeypatch.setattr(frame_walk, 'COUNTS_LAYOUT', 'coarse')
    before = frame_walk.keep_in(tmp_path, **options, resume=False)
    walk_frames(dataset, range(3), maker(dataset), title='d', kept=before)
    monkeypatch.undo()
    now = frame_walk.keep_in(tmp_path, **options, resume=True)
    with pytest.raises(
        ValueError, match=r'as the run was begun, with .*"coarse".*, got .*float32'
    ):
        walk_frames(dataset, range(3), maker(dataset), title='d', kept=now)


def test_damaged_frames_are_skipped_by_name_and_remembered(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_walk, 'KEEP_EVERY_S', 0)
    good = evaluate_pixels(predict, dataset, indices=[0, 2, 3, 5, 6])['']
    (tmp_path / 'data/images/1.png').write_bytes(b'no image')
    label = tmp_path / 'data/labels/4.png'
    label.write_bytes(label.read_bytes()[:100])
    kept = Kept(tmp_path / 'state', 'facts', resume=True)
    for _ in range(2):  # counted, then from the file
        counts, skipped = walk_frames(
            dataset, range(FRAMES), maker(dataset), title='data', kept=kept
        )
        assert list(skipped) == ['1', '4']
        assert '1.png' in skipped['1']
        assert '4.png' in skipped['4']
        result = counts.evaluate(0, 0)['']
        assert result.images == 5
        assert result.scores['entropy'] == good.scores['entropy']


def test_data_that_is_mostly_damaged_is_an_error(dataset, tmp_path):
    for number in (1, 2, 4, 6):
        (tmp_path / f'data/images/{number}.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match='street must be readable but for a few frames, got 4'):
        walk_frames(dataset, range(FRAMES), maker(dataset), title='street')
