"""
A new domain without labels: a robot's own recordings -> the network and its filter, adapted.

1. `options`     what may be chosen
2. `stretches`   times of frames -> what trains, what fits the filter, what judges, and gaps
3. `recordings`  bags, videos, folders of images -> the chosen frames, and masks over them
4. `taught`      frames -> folders of images, with what the starting network is sure of
5. `unknown`     objects to paste: for training, for the filter, for the judgement
6. `pasted`      stretches + objects -> labelled sets
7. `recipe`      bundle + places -> the configuration of `finetune`
8. `judging`     bundles on such a set; `old_domain` shows what was forgotten
9. `report`      before and after, in numbers and a figure
10. `stages`     all of it in turn, each stage once
11. `adapt_run`  `adapt`, the door

`command` is the verb.
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.adaptation.adapt_run import adapt as adapt
    from meta_ood_training.adaptation.options import AdaptOptions as AdaptOptions
    from meta_ood_training.adaptation.stages import AdaptResult as AdaptResult

__getattr__ = export_lazily(
    __name__, {'adapt': 'adapt_run', 'AdaptResult': 'stages', 'AdaptOptions': 'options'}
)
