"""Bundle -> a name for its network alone, which a new meta classifier does not change."""

from __future__ import annotations

import hashlib
import json

from meta_ood_ros.core.bundle import Bundle

_DESCRIBED = ('architecture', 'arguments', 'class_names', 'input_mean', 'input_std')


def hash_network(bundle: Bundle) -> str:
    """
    Return the SHA-256, in hex, of all that turns an image into logits of classes.

    Architecture and its arguments, input mean and standard deviation, class names; names, types,
    shapes and values of the weights.

    Returns
    -------
    str
        64 hex digits; equal for two bundles that differ in their meta classifier only.

    """
    described = {name: getattr(bundle, name) for name in _DESCRIBED}
    # tuples and lists alike: a bundle has the ones when made and the others when loaded
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=dict).encode())
    digest.update(bundle.onnx)
    for name in sorted(bundle.weights):
        tensor = bundle.weights[name].contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)};'.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
