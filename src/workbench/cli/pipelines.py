"""``workbench pipelines list | inspect``."""

from __future__ import annotations

import typer

from workbench.cli.output import Json, show

app = typer.Typer(help="Production jobs.", no_args_is_help=True)


@app.command("list")
def list_pipelines(as_json: Json = False) -> None:
    """The pipelines of this installation."""
    from workbench.jobs.pipelines import load_pipeline, pipeline_names
    from workbench.settings import load_settings

    folder = load_settings().pipelines_dir
    rows = []
    for name in pipeline_names(folder):
        pipeline = load_pipeline(name, folder)
        rows.append({"pipeline": name, "schedule": str(pipeline.schedule), "description": pipeline.description})
    show(rows, ["pipeline", "schedule", "description"], as_json=as_json, empty=f"no pipelines in {folder}")


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
