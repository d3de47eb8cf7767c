"""Descriptions and tensors in one safetensors file: read back, or refused in one sentence."""

import json
from pathlib import Path

from meta_ood_ros.core.files.tensor_file import pack_file, parse_file
from meta_ood_ros.core.files.tensor_header import LARGEST_HEADER
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

MARK = 'meta_ood.test/1'
ABOUT = {'name': 'x', 'parts': [1, 2.5, None]}


def parse(content, make=lambda *one: one, load=safetensors.numpy.load):
    where = Path('x.tensors')
    return parse_file(content, where, MARK, make, load=load, must='be of ours', advice='Copy it.')


def test_arrays_and_tensors_come_back_with_what_they_are():
    arrays = {'b': np.arange(6.0).reshape(2, 3), 'a': np.zeros((0, 2), np.int8)}
    content = pack_file(MARK, ABOUT, arrays)
    about, found = parse(content)
    assert about == ABOUT
    assert found.keys() == arrays.keys()
    for name, one in arrays.items():
        assert found[name].dtype == one.dtype
        np.testing.assert_array_equal(found[name], one)
    halves = {'w': torch.arange(4, dtype=torch.bfloat16)}
    content = pack_file(MARK, ABOUT, halves, safetensors.torch.save)
    _, found = parse(content, load=safetensors.torch.load)
    assert found['w'].dtype == torch.bfloat16
    assert torch.equal(found['w'], halves['w'])


def test_the_same_is_packed_into_the_same_bytes():
    arrays = {name: np.zeros(3) for name in 'abcdef'}
    assert len({pack_file(MARK, ABOUT, arrays) for _ in range(20)}) == 1


UNMARKED = safetensors.numpy.save({'a': np.zeros(1)})
BROKEN = safetensors.numpy.save({'a': np.zeros(1)}, metadata={MARK: '{'})
WHOLE = pack_file(MARK, ABOUT, {'a': np.zeros(100)})


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', '0 bytes, which end before the header does'),
        (WHOLE[:40], '40 bytes, which end before'),
        (WHOLE[:-8], 'Error while deserializing'),
        ((LARGEST_HEADER + 1).to_bytes(8, 'little') + bytes(LARGEST_HEADER + 9), 'are the most'),
        (UNMARKED, "a header without 'meta_ood.test/1'"),
        (pack_file('meta_ood.test/2', ABOUT, {}), "a header without 'meta_ood.test/1'"),
        (
            safetensors.numpy.save({'a': np.zeros(1)}, metadata={MARK: '{'}),
            'Expecting property name',
        ),
    ],
)
def test_other_files_are_refused_in_one_sentence(content, reason):
    with pytest.raises(ValueError, match=rf'^x.tensors must be of ours, got: .*{reason}.*Copy it'):
        parse(content)


def test_of_what_nothing_can_be_made_is_refused_with_the_reason():
    def make(about, arrays):
        raise KeyError('kind')

    with pytest.raises(ValueError, match="^x.tensors must be of ours, got: 'kind'. Copy") as found:
        parse(WHOLE, make)
    assert isinstance(found.value.__cause__, KeyError)
    assert json.loads(json.dumps(ABOUT)) == parse(WHOLE, lambda about, _: about)
