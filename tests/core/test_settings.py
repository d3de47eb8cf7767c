"""Settings: every default valid, every wrong value refused with its range."""

from dataclasses import fields, FrozenInstanceError
import math

from meta_ood_ros.core.settings import FROM_BUNDLE, NodeSettings, PipelineSettings
import pytest


def test_defaults_are_valid_and_documented():
    settings = NodeSettings()
    for one in fields(settings):
        assert getattr(settings, one.name) == one.default
        assert one.metadata['description'].endswith('.')
        number = isinstance(one.default, int | float) and not isinstance(one.default, bool)
        assert number == (one.metadata['minimum'] is not None)


def test_settings_cannot_be_changed_behind_the_check():
    with pytest.raises(FrozenInstanceError):
        PipelineSettings().entropy_threshold = 70.0


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (
            {'entropy_threshold': 70.0},
            r'entropy_threshold must lie in \(0, 1\], got 70.0. It is a share of log C, not a',
        ),
        ({'entropy_threshold': 0.0}, r'must lie in \(0, 1\], got 0.0'),
        ({'entropy_threshold': -0.5}, r'must lie in \(0, 1\], got -0.5'),
        ({'entropy_threshold': math.nan}, r'must lie in \(0, 1\], got nan'),
        ({'entropy_threshold': '0.5'}, r"must be of type float, got '0.5'. Write it as in -1.0"),
        ({'entropy_threshold': True}, 'must be of type float, got True'),
        ({'meta_threshold': 1.01}, r'meta_threshold must lie in \[0, 1\], got 1.01. It is a prob'),
        ({'meta_threshold': -0.01}, r'meta_threshold must lie in \[0, 1\], got -0.01'),
        (
            {'work_short_side': 63},
            r'work_short_side must lie in \{-1, 0\} or \[64, 4096\], got 63',
        ),
        ({'core_threshold': -0.01}, r'core_threshold must lie in \[0, 1\], got -0.01. It is a sh'),
        ({'core_threshold': 80.0}, r'core_threshold must lie in \[0, 1\], got 80.0'),
        ({'min_size_px': -1}, r'min_size_px must lie in \[0, 10000000\], got -1'),
        (
            {'score': 'entropi'},
            r"score must be one of entropy, .* vim, '', got 'entropi'. Did you mean 'ent",
        ),
    ],
)
def test_wrong_pipeline_setting_is_refused_with_its_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        PipelineSettings(**wrong)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'device': 'tpu'}, "device must be auto, cpu, cuda, cuda:N or xpu:N, got 'tpu'"),
        ({'backend': 'eagr'}, "backend must be one of .* Did you mean 'eager'"),
        ({'max_segments': 0}, r'max_segments must lie in \[1, 65535\], got 0'),
        ({'cameras': []}, r'cameras must be distinct names, got \[\]'),
        ({'cameras': ['front', 'front']}, 'Name each camera once'),
        ({'cameras': ['front', '']}, r"got ''. \[''\] is the single camera"),
        ({'cameras': ['front left']}, "got 'front left'"),
        ({'ignore_mask': ['a.png'], 'cameras': ['a', 'b']}, 'one PNG for each of the 2 cameras'),
    ],
)
def test_wrong_node_setting_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        NodeSettings(**wrong)


def test_edges_of_the_ranges_belong_to_them():
    settings = NodeSettings(
        entropy_threshold=1, meta_threshold=0, work_short_side=64, cameras=['front', 'rear/left']
    )
    assert settings.entropy_threshold == 1.0
    assert isinstance(settings.entropy_threshold, float)
    assert settings.cameras == ('front', 'rear/left')
    assert PipelineSettings(entropy_threshold=FROM_BUNDLE).entropy_threshold == -1.0
