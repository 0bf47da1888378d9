"""Run a launcher of detectron2's own, such as its tools/lazyconfig_train_net.py, once detectron2 is made ready.

python -m densessl.documents.detectron2 tools/lazyconfig_train_net.py --config-file configs/detectron2/coco.py ...

An installed main branch needs none of it: `python tools/lazyconfig_train_net.py` does. Release 0.6 does not start by
itself with today's Pillow.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from detectron2.engine import default_argument_parser, launch

from densessl.errors import UserError


def main(arguments: list[str]) -> None:
    """The launcher's `main` with its own arguments, in as many processes as they say."""
    script = Path(arguments[0] if arguments else "").expanduser()
    if script.suffix != ".py" or not script.is_file():
        raise UserError(f"Name a launcher first, such as tools/lazyconfig_train_net.py; {script} is none.")
    # By its name, so that the processes of other GPUs, which import it anew, find it too.
    sys.path.insert(0, str(script.parent.resolve()))
    run = importlib.import_module(script.stem).main
    args = default_argument_parser().parse_args(arguments[1:])
    places = {name: getattr(args, name) for name in ("num_machines", "machine_rank", "dist_url")}
    launch(run, args.num_gpus, **places, args=(args,))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
