"""
From predictions to errors and reasons.

1. `segment_errors`   segments and which are accepted -> the errors of tables 2 and 3
2. `group_intervals`  errors of groups -> 95 % intervals
3. `evaluation`       every number for one entropy threshold
4. `comparison`       before against after, thresholds chosen off the test
5. `explain`          which metrics matter, overall and for one segment; `tree_shares`: in trees
6. `explanation`      the same as a section of the report
7. `decision_pictures`  explained segments in their images
"""
