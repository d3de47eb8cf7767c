"""Damaged and hostile bundles: every one refused at load, by a short sentence of ours."""

from dataclasses import replace
import logging
import os
import time

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import installed_bundles, load_bundle, save_bundle
from meta_ood_ros.core.files.bundle_checks import BundleError
from meta_ood_ros.core.files.bundle_sums import check_own_sum
from meta_ood_ros.core.files.meta_classifier_file import (
    pack_meta_classifiers,
    save_meta_classifiers,
)
import numpy as np
import pytest
from safetensors.torch import save as save_tensors
import torch
import yaml

FILES = ('bundle.yaml', 'network.safetensors', 'meta_classifier.safetensors')
LONGEST_MESSAGE = 800


@pytest.fixture
def saved(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / 'tiny')
    return tmp_path / 'tiny'


def edit(directory, **changes):
    """Change bundle.yaml as by hand: without the sums, which would tell."""
    record = yaml.safe_load((directory / 'bundle.yaml').read_text())
    record.pop('sha256', None)
    (directory / 'bundle.yaml').write_text(yaml.safe_dump(record | changes, sort_keys=False))


def refuse(directory, message):
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(directory)
    assert len(str(caught.value)) < LONGEST_MESSAGE
    assert directory.name in str(caught.value)


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


@pytest.mark.parametrize('name', FILES)
def test_a_flipped_bit_anywhere_is_refused(saved, name):
    path = saved / name
    whole = path.read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 40):
        flip(path, int(bit))
        refuse(saved, rf'{name} must have the SHA-256 that bundle.yaml states|sha256|must be YAML')
        path.write_bytes(whole)
    load_bundle(saved)


def test_every_bit_before_the_last_line_of_the_description_counts(saved):
    whole = (saved / 'bundle.yaml').read_bytes()
    body = whole.rindex(b'\n', 0, -1) + 1
    for bit in range(8 * body):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        if bit // 8 < body - 1:  # the last line break belongs to how the line is found
            with pytest.raises(BundleError, match='must have the SHA-256 that bundle.yaml states'):
                check_own_sum(saved / 'bundle.yaml', bytes(content))


def test_every_bit_of_its_last_line_counts(saved):
    path = saved / 'bundle.yaml'
    whole = path.read_bytes()
    begin = whole.rindex(b'\n', 0, -1)
    bits = np.arange(8 * begin, 8 * len(whole))
    for bit in (*bits[:160], *bits[-16:], *np.random.default_rng(0).choice(bits, 40)):
        flip(path, int(bit))
        refuse(saved, 'SHA-256|must be YAML|unknown key|must be of|must have the meta')
        path.write_bytes(whole)


def test_the_bit_that_made_every_probability_nan(tmp_path):
    bundle = load_bundle('espnet_v2')  # which logistic regression judges
    save_bundle(bundle, tmp_path / 'copy')
    path = tmp_path / 'copy' / 'meta_classifier.safetensors'
    content = bytearray(path.read_bytes())
    at = content.index(np.float64(bundle.meta_classifiers[0].model.scale[0]).tobytes())
    content[at + 7] ^= 0x40  # of the exponent
    path.write_bytes(bytes(content))
    refuse(tmp_path / 'copy', r'copy/meta_classifier.safetensors must have the SHA-256 .*damaged')


def test_installed_bundles_state_their_sums(caplog):
    for name, directory in installed_bundles().items():
        with caplog.at_level(logging.INFO):
            bundle = load_bundle(name)
        record = yaml.safe_load((directory / 'bundle.yaml').read_text())
        assert len(record['sha256']) == 3
        assert {one.network_sha256 for one in bundle.meta_classifiers} == {bundle.network_sha256}
    assert caplog.records == []


def test_a_bundle_without_sums_is_loaded_with_a_sentence(saved, caplog):
    edit(saved)
    assert load_bundle(saved).name == 'tiny'
    (record,) = caplog.records
    assert 'states no SHA-256 of its files, so that damage may pass unseen' in record.message


def test_sums_that_say_nothing_are_refused(saved):
    edit(saved, sha256={'network.safetensors': 'abc'})
    refuse(saved, 'sha256 must name the SHA-256 of each file and end with that of bundle.yaml')
    edit(saved, sha256=[1])
    refuse(saved, r'sha256 must name the SHA-256 .* got \[1\]')


def test_classifiers_of_another_bundle_are_refused(tiny_bundle, saved, tmp_path):
    changed = {name: value + 0.125 for name, value in tiny_bundle.weights.items()}
    save_bundle(replace(tiny_bundle, weights=changed), tmp_path / 'other')
    other = (tmp_path / 'other' / FILES[2]).read_bytes()
    (saved / FILES[2]).write_bytes(other)
    refuse(saved, rf'{FILES[2]} must have the SHA-256 .* belongs to another bundle')
    edit(saved)  # without sums the classifier itself says so
    refuse(saved, r'must be fitted for the network beside it, \w{12}\.\.\., got one for \w{12}')
    fitted = load_bundle(tmp_path / 'other').meta_classifiers
    with pytest.raises(BundleError, match='must be fitted for the network beside it'):
        save_bundle(replace(tiny_bundle, meta_classifiers=fitted), tmp_path / 'mixed')
    assert not (tmp_path / 'mixed').exists()


@pytest.mark.parametrize('wrong', [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tiny_bundle, saved, wrong):
    name = next(key for key, value in tiny_bundle.weights.items() if value.ndim == 4)
    weights = {key: value.clone() for key, value in tiny_bundle.weights.items()}
    weights[name].view(-1)[7] = wrong
    edit(saved)
    (saved / FILES[1]).write_bytes(save_tensors(weights))
    refuse(saved, f"weights must be finite, got NaN or infinity in '{name}'")
    with pytest.raises(BundleError, match='weights must be finite'):
        save_bundle(replace(tiny_bundle, weights=weights), saved)


def test_classifier_whose_numbers_are_none_is_refused(tiny_bundle, saved):
    edit(saved)
    content = pack_meta_classifiers(tiny_bundle.meta_classifiers)
    scale = np.full(75, 100.0).tobytes()
    assert content.count(scale) == 1
    for value, message in (
        (0.0, 'scale .* must be positive, got 0.0'),
        (np.nan, 'finite numbers'),
    ):
        broken = content.replace(scale, np.full(75, value).tobytes())
        (saved / FILES[2]).write_bytes(broken)
        refuse(saved, f'{FILES[2]} must be a file of meta classifiers, got: .*{message}')


@pytest.mark.parametrize('name', FILES[1:])
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', '0 bytes, which end before the header does'),
        ((1 << 60).to_bytes(8, 'little') + b'{}', 'which end before the header does'),
        ((5 << 20).to_bytes(8, 'little') + b' ' * (5 << 20), 'a header of 5242880 bytes, where'),
        ((2).to_bytes(8, 'little') + b'[]', 'must be a '),
        ((9).to_bytes(8, 'little') + b'[' * 9, 'must be a '),
    ],
)
def test_headers_that_are_none_are_refused(saved, name, content, message):
    edit(saved)
    (saved / name).write_bytes(content)
    refuse(saved, message)


def test_an_endless_or_giant_file_is_refused_before_it_is_read(saved):
    edit(saved)
    path = saved / FILES[2]
    os.truncate(path, 1 << 40)  # a sparse file of a terabyte
    refuse(saved, f'{FILES[2]} must have at most 67108864 bytes, got 1099511627776')
    path.unlink()
    os.mkfifo(path)
    refuse(saved, f'{FILES[2]} must be a file, got something else')
    path.unlink()
    (saved / FILES[0]).unlink()
    (saved / FILES[0]).symlink_to('/dev/zero')
    refuse(saved, 'bundle.yaml must be a file, got something else')


LAUGHS = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{name}: &{name} [{", ".join([f"*{before}"] * 9)}]\n'
    for before, name in zip('abcdefgh', 'bcdefghi', strict=True)
)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (LAUGHS, r"got: an alias or anchor \('a'\) in line 1"),
        ('a: &a\n  - *a\n', r"got: an alias or anchor \('a'\) in line"),
        ('[' * 100_000, 'got: more than 20 levels in line 1'),
        ('a: ' + '{a: ' * 30 + '1' + '}' * 30, 'got: more than 20 levels in line 1'),
        ('name: a\nname: b\n', "got: the key 'name' twice"),
        ('# ' + 'x' * (1 << 20), 'must have at most 524288 bytes, got 1048578'),
        ('a: !!python/object/apply:os.system [ls]', 'must be YAML, got: line 1: could not determ'),
        ('a: !!int ""', 'must be YAML, got: '),
        ('a: 2026-13-45', 'must be YAML, got: month must be in'),
        ('a: ' + '9' * 5000, 'must be YAML, got: |has the unknown key|format_version'),
        ('\x00', 'must be YAML, got: '),
        ('null', 'must be a mapping, got NoneType'),
        ('format_version: true', 'must have format_version 1, got True'),
        ('format_version: 1.0', 'must have format_version 1, got 1.0'),
    ],
)
def test_text_that_would_fill_time_or_memory_or_screen_is_refused(saved, text, message):
    (saved / 'bundle.yaml').write_text(text)
    begin = time.monotonic()
    refuse(saved, message)
    assert time.monotonic() - begin < 5


def every(color):
    return [list(color) for _ in range(19)]


NAMES = [f'class {index}' for index in range(19)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'class_names': ['a'] * 20_000}, 'class_names must have 2 to 254 entries, got 20000'),
        ({'class_names': ['a']}, 'class_names must have 2 to 254 entries, got 1'),
        ({'class_names': 'road'}, "class_names must be of type list, got 'road'"),
        (
            {'class_names': [*NAMES[:18], 7]},
            r'class_names\[18\] must be of type str, got 7',
        ),
        ({'class_names': [True, *NAMES[1:]]}, r'class_names\[0\] must be of type str, got True'),
        ({'class_names': [None, *NAMES[1:]]}, r'class_names\[0\] must be of type str, got None'),
        ({'class_names': ['', *NAMES[1:]]}, r"class_names\[0\] must be printable text, got ''"),
        ({'class_names': ['a\nb', *NAMES[1:]]}, r"class_names\[0\] must be printable .*'a\\nb'"),
        ({'class_names': ['x' * 101, *NAMES[1:]]}, 'must have at most 100 letters, got 101'),
        ({'class_names': [NAMES[1], *NAMES[1:]]}, "differ from each other, got 'class 1' twice"),
        ({'name': 3}, 'name must be of type str, got 3'),
        ({'name': ' '}, "name must be printable text, got ' '"),
        ({'architecture': ['x']}, r"architecture must be of type str, got \['x'\]"),
        ({'class_colors': every([0, 0, 256])}, r'class_colors\[0\] must be three integers in'),
        ({'class_colors': every([0, 0, -1])}, r'three integers in \[0, 255\] .*got \(0, 0, -1\)'),
        ({'class_colors': every([0, 0, True])}, r'three integers in .*got \(0, 0, True\)'),
        ({'class_colors': every([0, 0, 0.5])}, r'three integers in .*got \(0, 0, 0.5\)'),
        ({'class_colors': every([0, 0])}, r'three integers in .*got \(0, 0\)'),
        ({'class_colors': [7] * 19}, 'three integers in .*got 7'),
        ({'class_colors': ['red'] * 19}, "three integers in .*got 'red'"),
        ({'input_mean': [0.5, 0.5, float('nan')]}, 'input_mean must have 3 numbers .*nan'),
        ({'input_mean': [0.5, 0.5, '0.5']}, "input_mean must have 3 numbers .*'0.5'"),
        ({'input_mean': [0.5, 0.5, True]}, 'input_mean must have 3 numbers .*True'),
        ({'input_mean': [0.5, 0.5, 1e300]}, r'input_mean must lie in \[-100, 100\], got .*1e.300'),
        ({'input_std': [0.0, 0.2, 0.2]}, r'input_std must lie in \[0.0001, 10000\], got \[0.0'),
        ({'input_std': [-0.2, 0.2, 0.2]}, 'input_std must lie in .*-0.2'),
        ({'input_std': [float('inf'), 0.2, 0.2]}, 'input_std must have 3 numbers .*inf'),
        ({'input_std': 10**400}, 'input_std must be of type list, got an integer of 1329 bits'),
        ({'entropy_threshold': True}, 'entropy_threshold must be of type int or float, got True'),
        ({'entropy_threshold': float('nan')}, r'entropy_threshold must lie in \(0, 1\], got nan'),
        ({'entropy_threshold': 10**400}, r'entropy_threshold must lie in .* integer of 1329 bits'),
        ({'meta_threshold': '0.5'}, "meta_threshold must be of type int or float, got '0.5'"),
        ({'meta_threshold': float('inf')}, r'meta_threshold must lie in \[0, 1\], got inf'),
        ({'work_short_side': False}, 'work_short_side must be of type int, got False'),
        ({'work_short_side': 400.0}, 'work_short_side must be of type int, got 400.0'),
        ({'min_size_px': 10**12}, r'min_size_px must lie in \[0, 10000000\], got 10+\. 0 keeps'),
        ({'label_rule': ['deployed']}, r"label_rule must be of type str, got \['deployed'\]"),
        ({'provenance': 'here'}, "provenance must be of type dict, got 'here'"),
        ({'licence_of_weights': None}, 'licence_of_weights must be of type str, got None'),
        ({'arguments': [2]}, r'arguments must be of type dict, got \[2\]'),
        ({'arguments': {3: 2}}, 'key of arguments must be of type str, got 3'),
        ({'arguments': {'scale': float('inf')}}, 'argument scale must be text, .*got inf'),
        ({'arguments': {'scale': 1e9}}, r'numbers up to 4096, got 1000000000.0'),
        ({'arguments': {'scale': {'a': 1}}}, "argument scale must be text, .*got {'a': 1}"),
        (
            {'arguments': {'scale': [1] * 65}},
            'argument scale must have at most 64 entries, got 65',
        ),
        ({'classifier_thresholds': [True]}, r'of entropy thresholds \[True\], got \[0.5\]'),
        ({'metric_names': 'size'}, "must list the 75 metrics .*got 'size'"),
        ({'x' * 5000: 1}, 'has the unknown key .xxx'),
    ],
)
def test_values_of_the_wrong_kind_are_refused(saved, changes, message):
    edit(saved, **changes)
    refuse(saved, message)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'scale': '2.0'}, "argument scale of espnet_v2 must be of the kind of 2.0, got '2.0'"),
        ({'scale': True}, 'argument scale of espnet_v2 must be of the kind of 2.0, got True'),
        ({'scale': [0.5]}, r'must be of the kind of 2.0, got \[0.5\]. Write it so'),
        ({'num_classes': 5}, "espnet_v2 takes the arguments scale, got 'num_classes'. Remove it"),
        ({'name': 'x'}, "espnet_v2 takes the arguments scale, got 'name'"),
        ({'scale': -1}, 'scale must be one of .*got -1'),
    ],
)
def test_arguments_that_no_network_takes_are_refused(tiny_bundle, arguments, message):
    bundle = replace(tiny_bundle, arguments=arguments)
    with pytest.raises(
        BundleError, match=f'network of bundle tiny.* cannot be built: .*{message}'
    ):
        bundle.build_network()
    with pytest.raises(
        BundleError, match=r'onnx takes the arguments stride, align_corners, work_short_side, got'
    ):
        replace(tiny_bundle, architecture='onnx', arguments={'content': 'x'}).build_network()


def test_a_program_is_told_as_a_file_is(tiny_bundle):
    with pytest.raises(BundleError, match=r'class_names\[0\] must be of type str, got 1'):
        replace(tiny_bundle, class_names=(1, *tiny_bundle.class_names[1:]))
    with pytest.raises(BundleError, match='entropy_threshold must be a number, got None'):
        replace(tiny_bundle, entropy_threshold=None)
    assert isinstance(replace(tiny_bundle, entropy_threshold=np.float32(0.5)), Bundle)


def test_what_is_written_twice_in_the_provenance_is_no_alias(tiny_bundle, tmp_path):
    score = {'auroc': 0.5}
    provenance = {'before': score, 'after': score, 'list': [score, [score]]}
    save_bundle(replace(tiny_bundle, provenance=provenance), tmp_path / 'x')
    assert load_bundle(tmp_path / 'x').provenance == provenance


def test_half_precision_and_brain_floats_have_an_identity(tiny_bundle):
    kinds = (torch.float32, torch.float16, torch.bfloat16)
    made = [
        replace(
            tiny_bundle,
            weights={
                key: value.to(kind) if value.is_floating_point() else value
                for key, value in tiny_bundle.weights.items()
            },
        ).network_sha256
        for kind in kinds
    ]
    assert len(set(made)) == 3
    assert made[0] == tiny_bundle.network_sha256


def test_classifier_file_is_whole_on_its_own(tiny_bundle, tmp_path):
    path = tmp_path / 'm.safetensors'
    save_meta_classifiers(path, tiny_bundle.meta_classifiers)
    assert [one.name for one in tmp_path.iterdir()] == ['m.safetensors']
