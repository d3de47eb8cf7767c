"""
Bundles x data sets -> pixel scores.

1. `command`           `meta-ood-train evaluate`
2. `prediction`        network -> semantic, entropy and max_probability at the size of the labels
3. `pixel_evaluation`  predictions on a data set, in one pass
4. `scores`            counts -> AUROC, AP, FPR95, mIoU, intervals, adjusted IoU
5. `report`, `figures` Markdown, JSON, PNG
"""
