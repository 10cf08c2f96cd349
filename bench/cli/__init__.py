"""The `paceline` command. The only package that prints or exits; everything heavy is imported when it is needed.

One module per group of commands. Exit status: 0 all is fine, 1 a trial failed (its row says why) or a check found
what it looks for, 2 the request was wrong, 3 a check could not decide, 75 told to end (SIGTERM), 130 interrupted.
"""

from __future__ import annotations

import sys

import click

import bench
from bench.cli.check import check
from bench.cli.collectives import collectives
from bench.cli.compare import compare
from bench.cli.export import export
from bench.cli.hosts import hosts
from bench.cli.importing import import_
from bench.cli.look import doctor, init
from bench.cli.report import fsck, report
from bench.cli.run import plan, run
from bench.cli.selfcheck import selfcheck
from bench.cli.site import site
from bench.cli.trace import trace
from bench.cli.verify import verify
from bench.errors import UserError
from bench.quoting import printable

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main() -> None:
    """The console script: one handler for expected errors, one line each."""
    try:
        status = cli(prog_name="paceline", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except click.exceptions.Abort:
        sys.exit(_complain("interrupted", 130))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        sys.exit(_complain(f"{error.filename or 'input or output'}: {error.strerror}", 2))


def _complain(sentence: str, status: int) -> int:
    click.echo(f"paceline: {printable(sentence)}", err=True)
    return status


@click.group(context_settings=CONTEXT)
@click.version_option(bench.__version__, prog_name="paceline")
def cli() -> None:
    """Benchmarks of distributed training that people can trust: one BERT, every stack, the same work."""


for command in (
    doctor,
    init,
    plan,
    run,
    report,
    export,
    verify,
    check,
    import_,
    fsck,
    hosts,
    collectives,
    compare,
    selfcheck,
    site,
    trace,
):
    cli.add_command(command)
