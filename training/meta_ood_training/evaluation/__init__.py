"""
Bundles x data sets -> scores of pixels, and of published segments.

1. `command`           `meta-ood-train evaluate`
2. `prediction`        network -> semantic, entropy and max_probability at the size of the labels
3. `pixel_evaluation`  predictions on a data set, in one pass
4. `scores`            counts -> AUROC, AP, FPR95, mIoU, intervals, adjusted IoU
5. `report`, `figures` Markdown, JSON, PNG
6. `deployed_run`      `evaluate --segments`, of these rooms:
   `publishing`        bundle + labelled images -> the segments that the node would publish
   `deployed`          published segments -> found objects, false segments, reliability
   `deployed_report`   Markdown, JSON; `gallery`: the images with most errors
"""
