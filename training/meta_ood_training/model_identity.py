"""Bundle -> a name for its network alone, which a new meta classifier does not change."""

from __future__ import annotations

import hashlib

from meta_ood_ros.core.bundle import Bundle


def hash_network(bundle: Bundle) -> str:
    """
    Return the SHA-256, in hex, of a bundle's network: names, types, shapes and values.

    Parameters
    ----------
    bundle : Bundle
        Any; ONNX networks, too.

    Returns
    -------
    str
        64 hex digits; equal for two bundles that differ in their meta classifier only.

    """
    digest = hashlib.sha256(bundle.onnx)
    for name in sorted(bundle.weights):
        tensor = bundle.weights[name].contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)};'.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
