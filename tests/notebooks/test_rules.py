"""The notebooks that ship keep the house rules, and every pipeline can be loaded and bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.jobs.lint import lint
from workbench.jobs.parameters import read_parameters
from workbench.jobs.pipelines import load_pipeline, pipeline_names

ROOT = Path(__file__).parent.parent.parent
RESEARCH = sorted((ROOT / "notebooks").glob("*.ipynb"))
JOBS = sorted((ROOT / "pipelines").glob("*.ipynb"))


def test_there_are_notebooks_to_check():
    assert RESEARCH
    assert JOBS


@pytest.mark.parametrize("notebook", RESEARCH, ids=lambda path: path.name)
def test_a_research_notebook_keeps_the_rules(notebook):
    assert [str(violation) for violation in lint(notebook)] == []


@pytest.mark.parametrize("notebook", JOBS, ids=lambda path: path.name)
def test_a_job_keeps_the_rules(notebook):
    assert [str(violation) for violation in lint(notebook, is_job=True)] == []


@pytest.mark.parametrize("name", pipeline_names(ROOT / "pipelines"))
def test_a_pipeline_and_the_parameters_of_its_notebooks_can_be_read(name):
    pipeline = load_pipeline(name, ROOT / "pipelines")
    declared = {parameter for notebook in pipeline.notebooks for parameter in read_parameters(notebook).names}
    # Names that no notebook declares would be refused when the pipeline is run.
    assert set(pipeline.parameters) <= declared
