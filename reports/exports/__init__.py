"""A run in the forms that other tools read. One module a form, each with `write(run, target)`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError
from bench.storage import write_atomically

FOLDER = "exports"


class Form(NamedTuple):
    """What `paceline export --to` can make.

    place    name of the file or folder it becomes, below the run's folder of exports
    module   None: a document that `reports.render` makes, and else it has `write(run, target)`
    needs    packages that must be importable, which the extra of the form's own name brings
    hint     what to do with it, {target} being where it is
    """

    place: str
    module: str | None = None
    needs: tuple[str, ...] = ()
    hint: str | None = None


FORMS = {
    "html": Form("report.html"),
    "csv": Form("rows.csv"),
    "json": Form("report.json"),
    "md": Form("report.md"),
    "text": Form("report.txt"),
    "parquet": Form("parquet", "reports.exports.tables"),
    "charts": Form("charts", "reports.exports.charts"),
    "trace": Form("trace.json.gz", "reports.exports.trace", hint="https://ui.perfetto.dev opens it; it stays here"),
    "tensorboard": Form(
        "tensorboard", "reports.exports.event_files", ("tensorboardX",), "tensorboard --logdir {target}"
    ),
    "mlflow": Form(
        "mlflow",
        "reports.exports.mlflow_store",
        ("mlflow", "sqlalchemy", "alembic"),
        "mlflow ui --backend-store-uri sqlite:///{target}/mlflow.db",
    ),
    "wandb": Form("wandb", "reports.exports.wandb_offline", ("wandb",), "wandb sync {target}/wandb/offline-*"),
}


def write(run_folder: Path, form: str, target: Path) -> None:
    """Makes `target`, a file or a folder to which files are added. Raises UserError."""
    import reports
    from reports.load import load

    made = FORMS[form]
    if made.module is None:
        content = reports.render(run_folder, form)
        write_atomically(target, content if isinstance(content, bytes) else content.encode())
        return
    if reports.is_sweep(run_folder):
        _write_sweep(run_folder, form, target)
        return
    missing = [package for package in made.needs if find_spec(package) is None]
    if missing:
        is_ = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"--to {form} needs {', '.join(missing)}, which {is_} not installed: pip install 'paceline[{form}]'"
        )
    import_module(made.module).write(load(run_folder), target)


def _write_sweep(folder: Path, form: str, target: Path) -> None:
    if form != "charts":
        raise UserError(f"--to {form} takes a run of `paceline run`; {folder} holds collectives")
    from reports import collectives
    from reports.exports import charts

    charts.write_sweep(collectives.load(folder), target)


def new_folder(target: Path, name: str) -> Path:
    """`name` in `target`, made. Raises UserError where it is already: what is there is never mixed with what is new."""
    folder = target / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"{folder} is there already: remove it, or give another place with -o") from None
    return folder
