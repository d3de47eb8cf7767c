"""
Fishyscapes-style test sets: OoD objects on street frames, with exact labels.

1. `command`      `meta-ood-train overlay`
2. `plan`         frames, objects, seed -> which object goes where
3. `compositing`  object + frame -> frame with the object
"""
