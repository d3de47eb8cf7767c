"""
From predictions to errors and reasons.

1. `segment_errors`   segments and which are accepted -> the errors of tables 2 and 3
2. `group_intervals`  errors of groups -> 95 % intervals
3. `decisions`        a fit -> what it accepts and publishes, at each core threshold
4. `evaluation`       every number for one entropy threshold
5. `comparison`       before against after, thresholds chosen off the test
6. `explain`          which metrics matter, overall and for one segment; `tree_shares`: in trees
7. `explanation`      the same as a section of the report
8. `decision_pictures`  explained segments in their images
"""
