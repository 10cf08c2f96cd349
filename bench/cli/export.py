"""`paceline export`: a run in the forms that other tools read."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bench.errors import UserError
from reports.exports import FOLDER, FORMS


@click.command(short_help="Write a run as a document, tables, charts or logs.")
@click.argument("run_folder", type=Path, metavar="RUN")
@click.option("--to", "form", type=click.Choice(list(FORMS)), required=True)
@click.option("-o", "--output", type=Path, help="Where to; `-`: standard output.  [default: RUN/exports]")
def export(run_folder: Path, form: str, output: Path | None) -> None:
    """Write RUN in another form: a document, tables, charts, or files for a tracker of experiments.

    \b
    html csv json md text   one document, as `paceline report` makes it
    parquet                 every table of the report, typed; windows.parquet is in RUN already
    charts                  each chart as SVG and PNG
    trace                   the timelines of `paceline trace` as one file for ui.perfetto.dev
    tensorboard             event files                     pip install 'paceline[tensorboard]'
    mlflow                  a local file store              pip install 'paceline[mlflow]'
    wandb                   offline runs, to sync by hand   pip install 'paceline[wandb]'
    """
    import reports
    from bench.assemble import assemble
    from reports import exports

    if not reports.is_sweep(run_folder):
        assemble(run_folder.resolve())
    made = FORMS[form]
    if str(output) == "-":
        if made.module is not None:
            raise UserError(f"--to {form} writes files: give a place for them with -o")
        click.echo(reports.render(run_folder, form), nl=False)
        return
    target = output or run_folder / FOLDER / made.place
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        exports.write(run_folder, form, target)
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}") from None
    click.echo(str(target))
    if made.hint:
        click.echo(made.hint.format(target=shlex.quote(str(target))), err=True)
