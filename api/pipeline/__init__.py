"""What the pipeline did with what was delivered: the state of a batch, and what no metric shows.

How hires come in is in `api.employees`.
"""
