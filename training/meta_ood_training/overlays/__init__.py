"""
Fishyscapes-style test sets: OoD objects on street frames, with exact labels.

1. `overlay_set`  `make_overlay`: frames + objects -> a folder; `command` is its verb
2. `plan`         frames, objects, seed -> which object goes where
3. `compositing`  object + frame -> frame with the object
   `fishyscapes`  the same in the style of FS Static and FS Web, of single `effects`
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.overlays.overlay_set import make_overlay as make_overlay
    from meta_ood_training.overlays.overlay_set import OverlayResult as OverlayResult

__getattr__ = export_lazily(
    __name__, {'make_overlay': 'overlay_set', 'OverlayResult': 'overlay_set'}
)
