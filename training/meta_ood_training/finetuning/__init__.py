"""
The rooms of `meta-ood-train finetune`, in the order of the data.

label_sets: what a label value allows -> a teacher's probabilities restricted to it.
street: config -> street sources, proxies and objects.
batches: (epoch, position) -> samples -> batches; where a resumed run goes on.
starting_network: config -> the network with the weights it starts from.
schedule: step -> learning rate.
modes: which parts of the network behave as in training.
module: one training step (Lightning).
validation: select frames with pasted select objects -> scores; which checkpoint is best.
checkpoints: where a killed run goes on; the best weights and the last.
whole_files: files that are whole or absent.
run_log: CSV and curves.
dry_run: data, memory and one step, before hours are spent.
"""
