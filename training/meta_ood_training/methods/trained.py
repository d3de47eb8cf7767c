"""
Methods that train the segmentation again, or a block beside it: one bundle each.

The artefact of such a method is the directory of the bundle that `meta-ood-train bundle` makes of
its run (config/finetune_<method>.yaml); what was trained beside the network lies in it, too.
"""

from collections.abc import Callable

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.networks import OodNetwork
from meta_ood_ros.core.scorers import EntropyScorer, Scorer
from meta_ood_training.heads.beside import JoinedNetwork, NetworkWithHead
from meta_ood_training.heads.dirichlet import Measure
from meta_ood_training.heads.head_file import find_head
from meta_ood_training.heads.scorers import DirichletScorer, scorer_of, SCORERS
from meta_ood_training.methods.method import Method, MethodNeedsError, Setup


def load_trained(setup: Setup, method: str, kind: str) -> OodNetwork:
    """
    Return the network of a method's bundle, its head's planes behind its logits.

    Parameters
    ----------
    kind : str
        What the head of the bundle must be of; '' where it must have none.

    """
    directory = setup.artefact(method)
    bundle = load_bundle(directory)
    head = find_head(directory)
    found = head.kind if head else ''
    if found != kind:
        raise MethodNeedsError(
            f'{method} needs the bundle of a run with {kind or "no head"}, got {directory}, which '
            f'has {found or "no head"}. Train it with config/finetune_{method}.yaml and export it.'
        )
    for name in ('class_names', 'input_mean', 'input_std'):
        own, other = (tuple(getattr(one, name)) for one in (setup.bundle, bundle))
        if own != other:
            raise MethodNeedsError(
                f'{method} needs a bundle with the {name} of the one that is judged, got others '
                f'in {directory}. Train it on the same classes and images.'
            )
    network = bundle.build_network()
    if head is not None:
        network = head.attach(network, sha256=bundle.network_sha256)
    return JoinedNetwork(network).eval() if isinstance(network, NetworkWithHead) else network


def _loader(method: str, kind: str) -> Callable[[Setup], OodNetwork]:
    return lambda setup: load_trained(setup, method, kind)


def _entropy(name: str, paper: str, summary: str) -> Method:
    def build(setup: Setup) -> Scorer:
        return EntropyScorer(align_corners=setup.align_corners)

    return Method(
        name,
        paper,
        summary,
        build,
        retrains=True,
        uses_ood_data=True,
        load_network=_loader(name, ''),
    )


def _with_head(kind: str, paper: str, summary: str, *, retrains: bool = True) -> Method:
    assert kind in SCORERS

    def build(setup: Setup) -> Scorer:
        return scorer_of(kind, align_corners=setup.align_corners)

    return Method(
        kind,
        paper,
        summary,
        build,
        retrains=retrains,
        uses_ood_data=True,
        load_network=_loader(kind, kind),
    )


def _dirichlet(name: str, summary: str, measure: Measure) -> Method:
    def build(setup: Setup) -> Scorer:
        return DirichletScorer(align_corners=setup.align_corners, measure=measure)

    return Method(
        name,
        'Malinin & Gales, NeurIPS 2018; Blum et al., IJCV 2021, eq. 3',
        summary,
        build,
        retrains=True,
        uses_ood_data=True,
        load_network=_loader('dirichlet', 'dirichlet'),
    )


TRAINED: tuple[Method, ...] = (
    _entropy(
        'entropy_maximization',
        'Chan et al., ICCV 2021',
        'softmax entropy of a network trained to have it on OoD proxies',
    ),
    _entropy(
        'void_entropy',
        'Blum et al., IJCV 2021',
        'softmax entropy of a network trained to have it on void pixels',
    ),
    _with_head('void_class', 'Blum et al., IJCV 2021', 'probability of void, a class of its own'),
    _dirichlet('dirichlet', 'differential entropy of a prior network', 'differential_entropy'),
    _dirichlet(
        'dirichlet_mutual_information',
        'mutual information of class and softmax of a prior network',
        'mutual_information',
    ),
    _dirichlet('dirichlet_precision', '-log of the concentration of a prior network', 'precision'),
    _with_head(
        'outlier_head', 'Bevandic et al., GCPR 2019', 'probability that a second decoder gives'
    ),
    _with_head(
        'residual_head',
        'after Liu et al., ICCV 2023',
        'entropy of logits that a block beside the frozen network lifts',
        retrains=False,
    ),
)
