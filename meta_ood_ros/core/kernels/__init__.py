"""
How the core is fast, not what it is: each room computes what a definition in `core` says.

`dense_cpu`, `dense_tiles`, `dense_torch`, `dense_triton`  logits -> entropy, semantic, confidence
`interpolation`, `strips`, `lanes`               bilinear logits and exponentials, vectorised
`raster`                                         connected components in raster order
`segment_marks`, `segment_softmax`, `segment_sums`, `segment_sums_from_logits`  sums of segments
`depth_samples`, `depth_modes`                    the depths of segments, for `places`
`jit`, `parallel`, `warm_up`, `memory`, `host_copy`  compiled when, on which cores, in which memory
"""
