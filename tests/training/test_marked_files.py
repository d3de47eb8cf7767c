"""Every reader of fitted or trained files refuses what is none of its own, and says what helps."""

import hashlib
import json

from meta_ood_ros.core.files.meta_classifier_file import load_meta_classifiers
from meta_ood_ros.core.files.score_file import parse_score
from meta_ood_ros.core.files.tensor_file import pack_file
from meta_ood_training.heads.head_file import load_head
from meta_ood_training.methods.fitted_file import FittedFile
from meta_ood_training.methods.resynthesis.trained_files import (
    DESCRIPTION_FILE,
    load_trained,
    save_trained,
    STATE_FILE,
)
import numpy as np
import pytest

READERS = {
    'meta_ood.meta_classifiers/1': (load_meta_classifiers, 'file of meta classifiers', 'fit-meta'),
    'meta_ood.score/1': (
        lambda path: parse_score(path.read_bytes(), path),
        'file of a fitted score',
        'fit-score',
    ),
    'meta_ood.head/1': (load_head, 'head of a network', 'bundle'),
    'meta_ood.fitted_method/1': (FittedFile.load, 'file of a fitted method', 'fit-score'),
}


@pytest.mark.parametrize('mark', READERS)
def test_files_of_the_others_and_damaged_ones_are_refused(tmp_path, mark):
    read, what, verb = READERS[mark]
    path = tmp_path / 'x.safetensors'
    own = pack_file(mark, [{}], {'a': np.zeros(3)})
    contents = {other: pack_file(other, {}, {'a': np.zeros(3)}) for other in READERS}
    contents |= {'own': own, 'cut': own[:-5], 'empty': b'', 'text': b'a' * 500}
    contents['giant'] = (1 << 40).to_bytes(8, 'little') + bytes(100)
    del contents[mark]  # which is 'own': of its kind, and says nothing
    for name, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf'{what}, got: .*meta-ood-train {verb}$') as found:
            read(path)
        assert str(found.value).startswith(str(path))
        assert (f"a header without '{mark}'" in str(found.value)) == (name in READERS)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / 'absent')


def test_a_resynthesis_whose_arrays_cannot_be_read_is_refused(tiny_bundle, tmp_path):
    about = {'network_sha256': tiny_bundle.network_sha256}
    save_trained(tmp_path, {'a': np.ones(3)}, about)
    state, _ = load_trained(tmp_path, tiny_bundle)
    assert state['a'].tolist() == [1, 1, 1]
    path, description = tmp_path / STATE_FILE, tmp_path / DESCRIPTION_FILE
    giant = ((1 << 23).to_bytes(8, 'little') + bytes(1 << 23), 'are the most')
    for content, reason in (giant, (b'a' * 500, 'end before the header'), (bytes(99), 'header')):
        path.write_bytes(content)
        stated = json.loads(description.read_text())
        stated['sha256'] = {STATE_FILE: hashlib.sha256(content).hexdigest()}
        description.write_text(json.dumps(stated))
        with pytest.raises(ValueError, match=f'be safetensors, got .*{reason}.* Train it'):
            load_trained(tmp_path, tiny_bundle)
    save_trained(tmp_path, {'a': np.full(3, np.nan)}, about)
    with pytest.raises(ValueError, match='must be finite, got NaN or infinity. Train it again'):
        load_trained(tmp_path, tiny_bundle)
