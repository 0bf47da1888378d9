"""Documents of several pages: PDF (`pdf`, by way of a process of its own, `renderer`) and TIFF (`tiff`).

How they become images of a source stands in `densessl.data.sources.pages`.
"""
