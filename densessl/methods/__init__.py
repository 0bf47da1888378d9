"""Self-supervised methods, one file a paper. See `densessl.methods.registry` for what a file must hold."""

from densessl.methods.registry import Entry, Output, Progress, method, methods, register

__all__ = ["Entry", "Output", "Progress", "method", "methods", "register"]
