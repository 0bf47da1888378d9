"""Masks that follow the edges of their pictures."""
