"""
Between ROS messages and arrays; what is decoded here needs no ROS, what is built here does.

1. `encodings`         bytes of a camera image -> (H, W, 3) uint8 RGB
2. `compressed`        bytes of a JPEG, PNG or other image file -> (H, W, 3) uint8 RGB
3. `conversions`       sensor_msgs <-> arrays
4. `received_grid`     work grid (h, w) -> the pixels of the received image (H, W)
5. `pictures`          OodResult -> the image messages of one frame
6. `segment_messages`  OodResult -> the messages about segments
7. `vision_messages`   segments and class names -> vision_msgs, where installed
8. `depth_messages`    depth image and CameraInfo -> array and camera model
9. `obstacle_messages` where segments are -> obstacles, points, markers, 3D detections

`sixteen_bits` scales samples to bytes for 1 and 2; `foreign_encodings` asks cv_bridge about what
1 does not know.
"""
