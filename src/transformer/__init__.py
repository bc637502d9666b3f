"""A decoder-only transformer, written by hand: read it, train it, open it up.

Start with `config.py` (the shape legend), then follow the numbers in README.md.
"""
