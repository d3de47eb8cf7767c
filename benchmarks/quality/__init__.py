"""
No times: what is found, and how well it is placed.

* `found_objects` in rendered scenes, `place_errors` there
* `leave_one_domain_out` what is decided on streets that no meta classifier was fitted on
"""
