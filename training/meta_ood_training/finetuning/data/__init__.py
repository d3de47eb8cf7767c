"""
From a configuration to batches, in the order of the data.

1. `street`         config -> street sources, proxies and objects, opened and checked; `void`:
   their unlabelled pixels as examples of the unknown
2. `scene_samples`  procedural street scenes -> samples
3. `mixing`         street data + OoD proxies -> the samples of one epoch
4. `augmentation`   sample -> square training crop
5. `pasting`        OoD objects onto street crops; `object_groups`: several of them
   close together; `hard_negatives`: shadows and paint
6. `label_sets`     what a label value allows -> a teacher's probabilities restricted to it
7. `batches`        (epoch, position) -> samples -> batches; where a resumed run goes on
8. `loaders`        who reads the samples of a run
"""
