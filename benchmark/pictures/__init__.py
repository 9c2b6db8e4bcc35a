"""Pictures: one palette, one layout of text, for every figure and page."""
