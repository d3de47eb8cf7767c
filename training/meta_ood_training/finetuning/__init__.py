"""
Fine-tuning for high entropy on OoD objects.

1. `command`        `meta-ood-train finetune`: config + data -> a network
2. `config`, `loop_config`  the records behind config/finetune_*.yaml
3. `config_reader`  YAML + `key=value` -> these records
4. `data`           config -> street frames with pasted objects, in batches
5. `loop`           batch -> loss -> step; validation, checkpoints, log
6. `dry_run`        data, memory and one step, before hours are spent
"""
