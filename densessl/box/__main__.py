"""`python -m densessl.box RUN`."""

import sys

from densessl.box import pack

if __name__ == "__main__":
    pack(sys.argv[1])
