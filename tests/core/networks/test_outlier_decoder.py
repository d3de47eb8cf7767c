"""Classes made milder by outliers, and the networks with a place for that decoder."""

from meta_ood_ros.core.backends.fold import fold_batch_norms
from meta_ood_ros.core.networks import build_network, load_weights
from meta_ood_ros.core.networks.outlier_decoder import mix_outliers
from meta_ood_ros.core.uncertainty import normalized_entropy
import pytest
import torch
from torch.nn.functional import interpolate

NETWORKS = (
    ('deeplabv3plus_mobilenet_edgetpu', {'is_centred': True, 'decoder_channels': 8}),
    ('deeplabv3plus_mobilenet_edgetpu', {}),
    ('efficientvit_seg_b0', {}),
    ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 8, 'outlier_strides': [16, 8, 4]}),
    ('deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 8, 'outlier_strides': [2]}),
    ('deeplabv3plus_mobilenet_edgetpu', {'outlier_strides': [8, 16]}),
)
NAMES = ('decoder', 'no_decoder', 'efficientvit', 'fine', 'finest', 'middle')


def _mix(logits, outlier_logit):
    return mix_outliers(logits, outlier_logit, align_corners=False)


def _entropies(noise, scale=3.0):
    """Return that of the classes, p, and that of the result; all (2, 40, 60)."""
    logits, outlier = scale * noise(2, 5, 40, 60), 4 * noise(2, 1, 40, 60)
    before = normalized_entropy(logits, 1)
    return before, outlier.sigmoid()[:, 0], normalized_entropy(_mix(logits, outlier), 1)


@pytest.mark.parametrize('classes', [2, 5, 19, 150])
def test_entropy_is_that_of_either_where_one_class_leads_the_others(classes, noise):
    logits = torch.zeros(1, classes, 40, 60)
    logits[:, 1] = 12 * noise(1, 40, 60).abs()
    outlier = 4 * noise(1, 1, 40, 60)
    before = normalized_entropy(logits, 1)
    expected = 1 - (1 - before) * (1 - outlier.sigmoid()[:, 0])
    found = normalized_entropy(_mix(logits, outlier), 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize('scale', [0.3, 3.0, 12.0])
def test_entropy_is_nearly_that_of_either(noise, scale):
    before, p, after = _entropies(noise, scale)
    wrong = (after - (1 - (1 - before) * (1 - p))).abs()
    assert wrong.mean() < (0.01 if scale < 10 else 0.04)
    assert wrong.quantile(0.95) < (0.05 if scale < 10 else 0.2)


def test_certain_pixels_have_entropy_0_and_1(noise):
    logits = torch.eye(5)[None, :, :, None] * 30 + noise(1, 5, 5, 1)
    logits.requires_grad_(True)
    for size, entropy in ((-30.0, 0.0), (30.0, 1.0)):
        mixed = _mix(logits, torch.full((1, 1, 5, 1), size))
        found = normalized_entropy(mixed[0].detach())
        torch.testing.assert_close(found, torch.full((5, 1), entropy), rtol=0, atol=0.01)
        mixed.sum().backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize('value', [0.0, 7.0, -1e4])
def test_where_all_classes_are_equal_nothing_is_divided_by_nothing(value):
    logits = torch.full((1, 4, 3, 3), value)
    for size in (-40.0, 0.0, 40.0):
        mixed = _mix(logits, torch.full((1, 1, 3, 3), size))
        assert mixed.isfinite().all()
        torch.testing.assert_close(normalized_entropy(mixed[0]), torch.ones(3, 3))


def test_entropy_grows_with_the_probability_of_an_outlier(noise):
    logits = 2 * noise(1, 7, 1, 1).expand(1, 7, 1, 50)
    outlier = torch.linspace(-6, 6, 50).reshape(1, 1, 1, 50)
    entropy = normalized_entropy(_mix(logits, outlier)[0])[0]
    assert (entropy.diff() > 0).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_classes_stay(noise, dtype):
    logits, outlier = (3 * noise(1, 6, 9, 11)).to(dtype), (9 * noise(1, 1, 9, 11)).to(dtype)
    mixed = _mix(logits, outlier)
    assert mixed.isfinite().all()
    # equal to half precision they may become, never the other way round
    largest = logits.argmax(1, keepdim=True)
    assert torch.equal(mixed.gather(1, largest), mixed.amax(1, keepdim=True))


def test_without_an_outlier_nothing_changes(noise):
    logits = 3 * noise(1, 6, 9, 11)
    torch.testing.assert_close(_mix(logits, torch.full((1, 1, 9, 11), -30.0)), logits)


def test_coarser_classes_come_to_the_grid_of_the_outliers(noise):
    logits, outlier = noise(1, 3, 4, 5), noise(1, 1, 8, 10)
    fine = interpolate(logits, (8, 10), mode='bilinear', align_corners=False)
    assert torch.equal(_mix(logits, outlier), _mix(fine, outlier))


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
def test_network_gives_what_both_of_its_decoders_say(name, arguments, fill_by_rule, noise):
    plain = build_network(name, num_classes=4, **arguments).eval()
    fill_by_rule(plain)
    mixed = build_network(name, num_classes=4, outlier_channels=6, **arguments).eval()
    missing = mixed.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(one.startswith('outlier.') for one in missing)
    torch.nn.init.normal_(mixed.outlier.out.weight)
    planes = []
    mixed.outlier.register_forward_hook(lambda _, inputs, output: planes.append(output))
    x = noise(2, 3, 64, 96)
    with torch.inference_mode():
        expected = mix_outliers(
            plain(x), (mixed(x), planes[0])[1], align_corners=plain.align_corners
        )
        torch.testing.assert_close(mixed(x), expected)
        torch.testing.assert_close(fold_batch_norms(mixed)(x), expected, rtol=1e-3, atol=1e-3)
    assert mixed.num_classes == 4
    assert expected.shape[1] == 4


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
def test_decoder_looks_at_the_named_layers(name, arguments, noise):
    """What `finetune` trains on `outlier_inputs` beside a network is at home within it."""
    network = build_network(name, num_classes=4, outlier_channels=6, **arguments).eval()
    seen = []
    network.outlier.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    parts, wanted = dict(network.named_modules()), {}
    last = network.outlier_inputs.index('last_layer')
    places = [place for place in range(len(network.outlier_inputs)) if place != last]
    for place in places:
        parts[network.outlier_inputs[place]].register_forward_pre_hook(
            lambda _, inputs, place=place: wanted.setdefault(place, inputs[0])
        )
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        _, features = network.with_features(x)
    assert sorted(wanted) == places
    assert all(torch.equal(seen[place], one) for place, one in wanted.items())
    sides = [one.shape[-1] for one in seen]
    assert sides[-1] == max(sides)
    size, corners = features.shape[-2:], network.align_corners
    fine = interpolate(seen[last], size, mode='bilinear', align_corners=corners)
    torch.testing.assert_close(fine, features)


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
def test_layers_that_were_trained_on_say_the_arguments_of_a_network(name, arguments):
    trained_on = build_network(name, num_classes=4, outlier_channels=6, **arguments)
    kind = type(trained_on)
    further = kind.outlier_arguments(trained_on.outlier_inputs, arguments)
    again = build_network(name, num_classes=4, outlier_channels=6, **{**arguments, **further})
    assert again.outlier_inputs == trained_on.outlier_inputs
    for other in ((), ('local',), trained_on.outlier_inputs[::-1], ('stem', 'last_layer')):
        assert kind.outlier_arguments(other, arguments) is None


def test_a_decoder_without_fine_maps_is_as_it_was():
    """Bundles of before say nothing of strides."""
    name, given = 'deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 8, 'outlier_channels': 6}
    before = build_network(name, num_classes=4, **given)
    assert before.outlier_inputs == type(before).outlier_inputs == ('local', 'last_layer')
    assert type(before).outlier_arguments(before.outlier_inputs, given) == {}


@pytest.mark.parametrize('strides', [[], [32], [16, 16], [0], [-4], [16, 8, 4, 2, 1]])
def test_strides_of_no_map_are_refused(strides):
    with pytest.raises(ValueError, match='outlier_strides must name some of 16, 8, 4, 2, each'):
        build_network('deeplabv3plus_mobilenet_edgetpu', num_classes=4, outlier_strides=strides)


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
def test_gradient_reaches_both_decoders(name, arguments, noise):
    network = build_network(name, num_classes=5, outlier_channels=6, **arguments)
    for layer in (network.outlier.out, *(one for one, _ in network.last_layers())):
        torch.nn.init.normal_(layer.weight)
    network(noise(2, 3, 64, 64)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
def test_weights_without_the_outlier_decoder_are_refused(name, arguments):
    """Untrained, it would call every pixel half unknown."""
    old = build_network(name, num_classes=4, **arguments)
    new = build_network(name, num_classes=4, outlier_channels=6, **arguments)
    with pytest.raises(ValueError, match='outlier.reduce.0.weight'):
        load_weights(new, old.state_dict(), source='old')


@pytest.mark.parametrize(('name', 'arguments'), NETWORKS, ids=NAMES)
@pytest.mark.parametrize('width', [-1, 10_000_000])
def test_width_that_none_has_is_refused(name, arguments, width):
    with pytest.raises(ValueError, match=f'within a head must be from 0 to 4096, got {width}'):
        build_network(name, num_classes=4, outlier_channels=width, **arguments)
