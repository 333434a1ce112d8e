"""The page: its tabs, texts and look, and the studies and runs that it shows."""
