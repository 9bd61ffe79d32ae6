"""POST /employees: batches of hires into schema raw.

What became of a batch is in `api.pipeline`, the rules of its fields in `contracts`.
"""
