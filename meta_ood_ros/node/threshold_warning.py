"""Thresholds in use -> what of the fitted bundle no longer holds, in a sentence."""

from __future__ import annotations

import math

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.settings import FROM_BUNDLE, PipelineSettings


def threshold_warning(result: OodResult, bundle: Bundle, settings: PipelineSettings) -> str:
    """
    Return what no longer holds at the thresholds used.

    Returns
    -------
    str
        '' where classifier and meta threshold belong to the entropy threshold in use, where the
        user has set the meta threshold, and where there is no classifier.

    """
    fitted, used = result.classifier_threshold, result.entropy_threshold
    if fitted is None:
        return ''
    if not math.isclose(fitted, used):
        return (
            f'No meta classifier was fitted at entropy_threshold {used:g}: the one of {fitted:g} '
            'is used. Fit one with meta-ood-train fit-meta.'
        )
    chosen_at = bundle.entropy_threshold
    if settings.meta_threshold == FROM_BUNDLE and not math.isclose(used, chosen_at):
        return (
            f'meta_threshold {bundle.meta_threshold:g} of the bundle was chosen for '
            f'entropy_threshold {chosen_at:g}, now it is {used:g}: how many false segments pass '
            'is not known. Set meta_threshold, too.'
        )
    return ''
