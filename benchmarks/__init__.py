"""`make bench`: the pipeline's performance as ratios to the tools that one would use instead, measured in one run.

Figures and how to measure them belong here, the programs that they are compared with in compared/. Correctness belongs
in tests, results and their interpretation in docs/performance.md.
"""
