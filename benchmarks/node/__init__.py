"""
What the node adds in time and memory.

* `node_overhead` against a pass-through node, `node_memory` against `forward_pass`
* `ros_camera` asks the programs of `ros_programs`; `process_memory` is what they hold
"""
