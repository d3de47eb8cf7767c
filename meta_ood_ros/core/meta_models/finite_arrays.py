"""Arrays of a fitted model, refused where they would make every probability NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meta_ood_ros.core.error_text import brief
import numpy as np

#: The last sentence of every refusal.
FIT_AGAIN = 'Fit it again: meta-ood-train fit-meta'


def check_finite(arrays: Mapping[str, Any]) -> None:
    """Refuse arrays, by name, that hold anything but finite numbers."""
    for name, values in arrays.items():
        array = np.asarray(values)
        if array.dtype.kind not in 'fiu' or not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)][:1] if array.dtype.kind in 'fiu' else array
            raise ValueError(
                f'{name} of a meta classifier must hold finite numbers, got '
                f'{brief(wrong.ravel()[:1].tolist())}. {FIT_AGAIN}'
            )
