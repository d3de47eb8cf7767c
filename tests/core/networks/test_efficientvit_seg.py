"""EfficientViT-Seg-B0 against its published weights and logits, and its attention by hand."""

from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import (
    build_network,
    linear_attention,
    load_checkpoint,
    load_weights,
)
from meta_ood_ros.core.networks.linear_attention import attend, LinearAttention
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

NAME = 'efficientvit_seg_b0'
WEIGHTS = 'weights/efficientvit_seg_b0_cityscapes.pt'
DIGEST = 'f147cbc8165bbb3b2f6ce2df184443c04e9b6d9881bcf7ca22143b3efaba534e'
# Logits [::5, ::4, ::6] for rule weights and noise(1, 3, 64, 96) of the code that passed parity.
RULE_LOGITS = (
    *(-0.09632, -0.09541, -0.0953, -0.09359, -0.13572, -0.13692, -0.13432, -0.13766),
    *(0.00638, 0.01366, 0.00643, 0.0187, 0.01202, 0.01682, 0.01472, 0.02256),
)


def test_names_and_shapes_are_the_published_ones(key_lines, digest):
    lines = key_lines(build_network(NAME, num_classes=19))
    assert len(lines) == 230
    assert digest(lines) == DIGEST


def test_names_equal_the_reference_list(reference_dir):
    lines = (reference_dir / 'keys_EfficientViT_seg_b0.txt').read_text().splitlines()
    own = build_network(NAME, num_classes=19).state_dict()
    assert [f'{name} {list(value.shape)}' for name, value in own.items()] == lines


def test_published_weights_give_the_published_logits(shared_data):
    with np.load(shared_data / 'parity/efficientvit_seg_b0.npz') as file:
        image, expected = file['image'], torch.from_numpy(file['logits'])
    network = build_network(NAME, num_classes=19).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 706_691
    load_weights(network, load_checkpoint(shared_data / WEIGHTS), source=WEIGHTS)
    with torch.inference_mode():
        logits = network(to_network_input(image, image.shape[:2]))[0]
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


def test_rule_weights_give_the_logits_of_the_checked_forward_pass(fill_by_rule, noise):
    """Values of the code that passed the parity test: they guard it where the data is absent."""
    network = build_network(NAME, num_classes=19).eval()
    fill_by_rule(network)
    with torch.inference_mode():
        logits = network(noise(1, 3, 64, 96))[0]
    assert logits.shape == (19, 8, 12)
    expected = torch.tensor(RULE_LOGITS)
    torch.testing.assert_close(logits[::5, ::4, ::6].flatten(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (65, 97), (33, 130), (1, 1)])
def test_logits_have_an_eighth_of_the_sides_rounded_up(noise, height, width):
    network = build_network(NAME, num_classes=3).eval()
    with torch.inference_mode():
        logits = network(noise(1, 3, height, width))
    assert logits.shape == (1, 3, -(-height // 8), -(-width // 8))
    assert logits.isfinite().all()


def test_gradient_reaches_every_weight(noise):
    network = build_network(NAME, num_classes=5)
    target = torch.arange(2 * 8 * 8).reshape(2, 8, 8) % 5
    cross_entropy(network(noise(2, 3, 64, 64)), target).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert [name for name, p in network.named_parameters() if not p.grad.any()] == []
    assert network.backbone.input_stem.op_list[0].norm.num_batches_tracked == 1


def test_each_image_of_a_batch_is_seen_alone(fill_by_rule, noise):
    network = build_network(NAME, num_classes=4).eval()
    fill_by_rule(network)
    batch = noise(2, 3, 64, 96)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch[:1]), network(batch[1:])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_attention_is_a_weighted_mean_of_values(noise):
    """Pixel by pixel: weights ReLU(q_i) . ReLU(k_j), which sum to one, of two heads."""
    tokens = noise(2, 96, 2, 3).double()
    attended = attend(tokens)
    assert attended.shape == (2, 32, 2, 3)
    for n in range(2):
        for head in range(2):
            query, key, value = tokens[n, 48 * head : 48 * head + 48].reshape(3, 16, 6)
            for i in range(6):
                weights = torch.stack(
                    [(query[:, i].clamp(min=0) * key[:, j].clamp(min=0)).sum() for j in range(6)]
                )
                mean = sum(w * value[:, j] for j, w in enumerate(weights / weights.sum()))
                own = attended[n, 16 * head : 16 * head + 16].reshape(16, 6)[:, i]
                torch.testing.assert_close(own, mean, rtol=1e-9, atol=1e-12)


def test_a_pixel_that_asks_for_nothing_gets_nothing():
    tokens = -torch.ones(1, 48, 2, 2, requires_grad=True)
    attended = attend(tokens)
    assert not attended.any()
    attended.sum().backward()


def _loud_attention() -> LinearAttention:
    """Return a module in which sums over pixels exceed 65504, the largest number of fp16."""
    torch.manual_seed(0)
    attention = LinearAttention(16).eval().requires_grad_(False)
    attention.qkv.conv.weight.abs_()
    return attention


def test_attention_sums_in_float32_in_a_network_of_fp16(noise):
    attention = _loud_attention()
    x = 10 + noise(1, 16, 32, 32)
    expected = attention(x)
    tokens = attention.qkv(x)
    assert (tokens[:, 16:32].sum((2, 3)) * tokens[:, 32:].mean()).max() > 65504
    half = attention.half()(x.half())
    assert half.dtype == torch.float16
    assert (half.float() - expected).abs().max() <= 0.01 * expected.abs().max()


def test_operations_can_be_counted_without_numbers():
    network = build_network(NAME, num_classes=4).eval().to('meta')
    assert network(torch.empty(1, 3, 64, 96, device='meta')).shape == (1, 4, 8, 12)


def test_attention_sums_in_float32_under_autocast(monkeypatch, noise):
    seen = []

    def record(tokens):
        seen.append((tokens.dtype, (tokens @ tokens.transpose(-1, -2)).dtype))
        return attend(tokens)

    attention = _loud_attention()
    x = noise(1, 16, 8, 8)
    expected = attention(x)
    monkeypatch.setattr(linear_attention, 'attend', record)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = attention(x)
    assert seen == [(torch.float32, torch.float32)]
    assert mixed.dtype == torch.bfloat16
    assert (mixed.float() - expected).abs().max() <= 0.03 * expected.abs().max()
