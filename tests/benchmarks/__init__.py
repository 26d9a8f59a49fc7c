"""bin/bench: what perftrack costs, as ratios against something real, measured side by side in one run."""
