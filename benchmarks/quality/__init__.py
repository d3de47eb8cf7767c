"""
No times: what is found, and how well it is placed.

* `found_objects` in rendered scenes, `place_errors` there
* `leave_one_domain_out` what is decided on streets that no meta classifier was fitted on
* `travelling_metrics` which metrics of segments say the same on every kind of street
"""
