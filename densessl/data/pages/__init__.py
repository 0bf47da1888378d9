"""Documents of several pages: PDF (`pdf`, by way of a process of its own, `renderer`) and TIFF (`tiff`).

How they become images of a source stands in `densessl.data.sources.pages`.
"""

SIDE = 1024  # pixels of the longest side of a page unless page_side= says otherwise: 88 dpi on A4, legible by eye
