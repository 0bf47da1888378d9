"""The command that is recorded can be typed again."""

from __future__ import annotations

import shlex

from densessl.environment import environment
from densessl.evaluation.record import surroundings

ARGUMENTS = ["/usr/local/bin/densessl", "pretrain", "dino-small", "data=my photos", "out=it's here"]


def test_the_command_is_quoted_as_a_shell_reads_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ARGUMENTS)
    assert shlex.split(environment()["command"]) == ["densessl", *ARGUMENTS[1:]]


def test_a_record_has_the_command_once_and_beside_the_environment(monkeypatch):
    monkeypatch.setattr("sys.argv", ARGUMENTS)
    found, plain = surroundings(), environment()
    assert found == {"command": plain.pop("command"), "environment": plain}
    assert {"python", "cores", "gpus", "versions"} <= set(plain)
