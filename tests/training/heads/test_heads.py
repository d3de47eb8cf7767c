"""Heads beside a network: what they leave alone, what they score, what their file refuses."""

from dataclasses import replace
import math

from meta_ood_ros.core.backends.fold import fold_batch_norms
from meta_ood_ros.core.networks import build_network
from meta_ood_ros.core.networks.outlier_decoder import HeadBlock
from meta_ood_training.heads.beside import (
    head_kind,
    HeadSettings,
    join_planes,
    JoinedNetwork,
    NetworkWithHead,
    Outputs,
    run_network,
)
from meta_ood_training.heads.dirichlet import differential_entropy
from meta_ood_training.heads.head_file import (
    find_head,
    HEAD_FILE,
    load_head,
    save_head,
    TrainedHead,
)
from meta_ood_training.heads.scorers import scorer_of
from meta_ood_training.heads.taps import LAST_LAYER, run_with_inputs
import numpy as np
import pytest
import torch

SETTINGS = HeadSettings(('bu_dec_l2', 'bu_dec_l3'), 8)
X = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def network():
    torch.manual_seed(4)
    return build_network('espnet_v2', num_classes=5, scale=0.5).eval()


def test_a_head_leaves_the_logits_as_they_are_and_says_nothing_untrained(network):
    with torch.no_grad():
        expected = network(X)
        joined = NetworkWithHead(network, 'residual_head', SETTINGS).eval()
        logits, planes = joined.outputs(X)
    assert torch.equal(logits, expected)
    assert torch.equal(joined(X), expected)
    assert planes.shape == (1, 5, 16, 16)  # the grid of bu_dec_l3's input, stride 4
    assert not planes.any()
    assert run_network(network, X).planes is None


def test_a_residual_head_trains_alone_and_the_others_with_the_network(network):
    frozen = NetworkWithHead(network, 'residual_head', SETTINGS).train()
    assert not frozen.network.training
    assert frozen.extra_head.training
    assert not any(one.requires_grad for one in frozen.network.parameters())
    logits, planes = frozen.outputs(X)
    assert not logits.requires_grad
    assert planes.requires_grad
    network.requires_grad_(True)
    joint = NetworkWithHead(network, 'outlier_head', SETTINGS).train()
    assert joint.network.training
    with torch.no_grad():
        joint.extra_head.out.weight.fill_(0.1)
    joint.eval().outputs(X).planes.sum().backward()
    assert network.base_net.level1.conv.weight.grad.abs().sum() > 0


def test_inputs_are_those_of_the_named_layers(network):
    seen = []
    hook = network.bu_dec_l3.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        _, (one,) = run_with_inputs(network, ['bu_dec_l3'], X)
    hook.remove()
    assert torch.equal(one, seen[0])
    assert not network.bu_dec_l3._forward_pre_hooks
    with pytest.raises(ValueError, match=r'must name layers of the network \(.*\), got bu_dec_9'):
        run_with_inputs(network, ['bu_dec_9'], X)
    network.spare = torch.nn.Identity()
    with pytest.raises(ValueError, match='must name layers that an image passes, got spare'):
        run_with_inputs(network, ['spare'], X)


def test_a_head_without_hidden_channels_is_one_more_row_of_the_last_layer(network):
    joined = NetworkWithHead(network, 'void_class', HeadSettings((LAST_LAYER,), 0)).eval()
    layer = network.get_submodule('bu_dec_l4.merge_layer.3')
    with torch.no_grad():
        joined.extra_head.out.weight.copy_(layer.weight[2:3])
        joined.extra_head.out.bias.copy_(layer.bias[2:3])
        logits, planes = joined.outputs(X)
    torch.testing.assert_close(planes[:, 0], logits[:, 2])
    with pytest.raises(ValueError, match='without hidden channels must have one input, got 2'):
        HeadBlock([4, 4], 1, hidden=0)
    with pytest.raises(ValueError, match='a head must have inputs and hidden channels from 0 on'):
        HeadSettings(())


def test_scores_in_closed_form():
    # softmax of (log 2, 0) beside a void logit of log 3: 2/6, 1/6, 3/6
    logits = torch.tensor([math.log(2.0), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    plane = torch.full((1, 1, 1, 1), math.log(3.0))  # brought to the grid of the logits
    residual = torch.tensor([-math.log(2.0), 0.0]).reshape(1, 2, 1, 1)
    third = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2)
    image = np.zeros((70, 6, 3), np.uint8)
    for kind, planes, expected in (
        ('void_class', plane, 0.5),
        ('outlier_head', plane, 0.75),
        ('residual_head', residual, 1.0),
        ('entropy_maximization', None, third),
        ('dirichlet', None, float(differential_entropy(logits)[0, 0, 0])),
    ):
        joined = join_planes(Outputs(logits, planes), align_corners=True)[0]
        score = scorer_of(kind, align_corners=True).score(image, joined)
        assert (score.shape, score.dtype) == ((70, 6), np.float32)
        np.testing.assert_allclose(score, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="a head must be one of void_class, .*, got 'dirichlet'"):
        head_kind('dirichlet')


def test_joined_with_its_planes_a_network_gives_the_same_folded(network):
    joined = JoinedNetwork(NetworkWithHead(network, 'void_class', HeadSettings((LAST_LAYER,), 0)))
    with torch.no_grad():
        joined.beside.extra_head.out.weight.normal_()
        expected = joined.eval()(X)
        folded = fold_batch_norms(joined)
        torch.testing.assert_close(folded(X), expected, rtol=1e-3, atol=1e-3)
        logits, features = folded.with_features(X)
        torch.testing.assert_close(features, network.with_features(X)[1], rtol=1e-3, atol=1e-3)
    assert (joined.num_classes, expected.shape[1], logits.shape[1]) == (6, 6, 6)
    assert torch.equal(expected[:, :5], network(X))


def test_layers_that_folding_changes_are_no_inputs(network):
    with pytest.raises(ValueError, match=r'must name layers .*, got bu_dec_l4\.merge_layer\.3'):
        NetworkWithHead(network, 'void_class', HeadSettings(('bu_dec_l4.merge_layer.3',), 0))
    torch.nn.init.uniform_(network.base_net.level1.bn.running_mean, 3, 9)
    with pytest.raises(ValueError, match='when normalisations are folded .* got base_net.lev'):
        NetworkWithHead(network, 'outlier_head', HeadSettings(('base_net.level1.bn',), 8))


def test_a_file_keeps_a_head_and_refuses_damage_and_another_network(tmp_path, network):
    joined = NetworkWithHead(network, 'outlier_head', SETTINGS).eval()
    with torch.no_grad():
        joined.extra_head.out.weight.fill_(0.3)
        expected = joined.outputs(X)
    weights = joined.extra_head.state_dict()
    assert find_head(tmp_path) is None
    save_head(tmp_path / HEAD_FILE, TrainedHead('outlier_head', SETTINGS, weights, 'a' * 64))
    head = find_head(tmp_path)
    assert (head.kind, head.settings) == ('outlier_head', SETTINGS)
    with torch.no_grad():
        again = head.attach(network, sha256='a' * 64).outputs(X)
    assert torch.equal(again.planes, expected.planes)
    assert torch.equal(again.logits, expected.logits)
    with pytest.raises(ValueError, match='with the network beside it, bbbb.* got one of aa'):
        head.attach(network, sha256='b' * 64)
    with pytest.raises(ValueError, match='lacks'):
        replace(head, weights={}).attach(network)
    save_head(tmp_path / 'prior', TrainedHead('dirichlet', network_sha256='c' * 64))
    assert load_head(tmp_path / 'prior').attach(network) is network
    content = bytearray((tmp_path / HEAD_FILE).read_bytes())
    content[-5] ^= 1
    (tmp_path / HEAD_FILE).write_bytes(content)
    with pytest.raises(ValueError, match='the head of a network, got: tensors of another'):
        load_head(tmp_path / HEAD_FILE)
    for damaged in (b'', bytes(content[:200]), b'\x02\0\0\0\0\0\0\0{}'):
        (tmp_path / HEAD_FILE).write_bytes(damaged)
        with pytest.raises(ValueError, match='must hold the head of a network, got: .* Copy the'):
            load_head(tmp_path / HEAD_FILE)
