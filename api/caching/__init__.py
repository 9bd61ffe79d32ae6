"""Responses kept in memory, when they are to be computed again, and when a client has them already.

What they say belongs to the package of their endpoint.
"""
