"""What is done for every request before it comes to its endpoint: one duty each, in the order of `api.main`.

What only some endpoints need is a dependency instead (`api.dependencies`).
"""
