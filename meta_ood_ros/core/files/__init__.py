"""
Files that anyone may have written, read within bounds; ours, written as a whole or not at all.

1. `image_header`          first bytes -> format and size, before a decoder takes memory
2. `image_bytes`           is the file of an image whole
3. `image_file`            bytes of an image <-> pixels: the one place where a decoder runs
   `label_image`           label file -> the values that it states, however a tool stores them
4. `bounded_yaml`          YAML -> plain values, in time and memory that its size bounds
5. `tensor_header`         the header of a safetensors file, bounded before it is parsed
   `tensor_file`           a description and tensors <-> one such file, with a format's mark
6. `meta_classifier_file`  meta classifiers <-> one safetensors file; `score_file`: a fitted score
7. `bundle_description`    bundle.yaml <-> fields of a bundle; `bundle_checks`: what they may be
8. `bundle_sums`           the SHA-256 of each file of a bundle
9. `natural_order`         9.jpg before 10.jpg
10. `whole_files`, `whole_folders`  the old or the new whole, whenever the writer ends
"""
