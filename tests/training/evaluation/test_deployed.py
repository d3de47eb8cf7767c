"""Published segments of hand-drawn images, whose found objects are known, and the verb."""

from dataclasses import fields, replace
import io
import json

import cv2
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED, OOD
from meta_ood_training.evaluation import frame_walk
from meta_ood_training.evaluation.deployed import (
    measure_reliability,
    score_decisions,
)
from meta_ood_training.evaluation.deployed_comparison import compare_decisions
from meta_ood_training.evaluation.deployed_run import evaluate_segments
from meta_ood_training.evaluation.gallery import draw_gallery, FALSE, FOUND, MISSED, TRUE
from meta_ood_training.evaluation.publishing import (
    parse_decision,
    publish_segments,
    PublishedCounts,
)
from meta_ood_training.evaluation.sharing import Ranks
import numpy as np
import pytest
import torch

SIZE = (64, 96)
UNSURE, LOST = 100, 200
"""Grey levels whose entropy is that of 6 and of 19 classes: .61 and 1."""


def draw(*boxes, background=0):
    """Return an image of grey boxes (row, column, height, width, value)."""
    image = np.full(SIZE, background, np.uint8)
    for row, column, height, width, value in boxes:
        image[row : row + height, column : column + width] = value
    return image


@pytest.fixture
def pipeline(tiny_bundle, monkeypatch):
    """Return a pipeline whose network reads grey levels, and that accepts 9 pixels and more."""
    names = metric_names(19)
    weight = np.zeros((1, len(names)))
    weight[0, names.index('size')] = 1.0
    by_size = MetaClassifier(
        'logistic_regression',
        DenseLayers(((weight, np.array([-8.5])),), np.zeros(len(names)), np.ones(len(names))),
        names,
        0.5,
    )
    bundle = replace(
        tiny_bundle, work_short_side=0, meta_classifiers=(by_size,), meta_threshold=0.5
    )
    made = OodPipeline(bundle, backend='eager')

    class ReadsGrey:
        device = torch.device('cpu')

        def __call__(self, x):
            grey = (x[:, :1] * bundle.input_std[0] + bundle.input_mean[0]) * 255
            logits = torch.zeros(1, 19, *SIZE)
            logits[:, 0:1] = 50.0 * (grey < LOST - 50)
            logits[:, 1:6] = 50.0 * ((grey > UNSURE - 50) & (grey < LOST - 50))
            return logits

    monkeypatch.setattr(made, 'backend', ReadsGrey())
    return made


@pytest.fixture
def streets(tmp_path):
    """Write two images: what the network sees, and what is there."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    seen = {
        'first': draw(
            (2, 2, 24, 16, UNSURE), (4, 4, 10, 10, LOST),  # runs far over its object
            (40, 2, 4, 4, UNSURE),  # a distant object, without core
            (40, 20, 4, 20, UNSURE), (40, 20, 4, 4, LOST), (40, 30, 4, 4, LOST),  # nothing there
            (60, 60, 2, 2, LOST),  # too small for the classifier
            (2, 70, 8, 8, LOST),  # on void
        ),
        'second': draw((10, 10, 3, 5, LOST)),
    }  # fmt: skip
    there = {
        'first': draw(
            (4, 4, 10, 10, OOD), (40, 2, 4, 4, OOD), (50, 80, 8, 8, OOD), (0, 64, 20, 20, IGNORED)
        ),
        'second': draw((10, 10, 8, 8, OOD)),
    }  # fmt: skip
    for name in seen:
        picture = np.repeat(seen[name][..., None], 3, 2)
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), picture)
        cv2.imwrite(str(tmp_path / f'labels/{name}.png'), there[name])
    return tmp_path


def test_drawn_decisions(pipeline, streets):
    single = PipelineSettings(entropy_threshold=0.5, core_threshold=0.0)
    published = publish_segments(
        pipeline,
        Folder(streets),
        {'single': single, 'nested': replace(single, core_threshold=0.9)},
    )
    single, nested = (score_decisions(published[one]) for one in ('single', 'nested'))
    for one in (single, nested):
        assert (one.images, one.groups, one.judged_at, one.left_out) == (2, 2, 0.5, 1)
        assert one.objects == 3
        assert [size.objects for size in one.by_size] == [1, 3, 0, 0]
        assert one.touched.value == 2 / 3
    assert (single.published_at, nested.published_at) == (0.5, 0.9)
    # 100 of 384 pixels are its object, 15 of 64 of the other are seen
    assert [size.found for size in single.by_size] == [1, 1, 0, 0]
    assert single.found.value == 1 / 3
    assert single.components.siou == pytest.approx((100 / 384 + 0 + 15 / 64) / 3)
    assert (single.accepted, single.false_segments) == (4, 1)
    # cores: of the first exactly its object; of the false one two, each counted
    assert [size.found for size in nested.by_size] == [1, 1, 0, 0]
    assert nested.components.siou == pytest.approx((1 + 0 + 15 / 64) / 3)
    assert (nested.accepted, nested.false_segments) == (5, 2)
    assert nested.false_a_frame.value == 1.0
    assert (nested.false_a_frame.low, nested.false_a_frame.high) == (0.0, 2.0)


def test_parts_and_no_intervals(pipeline, streets):
    settings = {'bundle': PipelineSettings(entropy_threshold=0.5)}
    whole = publish_segments(pipeline, Folder(streets), settings)['bundle']
    keep = whole.segments.frame_name == 'second'
    part = score_decisions(whole.of_frames(keep), draws=0)
    assert (part.images, part.accepted, part.false_segments, part.objects) == (1, 1, 0, 1)
    assert np.isnan([part.found.low, part.false_a_frame.high]).all()
    with pytest.raises(ValueError, match='at least one image to decide on, got none'):
        publish_segments(pipeline, Folder(streets), settings, indices=[])


@pytest.mark.parametrize('count', [2, 3])
def test_the_frames_of_ranks_give_what_one_publishes(pipeline, streets, count):
    dataset = Folder(streets)
    settings = {
        'single': PipelineSettings(entropy_threshold=0.5, core_threshold=0.0),
        'nested': PipelineSettings(entropy_threshold=0.5, core_threshold=0.9),
    }
    total = PublishedCounts(pipeline, settings)
    for rank in range(count):  # of three, one has no frame
        counts, content = PublishedCounts(pipeline, settings), io.BytesIO()
        for index in Ranks(rank, count).share(range(len(dataset))):
            counts.count(index, dataset[index])
        np.savez(content, **counts.to_arrays())
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            total.add_arrays(arrays)
    expected = publish_segments(pipeline, dataset, settings)
    for title, found in total.finish().items():
        for one, other in ((found, expected[title]), (found.segments, expected[title].segments)):
            for field in fields(one):
                if field.name != 'segments':
                    left, right = (getattr(each, field.name) for each in (one, other))
                    np.testing.assert_array_equal(left, right, err_msg=field.name)
        assert found.segments.frame_name.tolist() == ['first', 'second']
        assert len(set(found.segments.object_frame.tolist())) == 2


def test_an_interrupted_evaluation_goes_on_without_deciding_again(
    tiny_bundle, streets, tmp_path, monkeypatch
):
    save_bundle(tiny_bundle, tmp_path / 'tiny')
    monkeypatch.setattr(frame_walk, 'KEEP_EVERY_S', 0)
    decided, count = [], PublishedCounts.count

    def run(output, *, last=99, decisions=('a=0.3:0', 'b=0.3:0:0.9'), **options):
        def counting(self, index, sample):
            if len(decided) == last:
                raise KeyboardInterrupt
            decided.append(index)
            count(self, index, sample)

        decided.clear()
        monkeypatch.setattr(PublishedCounts, 'count', counting)
        return evaluate_segments(
            f'folder={streets}', bundles=tmp_path / 'tiny', decisions=decisions, gallery=1,
            output=output, draws=20, device='cpu', backend='eager', **options,
        )  # fmt: skip

    def report(output):
        return json.loads((output / 'segments.json').read_text())

    whole, output = run(tmp_path / 'whole'), tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        run(output, last=1)
    assert decided == [0]
    assert [one.name for one in output.iterdir()] == ['unfinished']
    with pytest.raises(ValueError, match='--resume must go on as the run was begun, with .*"b"'):
        run(output, resume=True, decisions=('a=0.3:0',))
    assert run(output, resume=True).table == whole.table
    assert decided == [1]
    for key in ('decisions', 'differences', 'processes'):
        assert report(output)[key] == report(tmp_path / 'whole')[key]
    assert {one.name for one in output.iterdir()} == {
        one.name for one in (tmp_path / 'whole').iterdir()
    }
    with pytest.raises(ValueError, match='of an interrupted evaluation, got none'):
        run(output, resume=True)


def test_the_gallery_shows_the_worst_image_first(pipeline, streets):
    settings = PipelineSettings(entropy_threshold=0.5)
    dataset = Folder(streets)
    published = publish_segments(pipeline, dataset, {'single': settings})['single']

    def draw_page(count):
        return draw_gallery(
            pipeline, dataset, settings, published, indices=[0, 1], count=count, title='drawn'
        )

    page = draw_page(1)
    for colour in (FOUND, MISSED, TRUE, FALSE):
        # a tile is an enlarged picture: the middle of a line keeps its colour
        assert (np.abs(page.astype(int) - colour).max(2) < 40).any(), colour
    assert draw_page(2).shape[1] > page.shape[1]
    assert draw_page(0) is None


def test_reliability():
    probability = np.array([0.01, 0.03, 0.95, 1.0, np.nan], np.float32)
    reliability = measure_reliability(probability, np.array([False, True, True, True, True]))
    assert reliability.segments.tolist() == [2, *[0] * 8, 2]
    assert reliability.true_share[[0, 9]].tolist() == [0.5, 1.0]
    assert reliability.ood_probability[[0, 9]] == pytest.approx([0.02, 0.975])
    assert reliability.error == pytest.approx((0.48 + 0.025) / 2)
    assert np.isnan(measure_reliability(probability[4:], np.array([True])).error)


def test_decisions_are_read():
    title, settings = parse_decision('nested=0.4:0.05:0.8')
    assert title == 'nested'
    assert settings == PipelineSettings(
        entropy_threshold=0.4, meta_threshold=0.05, core_threshold=0.8
    )
    assert parse_decision('0.7') == ('0.7', PipelineSettings(entropy_threshold=0.7))
    assert parse_decision('::0')[1] == PipelineSettings(core_threshold=0.0)
    for wrong in ('low', '0.4:0.1:0.8:1'):
        with pytest.raises(ValueError, match=rf"must be \[TITLE=\].*, got '{wrong}'. What is"):
            parse_decision(wrong)
    with pytest.raises(ValueError, match=r'entropy_threshold must lie in \(0, 1\], got 40'):
        parse_decision('40')


def test_the_verb_prints_and_writes_decisions(tiny_bundle, streets, tmp_path, capsys):
    save_bundle(tiny_bundle, tmp_path / 'tiny')
    words = ['evaluate', '--bundle', str(tmp_path / 'tiny'), '--dataset', f'folder={streets}']
    decide = ['--segments', '--decision', 'a=0.3:0', '--decision', 'b=0.3:0:0.9']
    assert (
        main(
            [
                *words,
                *decide,
                '--part',
                'second',
                '--gallery',
                '1',
                '--output',
                str(tmp_path / 'out'),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert '| folder | 2 | tiny | a | 0.3 | 0.3 | 0 |' in printed
    assert '| folder, second | 1 | tiny | b | 0.3 | 0.9 | 0 |' in printed
    report = json.loads((tmp_path / 'out/segments.json').read_text())
    assert [(one['data'], one['decision']) for one in report['decisions']] == [
        ('folder', 'a'), ('folder, second', 'a'), ('folder', 'b'), ('folder, second', 'b'),
    ]  # fmt: skip
    picture = cv2.imread(str(tmp_path / 'out/folder__tiny__b.png'))
    assert picture.std() > 5
    first = report['decisions'][0]
    assert (first['judged_at'], first['objects'], len(first['by_size'])) == (0.3, 3, 4)
    assert len(first['reliability']['segments']) == 10
    assert (tmp_path / 'out/segments.md').read_text().strip() in printed


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--decision', '0.4'], '--decision belongs to published segments'),
        (['--gallery', '2'], '--gallery belongs to --segments or --methods'),
        (['--segments', '--gallery', '2'], '--gallery needs a folder, got no --output'),
        (['--segments', '--score', 'entropy'], '--score belongs to pixel scores'),
        (['--segments', '--work-size', '8x8'], '--work-size belongs to pixel scores'),
        (['--segments', '--decision', '0.4', '--decision', '0.4'], "got '0.4' twice. Name them"),
    ],
)
def test_the_verb_refuses_what_does_not_belong_together(streets, capsys, options, message):
    assert main(['evaluate', '--dataset', f'folder={streets}', *options]) == 2
    assert message in capsys.readouterr().err


def test_two_decisions_are_compared_in_pairs(pipeline, streets):
    settings = {
        'single': PipelineSettings(entropy_threshold=0.5, core_threshold=0.0),
        'nested': PipelineSettings(entropy_threshold=0.5, core_threshold=0.9),
        'nothing': PipelineSettings(entropy_threshold=0.5, meta_threshold=1.0),
    }
    published = publish_segments(pipeline, Folder(streets), settings)

    def compare(first, second, **options):
        titles = ('streets', first, second)
        return compare_decisions(published[first], published[second], titles=titles, **options)

    same = compare('single', 'single')
    for one in (same.found, same.touched, same.false_a_frame):
        # drawn apart, found would lie anywhere in [-1, 1]
        assert (one.value, one.low, one.high) == (0, 0, 0)
    cores = compare('single', 'nested')
    assert (cores.images, cores.first, cores.second) == (2, 'single', 'nested')
    assert (cores.found.value, cores.touched.value) == (0, 0)
    # one false segment more, in the first image: drawn never, once or twice for two frames
    assert (cores.false_a_frame.value, cores.false_a_frame.low) == (0.5, 0)
    assert cores.false_a_frame.high == 1.0
    lost = compare('single', 'nothing')
    assert lost.found.value == pytest.approx(-1 / 3)
    assert lost.touched.value == pytest.approx(-2 / 3)
    # of two objects in the first image one is touched, of one in the second one is
    assert (lost.touched.low, lost.touched.high) == (-1.0, -0.5)
    assert np.isnan(compare('single', 'nested', draws=0).found.low)


def test_only_images_that_both_have_judged_are_compared(pipeline, streets):
    settings = {'a': PipelineSettings(entropy_threshold=0.5, core_threshold=0.0)}
    both, second, first = (
        publish_segments(pipeline, Folder(streets), settings, indices=one)['a']
        for one in ([0, 1], [1], [0])
    )
    titles = ('streets', 'a', 'b')
    one = compare_decisions(both, second, titles=titles)
    assert (one.images, one.found.value) == (1, 0)
    turned = both.of_frames(np.array([True, True]))
    assert compare_decisions(turned, both, titles=titles).images == 2
    with pytest.raises(ValueError, match='got none in common of a and b. Judge both on the same'):
        compare_decisions(first, second, titles=titles)


def test_the_verb_compares_two_bundles(tiny_bundle, streets, tmp_path, capsys):
    for name, threshold in (('lr=0.1/one', 0.3), ('other', 0.9)):
        save_bundle(replace(tiny_bundle, entropy_threshold=threshold), tmp_path / name)
    words = ['evaluate', '--data', f'folder={streets}', '--segments', '--limit', '0']
    words += ['--bundle', str(tmp_path / 'lr=0.1' / 'one'), str(tmp_path / 'other')]
    assert main([*words, '--output', str(tmp_path / 'out')]) == 0
    printed = capsys.readouterr().out
    assert '| folder | 2 | other, bundle | one, bundle |' in printed
    (row,) = json.loads((tmp_path / 'out/segments.json').read_text())['differences']
    assert (row['first'], row['second'], row['images']) == ('one, bundle', 'other, bundle', 2)
    assert main([*words, '--limit', '-1']) == 2
    assert '--limit must be at least 0, got -1' in capsys.readouterr().err
    assert main([*words, str(tmp_path / 'lr=0.1' / 'one')]) == 2
    assert "titles, got 'one' twice. Name them: --bundle TITLE=PATH" in capsys.readouterr().err
