"""`python -m densessl.box RUN [--out FOLDER]`: the detector of a run, or its backbone, becomes the one in the box."""

import argparse

from densessl.box import pack
from densessl.errors import UserError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m densessl.box", description="Put a run's detector, or its backbone, into the box."
    )
    parser.add_argument("run", help="a run's folder, as `densessl pretrain` or `densessl detect train` wrote it")
    parser.add_argument("--out", help="another folder than the box of this installation, which is overwritten")
    given = parser.parse_args()
    try:
        pack(given.run, *filter(None, [given.out]))
    except UserError as error:
        parser.error(str(error))
