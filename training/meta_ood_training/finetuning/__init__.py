"""
Fine-tuning for high entropy on OoD objects.

1. `training_run`   `finetune`: config + data -> a network; `command` is its verb
2. `config`, `objective_config`, `loop_config`  the records behind config/finetune_*.yaml
3. `config_reader`  YAML + `key=value` -> these records; `run_config`: of one run, with its data;
   `run_classes`: the classes that its folders state
4. `data`           config -> street frames with pasted objects, in batches
5. `loop`           batch -> loss -> step; validation, checkpoints, log
6. `dry_run`        data, memory and one step, before hours are spent
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.finetuning.training_run import finetune as finetune
    from meta_ood_training.finetuning.training_run import FinetuneResult as FinetuneResult

__getattr__ = export_lazily(
    __name__, {'finetune': 'training_run', 'FinetuneResult': 'training_run'}
)
