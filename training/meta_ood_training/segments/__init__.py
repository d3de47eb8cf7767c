"""
Images or bags with ground truth -> Parquet, one row a segment, and back into arrays.

1.  `command`            `meta-ood-train segments`
2.  `sources`            its options -> data sets, scenes and bags
3.  `labelled_frames`, `labelled_bags`  their images with truth, one at a time
4.  `stamp_matching`     messages of several topics -> those of equal stamp
5.  `labels`             segments of one image + its target -> which are true
6.  `extraction`         bundle + labelled image -> rows, for several entropy thresholds
7.  `recorded_segments`, `recorded_rows`  the same from what a node has published
8.  `table`              rows <-> Parquet
9.  `folders`            folders of segments -> what they share
10. `loading`            Parquet -> the segments of one entropy threshold
11. `segment_set`        these segments as arrays
"""
