"""
Image resynthesis: what cannot be generated from its predicted classes is unknown, rows "small".

Lis et al. (ICCV 2019): class map -> generator -> discrepancy network. Di Biase et al. (CVPR 2021,
SynBoost): softmax entropy, softmax distance and perceptual difference beside it, in an ensemble.

 1. `settings`         how large and how long
 2. `frames`           labelled frames with what the network predicts; `class_maps`: of its logits
 3. `generator`        class map -> image
 4. `feature_levels`   image -> features of the frozen network, their perceptual difference
 5. `label_swaps`      class map -> one that is wrong in known places
 6. `comparison`       image beside its resynthesis
 7. `discrepancy`      where both contradict each other
 8. `training`         `train_resynthesis`, of `trained_parts`, in `stages` of `training_steps`;
                       `command` is its verb
 9. `ensemble`         weights by grid search
10. `trained_files`    the result on the disk; `examples`: a picture of it
11. `scorers`          `resynthesis` and `synboost`
"""
