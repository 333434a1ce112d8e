"""The tabs of the page, one file each: `build(engine)` creates a tab's components in the current Blocks."""
