"""The page: its tabs, its sentences, its look, and the studies and runs that it shows."""
