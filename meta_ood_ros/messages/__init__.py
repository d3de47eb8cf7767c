"""
Between ROS messages and arrays; what is decoded here needs no ROS, what is built here does.

1. `encodings`         bytes of a camera image -> (H, W, 3) uint8 RGB
2. `compressed`        bytes of a JPEG, PNG or other image file -> (H, W, 3) uint8 RGB
3. `conversions`       sensor_msgs <-> arrays
4. `pictures`          OodResult -> the image messages of one frame, drawn by `core.pictures`
5. `segment_messages`  OodResult -> the messages about segments
6. `vision_messages`   segments and class names -> vision_msgs, where installed
7. `depth_messages`    depth image and CameraInfo -> array and camera model
8. `obstacle_messages` where segments are -> obstacles, points, markers, 3D detections

`sixteen_bits` scales samples to bytes for 1 and 2; `foreign_encodings` asks cv_bridge, where
it is installed, about what 1 does not know, and of 8 bits about what both know.
"""
