"""Self-supervised methods, one file a paper. See `densessl.methods.registry` for what a file must hold."""

from densessl.methods.registry import Entry, Images, Output, Progress, Sheet, method, methods, register

__all__ = ["Entry", "Images", "Output", "Progress", "Sheet", "method", "methods", "register"]
