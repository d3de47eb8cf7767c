"""
Checkpoints and ONNX files -> bundles, which are what a robot loads; and what bundles say.

1. `checkpoints`  checkpoints -> weights: of one run or the mean of several, in half precision
2. `export`       `export_bundle`: weights and what is known of them -> a bundle; `head_export`:
   what was trained beside them
3. `onnx_files`   a network of one's own -> a bundle, and back
4. `inspection`   what a bundle says of itself, and whether it works

`command` is the verb.
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.bundles.export import BundleResult as BundleResult
    from meta_ood_training.bundles.export import export_bundle as export_bundle

__getattr__ = export_lazily(__name__, {'export_bundle': 'export', 'BundleResult': 'export'})
