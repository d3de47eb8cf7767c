"""
Checkpoints -> bundles, which are what a robot loads.

1. `export`   `export_bundle`, the whole way; `command` is its verb
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.bundles.export import BundleResult as BundleResult
    from meta_ood_training.bundles.export import export_bundle as export_bundle

__getattr__ = export_lazily(__name__, {'export_bundle': 'export', 'BundleResult': 'export'})
