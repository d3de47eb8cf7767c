"""
Where the accepted segments of a frame are, as far as depth or the ground can say.

1. `depth_topics`  the topics of a camera's depth, and who is told what arrives on them
2. `depth`         depth images and camera_info of one camera -> what belongs to an image of it
3. `ground_frame`  the ground as tf2 knows it -> the plane in the frame of an image
4. `obstacles`     the 3D outputs of one camera
"""
