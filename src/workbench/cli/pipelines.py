"""``workbench pipelines list | inspect``."""

from __future__ import annotations

import typer

from workbench.cli.output import Json, show

app = typer.Typer(help="Production jobs.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="pipelines")


@app.command("list")
def list_pipelines(as_json: Json = False) -> None:
    """The pipelines of this installation; broken ones are named below, and make the command exit with 64."""
    from workbench.errors import ConfigError
    from workbench.jobs.pipelines import load_pipelines
    from workbench.settings import load_settings

    folder = load_settings().pipelines_dir
    loaded = load_pipelines(folder)
    rows = [
        {"pipeline": name, "schedule": pipeline.schedule, "description": pipeline.description}
        for name, pipeline in sorted(loaded.good.items())
    ]
    show(rows, ["pipeline", "schedule", "description"], as_json=as_json, empty=f"no pipelines in {folder}")
    if loaded.broken:
        raise ConfigError("; ".join(str(error) for error in loaded.broken.values()))


@app.command()
def inspect(pipeline: str, as_json: Json = False) -> None:
    """The parameters of a pipeline's notebooks: type, default, comment."""
    from dataclasses import asdict

    from workbench.jobs.parameters import read_parameters
    from workbench.jobs.pipelines import load_pipeline
    from workbench.settings import load_settings

    loaded = load_pipeline(pipeline, load_settings().pipelines_dir)
    rows = [
        {"step": step.name, **asdict(row)}
        for step in loaded.steps
        for row in read_parameters(loaded.notebook_path(step)).describe()
    ]
    show(rows, ["step", "name", "type", "default", "comment"], as_json=as_json, empty="it takes no parameters")
