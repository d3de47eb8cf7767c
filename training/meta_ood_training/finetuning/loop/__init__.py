"""
From a batch to the weights that are kept.

1.  `starting_network`  config -> the network with the weights it starts from
2.  `modes`             which parts of it behave as in training
3.  `cpu_layers`        layers with fast gradients on a CPU
4.  `losses`            entropy maximization: the definition
5.  `objective`         low-resolution logits -> the objective at the size of the target
6.  `fused_loss`, `value_tables`  the same in one pass on the CPU
7.  `kinds`             the objective that the configuration names, with heads; `prior_loss`: that
    of a prior network
8.  `schedule`          step -> learning rate
9.  `module`            one training step (Lightning)
10. `validation`        select frames with pasted select objects -> scores
11. `checkpoints`       where a killed run goes on; the best weights and the last
12. `run_log`           its log: `csv_rows`, and `curves` drawn of them
"""
