"""
The demonstration, `python -m meta_ood_ros.demo`: pictures through the real node, and what it says.

1. `__main__`       the command line
2. `run`            one run, from the start of the node to the table
3. `frames`         what is played: rendered streets, a folder of pictures, a bag
4. `node`           the node, in a process of its own
5. `player`         sends a frame, then waits for everything about it
6. `answers`        what is known about a frame once the node has answered
7. `truth`          published segments against the truth of a rendered scene
8. `pictures`       one picture about one frame
9. `contact_sheet`  many frames on one page
10. `top_view`      one frame from above: where objects are, and where they are placed
11. `report`        what was counted -> the table
12. `output`        the folder that a run fills
"""
