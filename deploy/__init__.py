"""Ways to run the pipeline: on this machine (local), in containers (docker), on AWS (aws)."""
