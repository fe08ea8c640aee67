"""A notebook between the start of its kernel and its end, as the thread that waits for it sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from workbench.errors import JobError, NotebookFailed
from workbench.jobs.engine import CellProgress, Gate
from workbench.jobs.staged import StagedNotebook


@pytest.mark.parametrize(("begun", "is_nearly_over"), [(0, False), (5, False), (6, True), (8, True)])
def test_a_notebook_is_nearly_over_when_three_quarters_of_its_cells_have_begun_or_it_has_ended(
    begun: int, is_nearly_over: bool
) -> None:
    reached, go_on, seen = threading.Event(), threading.Event(), []

    def work(on_cell: Callable[[CellProgress], None], **_: object) -> None:
        for number in range(1, begun + 1):
            on_cell(CellProgress(number, 8, "running", 0.0))
        reached.set()
        go_on.wait()
        raise NotebookFailed("whatever")

    staged = StagedNotebook(Gate(), threading.Event(), work, on_cell=seen.append)
    waiting = threading.Thread(target=staged.wait_until_nearly_over)
    waiting.start()
    staged.start()
    reached.wait()
    if is_nearly_over:
        waiting.join()
    assert waiting.is_alive() is not is_nearly_over
    go_on.set()
    waiting.join()
    assert [progress.number for progress in seen] == list(range(1, begun + 1))
    with pytest.raises(NotebookFailed):
        staged.finish()


def test_what_comes_up_after_a_notebook_has_succeeded_is_told_at_the_end_of_its_run() -> None:
    def work(when_over: Callable[[], None], **_: object) -> None:
        when_over()
        raise JobError("its kernel does not go")

    staged = StagedNotebook(Gate(), threading.Event(), work, on_cell=lambda progress: None)
    staged.start()
    staged.finish()
    with pytest.raises(JobError, match="does not go"):
        staged.see_off()


def test_a_notebook_that_failed_and_was_tried_again_is_seen_off_without_a_word() -> None:
    def work(**_: object) -> None:
        raise NotebookFailed("the first time")

    staged = StagedNotebook(Gate(), threading.Event(), work, on_cell=lambda progress: None)
    staged.start()
    with pytest.raises(NotebookFailed):
        staged.finish()
    staged.see_off()
