"""Where images come from: one call opens whatever the user has, and every source is read the same way."""

from densessl.data.sources.base import Source
from densessl.data.sources.opening import open_source
from densessl.data.sources.subset import Subset, limited
from densessl.data.sources.unreadable import Unreadable

__all__ = ["Source", "Subset", "Unreadable", "limited", "open_source"]
