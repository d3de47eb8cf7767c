"""A checkpoint becomes a bundle that loads, computes the same, and says where it comes from."""

from dataclasses import replace
import json

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.networks import build_network
from meta_ood_training.bundles.export import (
    Checkpoint,
    describe_origin,
    half_difference,
    to_half,
)
from meta_ood_training.cli import main
from meta_ood_training.finetuning.training_run import finetune, run_facts
import pytest
import torch

TERMS = ('--data-terms', 'CC0')


@pytest.fixture
def network():
    torch.manual_seed(4)
    return build_network('espnet_v2', num_classes=19, scale=0.5).eval()


@pytest.fixture
def published(tmp_path, network):
    """Return a bare state dict on disk, as published files are."""
    torch.save(network.state_dict(), tmp_path / 'published.pth')
    return tmp_path / 'published.pth'


def logits(network, seed=0):
    x = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return network(x)


def convert(published, output, *more):
    words = ['bundle', '--checkpoint', str(published), '--output', str(output)]
    named = ['--architecture', 'espnet_v2', '--argument', 'scale=0.5']
    terms = ['--data-terms', 'none'] if '--licence' in more else []
    return main([*words, *named, *terms, *more])


def test_a_published_checkpoint_becomes_a_bundle_with_the_same_logits(
    tmp_path, published, network, capsys
):
    assert convert(published, tmp_path / 'before', '--licence', 'MIT', '--data-terms', 'none') == 0
    assert 'before@' in capsys.readouterr().out
    bundle = load_bundle(tmp_path / 'before')
    assert torch.equal(logits(bundle.build_network()), logits(network))
    assert bundle.architecture == 'espnet_v2'
    assert bundle.arguments == {'scale': 0.5}
    assert bundle.licence_of_weights == 'MIT'
    assert bundle.provenance['command'] == 'converted as published'


def test_a_bundle_keeps_the_normalisation_of_its_network(tmp_path, save_numbered):
    name = 'deeplabv3plus_mobilenet_edgetpu'
    network = build_network(name, num_classes=19)
    save_numbered(network, tmp_path / 'published.npz')
    words = ['bundle', '--checkpoint', str(tmp_path / 'published.npz'), '--architecture', name]
    assert (
        main([*words, '--output', str(tmp_path / 'bundle'), '--licence', 'Apache-2.0', *TERMS])
        == 0
    )
    bundle = load_bundle(tmp_path / 'bundle')
    assert tuple(bundle.input_mean) == tuple(bundle.input_std) == (128 / 255,) * 3
    assert torch.equal(logits(bundle.build_network()), logits(network.eval()))


def test_a_network_of_classes_without_names_is_refused(tmp_path, small_config, capsys):
    config = small_config()
    network = build_network('espnet_v2', num_classes=12, scale=0.5)
    described = replace(config, network=replace(config.network, num_classes=12))
    record = {**run_facts(described, ''), 'step': 1, 'scores': {}, 'start_scores': {}}
    torch.save({'state_dict': network.state_dict(), **record}, tmp_path / 'own.pth')
    words = ['--checkpoint', str(tmp_path / 'own.pth'), '--output', str(tmp_path / 'bundle')]
    assert main(['bundle', *words, '--licence', 'MIT', *TERMS]) == 2
    assert 'must name the 12 classes of its network, got none' in capsys.readouterr().err
    assert not (tmp_path / 'bundle').exists()


def test_broken_weights_are_not_stored_in_half_precision(tmp_path, network, capsys):
    weights = network.state_dict()
    next(iter(weights.values()))[:] = float('nan')
    torch.save(weights, tmp_path / 'broken.pth')
    assert convert(tmp_path / 'broken.pth', tmp_path / 'out', '--licence', 'MIT', '--half') == 2
    said = capsys.readouterr().err
    assert '--half must not change an entropy by more than 0.01, got nan' in said


def test_a_run_becomes_a_bundle_that_states_it(tmp_path, small_config, quiet):
    finetune(
        small_config(max_steps=2),
        tmp_path / 'run',
        command='meta-ood-train finetune config/x.yaml --data camvid=<camvid>',
        **quiet,
    )
    (tmp_path / 'road.json').write_text(json.dumps({'average_precision': 0.5}), encoding='utf-8')
    assert (
        main(
            [
                'bundle',
                '--checkpoint',
                str(tmp_path / 'run' / 'final.pth'),
                '--output',
                str(tmp_path / 'mine'),
                '--licence',
                'Apache-2.0',
                *TERMS,
                '--entropy-threshold',
                '0.4',
                '--work-short-side',
                '64',
                '--scores',
                str(tmp_path / 'road.json'),
            ]
        )
        == 0
    )
    bundle = load_bundle(tmp_path / 'mine')
    origin = bundle.provenance
    assert origin['command'] == 'meta-ood-train finetune config/x.yaml --data camvid=<camvid>'
    assert (origin['seed'], origin['step'], origin['start']) == (5, 2, 'random weights')
    assert origin['data'] == ['camvid', 'ecssd']
    assert origin['scores'] == {'road': {'average_precision': 0.5}}
    assert str(tmp_path) not in (tmp_path / 'mine' / 'bundle.yaml').read_text(encoding='utf-8')
    assert (bundle.name, bundle.entropy_threshold, bundle.work_short_side) == ('mine', 0.4, 64)
    made = torch.load(tmp_path / 'run' / 'final.pth', weights_only=True)['state_dict']
    key = 'base_net.level1.conv.weight'
    assert torch.equal(bundle.weights[key], made[key])


def test_half_precision_halves_the_file_and_is_refused_where_it_changes_the_entropy(
    tmp_path, published, network, capsys
):
    assert convert(published, tmp_path / 'single', '--licence', 'MIT') == 0
    assert convert(published, tmp_path / 'half', '--licence', 'MIT', '--half') == 0
    sizes = [
        (tmp_path / name / 'network.safetensors').stat().st_size for name in ('single', 'half')
    ]
    assert 0.45 < sizes[1] / sizes[0] < 0.6
    difference = half_difference(network)
    assert 0 < difference < 0.01
    with torch.no_grad():
        network.bu_dec_l4.merge_layer[-1].weight.mul_(3e4)
    torch.save(network.state_dict(), published)
    assert convert(published, tmp_path / 'loud', '--licence', 'MIT', '--half') == 2
    assert 'must not change an entropy by more than 0.01' in capsys.readouterr().err


def test_half_keeps_integers_and_what_float16_cannot_hold():
    halved = to_half({'a': torch.tensor([1.5]), 'b': torch.tensor([1e6]), 'n': torch.tensor(3)})
    assert [value.dtype for value in halved.values()] == [
        torch.float16,
        torch.float32,
        torch.int64,
    ]


def test_what_is_missing_is_asked_for(tmp_path, published, capsys):
    words = ['bundle', '--checkpoint', str(published), '--output', str(tmp_path / 'x')]
    assert main(words) == 2
    assert (
        'does not say which network it belongs to. Add --architecture' in capsys.readouterr().err
    )
    assert convert(published, tmp_path / 'x') == 2
    said = capsys.readouterr().err
    assert 'must state the licence of its weights, got none. Add --licence TEXT.' in said
    words += ['--architecture', 'espnet_v2', '--argument', 'scale=0.5', '--licence', 'MIT']
    assert main(words) == 2
    said = capsys.readouterr().err
    assert 'must state the terms of its training data, got none. Add --data-terms TEXT.' in said
    assert convert(tmp_path / 'absent.pth', tmp_path / 'x', '--licence', 'MIT') == 2
    assert '--checkpoint must be a file' in capsys.readouterr().err
    assert convert(published, tmp_path / 'x', '--argument', 'rates=[3, 6') == 2
    assert "a value must be YAML, got 'rates=[3, 6': expected" in capsys.readouterr().err


def test_terms_of_a_configuration_are_quoted_and_its_name_is_not_taken(
    tmp_path, small_config, network, capsys
):
    config = small_config()
    stated = replace(config.bundle, licence_of_weights='MIT (of somebody else)')
    facts = run_facts(replace(config, bundle=stated), 'finetune mine.yaml')
    facts['config']['bundle']['name'] = 'default'  # as earlier versions wrote it
    record = {**facts, 'step': 1, 'scores': {}, 'start_scores': {}}
    torch.save({'state_dict': network.state_dict(), **record}, tmp_path / 'final.pth')
    words = ['bundle', 'export', '--checkpoint', str(tmp_path / 'final.pth'), '--output']
    assert main([*words, str(tmp_path / 'mine'), *TERMS]) == 2
    said = capsys.readouterr().err
    assert "Add --licence TEXT. The configuration of its run says 'MIT (of somebody else)'" in said
    own = ('--licence', 'proprietary', *TERMS)
    assert main([*words, str(tmp_path / 'mine'), *own]) == 0
    bundle = load_bundle(tmp_path / 'mine')
    assert (bundle.name, bundle.licence_of_weights) == ('mine', 'proprietary')
    assert bundle.data_terms == 'CC0'
    capsys.readouterr()
    assert main([*words, str(tmp_path / 'mine'), *own]) == 2
    assert '--output must be new, got ' in capsys.readouterr().err
    assert main([*words, str(tmp_path / 'mine'), *own, '--overwrite']) == 0
    assert main([*words, str(tmp_path / 'default'), *own]) == 2
    assert "a name of its own, got the directory 'default'" in capsys.readouterr().err
    best = ['bundle', '--checkpoint', str(tmp_path / 'best.pth'), '--output', str(tmp_path / 'x')]
    assert main([*best, *own]) == 2
    said = capsys.readouterr().err
    assert 'This run was not validated, or no validation kept the mIoU' in said
    assert f'Take {tmp_path / "final.pth"}' in said


def test_runs_are_averaged_and_moved_back_to_their_start(tmp_path, network, capsys):
    key = 'base_net.level1.conv.weight'
    for name, value in {'a': 1.0, 'b': 3.0, 'start': -2.0}.items():
        weights = {**network.state_dict()}
        weights[key] = torch.full_like(weights[key], value)
        torch.save(weights, tmp_path / f'{name}.pth')
    runs = [str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')]
    own = ['--architecture', 'espnet_v2', '--argument', 'scale=0.5', '--licence', 'MIT', *TERMS]
    words = ['bundle', '--checkpoint', *runs, *own, '--output']
    back = ['--start', str(tmp_path / 'start.pth'), '--start-share', '0.25']
    assert main([*words, str(tmp_path / 'mean')]) == 0
    assert main([*words, str(tmp_path / 'back'), *back]) == 0
    mean, moved = load_bundle(tmp_path / 'mean'), load_bundle(tmp_path / 'back')
    assert set(mean.weights[key].unique().tolist()) == {2.0}
    assert set(moved.weights[key].unique().tolist()) == {0.75 * 2.0 + 0.25 * -2.0}
    average = {'of': 2, 'start': 'start.pth', 'start_share': 0.25, 'runs': []}
    assert moved.provenance['average'] == average
    capsys.readouterr()
    assert main([*words, str(tmp_path / 'x'), *back[:2]]) == 2
    assert '--start and --start-share go together, got ' in capsys.readouterr().err
    assert main([*words, str(tmp_path / 'x'), '--start', '/nowhere.pth', *back[2:]]) == 2
    assert (
        "--start must be a checkpoint or a bundle, got '/nowhere.pth'" in capsys.readouterr().err
    )


def test_a_damaged_checkpoint_is_called_so(tmp_path, small_config, network, capsys):
    record = {**run_facts(small_config(), ''), 'step': 1, 'scores': {}, 'start_scores': {}}
    path = tmp_path / 'best.pth'
    torch.save({'state_dict': network.state_dict(), **record}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = [
        '--checkpoint',
        str(path),
        '--output',
        str(tmp_path / 'x'),
        '--licence',
        'MIT',
        *TERMS,
    ]
    assert main(['bundle', *words]) == 2
    said = capsys.readouterr().err
    assert f'{path} cannot be read so: ' in said
    assert 'Add --architecture' not in said


def test_a_run_of_several_revisions_names_them_all(small_config):
    later = {'step': 3, 'revision': 'b', 'machine': 'm', 'command': 'c'}
    record = {**run_facts(small_config(), ''), 'step': 4, 'scores': {}, 'start_scores': {}}
    assert describe_origin(Checkpoint({}, {**record, 'resumed': [later]}), [])['resumed'] == [
        later
    ]
    assert 'resumed' not in describe_origin(Checkpoint({}, record), [])
