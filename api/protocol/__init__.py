"""HTTP itself: connections, parameters, problem documents and the documentation of the API.

What every request passes through is in `api.middleware`, what a request is for in the package of its endpoint.
"""
