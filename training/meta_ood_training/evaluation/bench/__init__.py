"""
`evaluate --methods`: every OoD score of the papers on the same frames, in one table.

1. `run`         the whole way, from bundles, data and names of methods to the report
2. `fitting`     labelled frames to fit on, and the methods that can run
3. `counts`      one pass over the frames: all methods, and the time of each
4. `collected`   what was found, and its report
5. `component_f1`  a second pass: objects found at each method's best threshold; what took long in
   the first is not done again: `kept_scores`
6. `ranking`     counts -> rows sorted by AP, Markdown and JSON; `published`: of the papers, apart
7. `pictures`    curves of all methods, frames on which each was best and worst
"""
