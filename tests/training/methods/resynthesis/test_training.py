"""A whole run of `resynthesis` on drawn streets: it learns, goes on, and is scored with."""

from dataclasses import replace
import json

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.cli import main
from meta_ood_training.datasets import Folder, IGNORED
from meta_ood_training.methods import find_methods, MethodNeedsError, Observer, Setup
from meta_ood_training.methods.resynthesis import trained_parts, training_steps
from meta_ood_training.methods.resynthesis.frames import ResynthesisFrames
from meta_ood_training.methods.resynthesis.scorers import ResynthesisScorer, SynBoostScorer
from meta_ood_training.methods.resynthesis.settings import ResynthesisSettings
from meta_ood_training.methods.resynthesis.trained_files import load_trained
from meta_ood_training.methods.resynthesis.training import train_resynthesis
import numpy as np
import pytest
import torch

COLOURS = np.array([[70, 70, 70], [200, 60, 40], [60, 130, 230]], np.uint8)
SETTINGS = ResynthesisSettings(
    scale=1.0,
    width=4,
    generator_steps=20,
    discrepancy_steps=40,
    generator_rate=5e-3,
    discrepancy_rate=5e-3,
    smallest=0.01,
    largest=0.3,
    ensemble_steps=4,
    resume_steps=10,
)


def draw_street(seed):
    """Return an image and its class map: sky, road, and boxes of buildings, with noise."""
    rng = np.random.default_rng(seed)
    target = np.full((64, 96), 2, np.uint8)
    target[40:] = 0
    for left in (8, 40, 72):
        top = int(rng.integers(12, 28))
        target[top:44, left : left + 16] = 1
    noise = rng.integers(-20, 20, (64, 96, 3))
    return np.clip(COLOURS[target] + noise, 0, 255).astype(np.uint8), target


def write_streets(folder, seeds, void=None):
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True)
    for seed in seeds:
        image, target = draw_street(seed)
        if void is not None:
            target[void] = IGNORED
        cv2.imwrite(str(folder / 'images' / f'{seed}.png'), image[..., ::-1])
        cv2.imwrite(str(folder / 'labels' / f'{seed}.png'), target)
    return folder


@pytest.fixture(scope='module')
def bundle(small_bundle):
    return replace(load_bundle(small_bundle), work_short_side=64)


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp('streets')
    return write_streets(root / 'fit', range(4)), write_streets(root / 'select', range(6, 8))


def run(streets, output, bundle, settings=SETTINGS, **options):
    fit, select = streets
    data, chosen = f'folder={fit}', f'select:folder={select}'
    return train_resynthesis(
        data, chosen, output, bundle=bundle, settings=settings, device='cpu', **options
    )


@pytest.fixture(scope='module')
def trained(streets, bundle, tmp_path_factory):
    return run(streets, tmp_path_factory.mktemp('runs') / 'one', bundle)


def test_a_run_learns_to_find_what_was_swapped(trained):
    report = json.loads((trained.folder / 'resynthesis.json').read_text())
    for losses in report['losses'].values():
        assert losses['last'] < 0.8 * losses['first']
    found = report['swapped_ap']
    assert found['random'] < 0.5
    assert found['discrepancy'] > found['random'] + 0.25
    assert found['dissimilarity'] > found['random'] + 0.25
    parts = ('dissimilarity', 'entropy', 'distance', 'perceptual')
    assert found['ensemble'] >= max(found[one] for one in parts) - 1e-6
    assert sum(report['ensemble_weights'].values()) == pytest.approx(1)
    assert report['classes'] == [0, 1, 2]
    assert report['data'] == ['folder']
    assert report['select'] == ['select:folder']
    assert str(trained.folder.parent) not in json.dumps(report)
    picture = cv2.imread(str(trained.folder / 'examples.jpg'))
    assert picture.shape == (2 * 64, 5 * 96, 3)
    assert sorted(one.name for one in trained.folder.iterdir()) == [
        'examples.jpg', 'resynthesis.json', 'resynthesis.safetensors',
    ]  # fmt: skip
    assert f'in {trained.folder})' in repr(trained)


@pytest.fixture(scope='module')
def setup(trained, bundle):
    network = Observer.from_bundle(bundle, device='cpu').network
    return Setup(bundle, network, artefacts={'resynthesis': trained.folder})


@pytest.mark.parametrize('name', ['resynthesis', 'synboost'])
def test_the_scores_of_an_image_and_their_round_trip(name, setup, bundle):
    (method,) = find_methods([name])
    scorer = method.build(setup)
    assert scorer.name == name
    observer = Observer.from_bundle(bundle, device='cpu')
    image = observer.to_grid(np.ascontiguousarray(draw_street(7)[0][:60]))
    logits, _ = observer.run(image)
    scores = scorer.score(image, logits)
    assert scores.shape == image.shape[:2]
    assert scores.dtype == np.float32
    assert 0 <= scores.min() < scores.max() <= 1
    again = type(scorer).from_state(scorer.state(), network=setup.network)
    assert np.array_equal(again.score(image, logits), scores)
    assert np.array_equal(scorer.score(image, logits), scores)


def test_the_scores_rise_where_the_classes_are_not_the_image(setup):
    image, target = draw_street(11)
    right = torch.stack([torch.from_numpy(target == one).float() for one in range(3)]) * 12
    wrong = right.clone()
    box = np.zeros((64, 96), bool)
    box[28:40, 40:56] = True  # of a building, here said to be sky
    wrong[:, box] = torch.tensor([0.0, 0.0, 12.0])[:, None]
    for name in ('resynthesis', 'synboost'):
        (method,) = find_methods([name])
        scorer = method.build(setup)
        before, after = scorer.score(image, right), scorer.score(image, wrong)
        assert after[box].mean() > before[box].mean() + 0.1
        assert after[box].mean() > after[~box].mean() + 0.1


@pytest.fixture(scope='module')
def short():
    return replace(SETTINGS, generator_steps=4, discrepancy_steps=4, resume_steps=2)


@pytest.fixture(scope='module')
def whole(streets, bundle, short, tmp_path_factory):
    return run(streets, tmp_path_factory.mktemp('runs') / 'whole', bundle, short)


@pytest.mark.parametrize('part', ['generator', 'discrepancy'])
def test_a_run_that_was_ended_goes_on_to_the_same_files(
    part, whole, short, streets, bundle, tmp_path, monkeypatch
):
    keep = training_steps._keep

    def keep_and_end(point, *rest):
        keep(point, *rest)
        if point.name == f'{part}.resume':
            raise KeyboardInterrupt

    monkeypatch.setattr(training_steps, '_keep', keep_and_end)
    with pytest.raises(KeyboardInterrupt):
        run(streets, tmp_path / 'ended', bundle, short)
    monkeypatch.undo()
    with pytest.raises(ValueError, match='--output must be new, got'):
        run(streets, tmp_path / 'ended', bundle, short)
    with pytest.raises(ValueError, match='settings, network and data that it began with'):
        run(streets, tmp_path / 'ended', bundle, replace(short, seed=1), resume=True)
    other = run(streets, tmp_path / 'ended', bundle, short, resume=True)
    state = 'resynthesis.safetensors'
    assert (other.folder / state).read_bytes() == (whole.folder / state).read_bytes()
    assert other.report['swapped_ap'] == whole.report['swapped_ap']
    with pytest.raises(ValueError, match='goes on with a killed run, got .*, which is finished'):
        run(streets, tmp_path / 'ended', bundle, short, resume=True)


def test_frames_take_the_prediction_where_no_label_stands(tmp_path, bundle):
    void = np.zeros((64, 96), bool)
    void[10:30, 60:90] = True
    void[50, :] = True  # a seam between labels, which is none of what is unknown
    folder = Folder(write_streets(tmp_path / 'a', [3], void), num_classes=3)
    observer = Observer.from_bundle(bundle, device='cpu')
    named, other = (
        ResynthesisFrames({'a': folder}, observer, void_data=one, scale=1.0)[0]
        for one in (['a'], [])
    )
    target = draw_street(3)[1]
    assert np.array_equal(named.is_labelled, ~void)
    assert np.array_equal(named.semantics[~void], target[~void])
    image = observer.to_grid(named.image)
    (seen,) = observer.walk(folder)
    predicted = seen.logits.argmax(0).numpy()
    assert image.shape == (64, 96, 3)
    # the network's grid is half as fine: within what is of one class both agree
    assert (named.semantics[12:28:2, 62:88:2] == predicted[6:14, 31:44]).mean() > 0.8
    assert np.array_equal(named.is_void[10:30, 60:90], np.ones((20, 30), bool))
    assert named.is_void.sum() == 600
    assert not other.is_void.any()


def test_frames_of_a_step_depend_on_its_number_alone(streets, bundle):
    observer = Observer.from_bundle(bundle, device='cpu')
    frames = ResynthesisFrames({'a': Folder(streets[0], num_classes=3)}, observer, scale=1.0)
    drawn = [frames.draw(step, 0)[0].image for step in range(12)]
    again = [frames.draw(step, 0)[0].image for step in reversed(range(12))][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))
    images = [draw_street(seed)[0] for seed in range(4)]
    shown = [image.tobytes() for image in images]
    turned = [np.ascontiguousarray(image[:, ::-1]).tobytes() for image in images]
    places = [(shown + turned).index(one.tobytes()) for one in drawn]
    for epoch in (places[:4], places[4:8], places[8:]):
        assert sorted(place % 4 for place in epoch) == [0, 1, 2, 3]
    assert min(places) < 4 <= max(places)  # some as they are, some mirrored


def test_what_was_trained_is_refused_where_it_does_not_belong(trained, bundle, setup, tmp_path):
    with pytest.raises(MethodNeedsError, match='Give it with --artefact synboost=PATH'):
        find_methods(['synboost'])[0].build(replace(setup, artefacts={}))
    with pytest.raises(ValueError, match='must be trained for the network of small@'):
        load_trained(trained.folder, replace(bundle, input_mean=(0.1, 0.1, 0.1)))
    with pytest.raises(ValueError, match=r'must be a folder with resynthesis.json, got'):
        load_trained(tmp_path, bundle)
    for name in ('resynthesis.json', 'resynthesis.safetensors'):
        (tmp_path / name).write_bytes((trained.folder / name).read_bytes())
    damaged = bytearray((tmp_path / 'resynthesis.safetensors').read_bytes())
    damaged[-3] ^= 1
    (tmp_path / 'resynthesis.safetensors').write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match='must be as it was written, got another SHA-256'):
        load_trained(tmp_path, bundle)
    (tmp_path / 'resynthesis.json').write_text('{}')
    with pytest.raises(ValueError, match=r"must be one of ours, got KeyError\('sha256'\)"):
        load_trained(tmp_path, bundle)
    (tmp_path / 'resynthesis.json').write_text(
        (trained.folder / 'resynthesis.json').read_text().replace('"format": 1', '"format": 9')
    )
    with pytest.raises(ValueError, match='must have format 1, got 9'):
        load_trained(tmp_path, bundle)


def test_a_state_of_another_network_is_refused(trained, bundle, setup):
    state, _ = load_trained(trained.folder, bundle)
    lacking = {key: one for key, one in state.items() if key != 'ensemble_weights'}
    assert ResynthesisScorer(lacking, network=setup.network).state()
    with pytest.raises(ValueError, match='synboost must have the state .* without ensemble_weig'):
        SynBoostScorer(lacking, network=setup.network)
    wrong = {**state, 'discrepancy.last.bias': np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match='must have been trained for this network, got other lay'):
        ResynthesisScorer(wrong, network=setup.network)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            ['--void', 'other'],
            "--void must be the title of a data set, got 'other'. Known: folder",
        ),
        (['--resume'], 'goes on with a killed run, got {output}, which has none'),
        (['--width', '0'], 'width must be at least 1, got 0'),
        (['--data', 'folder={fit}'], "must have different titles, got 'folder' twice"),
        (['--data', 'camvid_fit=nowhere'], 'labels of camvid_fit must mean the classes of small@'),
    ],
)
def test_wrong_words(words, message, streets, small_bundle, tmp_path, capsys):
    fit, select = streets
    places = {'fit': fit, 'output': tmp_path / 'new'}
    given = ['--data', f'folder={fit}', '--select', f'select:folder={select}']
    given += ['--bundle', str(small_bundle), '--output', str(tmp_path / 'new')]
    words = [one.format(**places) for one in words]
    assert main(['resynthesis', *given, *words]) == 2
    assert message.format(**places) in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_the_verb_prints_what_it_found(streets, small_bundle, tmp_path, capsys):
    fit, select = streets
    words = ['--data', f'folder={fit}', '--select', f'select:folder={select}', '--output']
    words += [str(tmp_path / 'run'), '--bundle', str(small_bundle), '--void', 'folder']
    words += ['--generator-steps', '2', '--discrepancy-steps', '2', '--scale', '0.25']
    words += ['--swap-share', '1', '--ensemble-steps', '2', '--width', '4', '--device', 'cpu']
    assert main(['resynthesis', *words]) == 0
    printed = capsys.readouterr().out
    assert 'generator: loss ' in printed
    assert 'discrepancy: loss ' in printed
    assert 'AP on swapped frames: ' in printed
    report = json.loads((tmp_path / 'run' / 'resynthesis.json').read_text())
    assert report['void_data'] == ['folder']
    assert report['settings']['scale'] == 0.25


def test_an_ensemble_without_a_swapped_pixel_is_refused(streets, bundle, tmp_path, monkeypatch):
    def draw_nothing(*given):
        return np.zeros((5, 8), np.float32), np.zeros(8, bool)

    monkeypatch.setattr(trained_parts, 'sample_scores', draw_nothing)
    short = replace(SETTINGS, generator_steps=1, discrepancy_steps=1)
    with pytest.raises(ValueError, match='needs swapped and other pixels .*, got 0 of 8'):
        run(streets, tmp_path / 'run', bundle, short)
