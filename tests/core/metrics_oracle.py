"""The segment metrics once more, pixel by pixel in plain Python, as their definition reads."""

import math

import numpy as np


def measure(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Return name -> one value a segment, from probabilities (C, H, W) and labels (H, W)."""
    num_classes, height, width = probabilities.shape
    table: dict[str, list[float]] = {}
    for k in range(1, labels.max(initial=0) + 1):
        pixels = [(y, x) for y in range(height) for x in range(width) if labels[y, x] == k]
        outside = {pixel: [] for pixel in pixels}
        for y, x in pixels:
            for i in (y - 1, y, y + 1):
                for j in (x - 1, x, x + 1):
                    if 0 <= i < height and 0 <= j < width and labels[i, j] == 0:
                        outside[y, x].append(int(probabilities[:, i, j].argmax()))
        boundary = [pixel for pixel in pixels if outside[pixel]]
        interior = [pixel for pixel in pixels if not outside[pixel]]
        row = {
            'size': len(pixels),
            'size_interior': len(interior),
            'size_boundary': len(boundary),
            'size_relative': len(pixels) / max(len(boundary), 1),
            'size_relative_interior': len(interior) / max(len(boundary), 1),
        }
        for name in ('entropy', 'margin', 'variation'):
            for statistic in ('mean', 'variance'):
                regions = {'': pixels, '_interior': interior, '_boundary': boundary}
                for suffix, region in regions.items():
                    values = [quantity(name, probabilities[:, y, x]) for y, x in region]
                    row[f'{name}_{statistic}{suffix}'] = statistics(values)[statistic]
                stem = f'{name}_{statistic}'
                row[f'{stem}_relative'] = row[stem] * row['size_relative']
                row[f'{stem}_relative_interior'] = (
                    row[f'{stem}_interior'] * row['size_relative_interior']
                )
        pairs = [c for pixel in pixels for c in outside[pixel]]
        for c in range(num_classes):
            values = [float(probabilities[c, y, x]) for y, x in pixels]
            row[f'probability_mean_{c}'] = math.fsum(values) / len(values)
            row[f'neighbour_share_{c}'] = pairs.count(c) / max(len(pairs), 1)
        row['centroid_row'] = sum(y for y, _ in pixels) / len(pixels)
        row['centroid_column'] = sum(x for _, x in pixels) / len(pixels)
        for name, value in row.items():
            table.setdefault(name, []).append(value)
    return table


def quantity(name: str, p: np.ndarray) -> float:
    """Return entropy, margin or variation of one pixel's probabilities."""
    p = [float(value) for value in p]
    best, second = sorted(p, reverse=True)[:2]
    if name == 'entropy':
        return -math.fsum(q * math.log(q) for q in p if q > 0) / math.log(len(p))
    return 1 - best + (second if name == 'margin' else 0)


def statistics(values: list[float]) -> dict[str, float]:
    """Return mean and population variance, 0 for no values."""
    if not values:
        return {'mean': 0.0, 'variance': 0.0}
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
    return {'mean': mean, 'variance': variance}
