"""Detection through detectron2, release 0.6 or its main branch, with any backbone of the package.

Nothing else of densessl imports detectron2; whoever imports from here finds it made ready (`loader.py`), or reads in a
sentence how to install it. `configs/detectron2` has the recipes.
"""

from densessl.documents.detectron2.loader import prepare

prepare()
