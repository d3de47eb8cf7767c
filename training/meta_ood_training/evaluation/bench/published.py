"""Tables of the papers as they are printed, beside our own and never among them."""

from typing import NamedTuple


class Printed(NamedTuple):
    """A row of a paper; None where it prints nothing."""

    method: str
    average_precision: float | None
    fpr95: float | None
    mean_iou: float | None
    retrains: bool | None = None
    uses_ood_data: bool | None = None
    seconds: float | None = None


class PrintedTable(NamedTuple):
    """A part of a table, for one test set."""

    source: str
    data: str
    rows: tuple[Printed, ...]


_CHAN = 'Chan et al., ICCV 2021, table 1'
_BLUM = 'Blum et al., IJCV 2021, table 1 (one GeForce 1080 Ti)'

#: As printed: AP and mIoU in [0, 1]; Chan et al. give mIoU on Cityscapes val of their network.
PUBLISHED: tuple[PrintedTable, ...] = (
    PrintedTable(
        _CHAN,
        'LostAndFound test',
        (
            Printed('DualGCN + entropy', 0.36, 0.30, 0.80),
            Printed('DualGCN + OoD training + entropy', 0.51, 0.12, 0.76),
            Printed('PSPNet + image resynthesis', 0.41, None, 0.80),
            Printed('DeepV3W + max softmax', 0.27, 0.32, 0.90),
            Printed('DeepV3W + ODIN', 0.46, 0.45, 0.90),
            Printed('DeepV3W + MC dropout', 0.55, 0.21, 0.88),
            Printed('DeepV3W + Mahalanobis', 0.48, 0.27, 0.90),
            Printed('DeepV3W + entropy', 0.46, 0.35, 0.90),
            Printed('DeepV3W + OoD training + entropy', 0.76, 0.09, 0.89),
        ),
    ),
    PrintedTable(
        _CHAN,
        'Fishyscapes val',
        (
            Printed('DualGCN + entropy', 0.07, 0.46, 0.80),
            Printed('DualGCN + OoD training + entropy', 0.38, 0.21, 0.76),
            Printed('DeepV3W + max softmax', 0.17, 0.21, 0.90),
            Printed('DeepV3W + ODIN', 0.39, 0.12, 0.90),
            Printed('DeepV3W + MC dropout', 0.26, 0.23, 0.88),
            Printed('DeepV3W + Mahalanobis', 0.55, 0.14, 0.90),
            Printed('DeepV3W + entropy', 0.28, 0.18, 0.90),
            Printed('DeepV3W + OoD training + entropy', 0.81, 0.05, 0.89),
        ),
    ),
    PrintedTable(
        _CHAN,
        'Fishyscapes Static',
        (
            Printed('DeepV3P + image resynthesis', 0.30, 0.27, 0.80),
            Printed('DeepV3S + learned density', 0.62, 0.17, 0.81),
            Printed('DeepV3W + OoD training + entropy', 0.87, 0.09, 0.89),
        ),
    ),
    PrintedTable(
        _BLUM,
        'FS Lost & Found',
        (
            Printed('random', 0.003, 0.950, 0.803, False, False),
            Printed('softmax: max-probability', 0.018, 0.448, 0.803, False, False, 0.05),
            Printed('softmax: entropy', 0.029, 0.448, 0.803, False, False, 0.29),
            Printed('kNN embedding: density', 0.035, 0.300, 0.803, False, False, 7.89),
            Printed(
                'kNN embedding: relative class density', 0.008, 1.0, 0.803, False, False, 6.45
            ),
            Printed('image resynthesis', 0.057, 0.481, 0.814, False, False, 2.39),
            Printed('learned density: single-layer NLL', 0.030, 0.329, 0.803, False, False, 0.29),
            Printed('learned density: minimum NLL', 0.043, 0.472, 0.803, False, False, 1.53),
            Printed(
                'learned density: logistic regression', 0.047, 0.244, 0.803, False, True, 1.53
            ),
            Printed('SynBoost', 0.432, 0.158, 0.814, False, True, 2.32),
            Printed(
                'Bayesian DeepLab: mutual information', 0.098, 0.385, 0.738, True, False, 3.62
            ),
            Printed('outlier head: fixed patches', 0.157, 0.769, 0.777, True, True, 0.12),
            Printed('outlier head: random patches', 0.212, 0.369, 0.773, True, True, 0.12),
            Printed('outlier head: combined', 0.309, 0.222, 0.773, True, True, 0.12),
            Printed('OoD training: max-entropy', 0.017, 0.306, 0.790, True, True, 0.29),
            Printed('OoD training: void classifier', 0.103, 0.221, 0.704, True, True, 0.05),
            Printed('Dirichlet DeepLab: prior entropy', 0.343, 0.474, 0.705, True, True, 0.05),
        ),
    ),
    PrintedTable(
        _BLUM,
        'FS Static',
        (
            Printed('random', 0.025, 0.950, 0.803, False, False),
            Printed('softmax: max-probability', 0.129, 0.398, 0.803, False, False, 0.05),
            Printed('softmax: entropy', 0.154, 0.398, 0.803, False, False, 0.29),
            Printed('kNN embedding: density', 0.440, 0.202, 0.803, False, False, 7.89),
            Printed(
                'kNN embedding: relative class density', 0.158, 1.0, 0.803, False, False, 6.45
            ),
            Printed('image resynthesis', 0.296, 0.271, 0.814, False, False, 2.39),
            Printed('learned density: single-layer NLL', 0.409, 0.215, 0.803, False, False, 0.29),
            Printed('learned density: minimum NLL', 0.621, 0.174, 0.803, False, False, 1.53),
            Printed(
                'learned density: logistic regression', 0.572, 0.134, 0.803, False, True, 1.53
            ),
            Printed('SynBoost', 0.726, 0.188, 0.814, False, True, 2.32),
            Printed(
                'Bayesian DeepLab: mutual information', 0.487, 0.155, 0.738, True, False, 3.62
            ),
            Printed('outlier head: fixed patches', 0.829, 0.051, 0.777, True, True, 0.12),
            Printed('outlier head: random patches', 0.862, 0.024, 0.773, True, True, 0.12),
            Printed('outlier head: combined', 0.840, 0.103, 0.773, True, True, 0.12),
            Printed('OoD training: max-entropy', 0.275, 0.236, 0.790, True, True, 0.29),
            Printed('OoD training: void classifier', 0.450, 0.194, 0.704, True, True, 0.05),
            Printed('Dirichlet DeepLab: prior entropy', 0.313, 0.846, 0.705, True, True, 0.05),
        ),
    ),
)
