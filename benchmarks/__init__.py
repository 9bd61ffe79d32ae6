"""`make bench`: what the pipeline costs, as ratios against what people would use instead, measured in one run."""
