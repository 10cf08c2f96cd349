from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.cli import cli


@pytest.mark.parametrize("command", [[], ["hosts"]])
def test_no_command_is_described_by_half_a_sentence(command):
    shown = CliRunner().invoke(cli, [*command, "--help"], terminal_width=80).output
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert lines and all(line.endswith(".") and "..." not in line and len(line) <= 80 for line in lines)
