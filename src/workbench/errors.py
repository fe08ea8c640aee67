"""The whole error tree; the command line turns each leaf into one line and an exit code.

    WorkbenchError                       70
      ConfigError                        64   a bad argument, setting or file
        ParameterError                   64   a notebook parameter
      DataError                          65   a symbol, session or rule
      BrokerError                        69
        BrokerUnavailable                69   not sent, may be retried
          RateLimited                    69   not sent, the venue says when to come back
        OrderRejected                    69   refused by the venue, do not retry
        OrderUnknown                     69   may have been sent: reconcile, never resend
      JournalError                       74
      ReportsLocked                      75   another process holds the reports database
      MachineUnfit                       71   this machine is too sick to trade on
      JobError                           1
        NotebookFailed                   1
        RunOverlap                       75   already running or held elsewhere
        DeadlineMissed                   75
        StepTimeout                      124
        KernelDied                       138
        RunCancelled                     143

An expected "no" (a denied order, a closed market) is a value, never an exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkbenchError(Exception):
    """Base of every error the product raises on purpose. ``hint`` says what to do about it."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigError(WorkbenchError):
    """A bad argument or setting: what is wrong, in which file and key, and the nearest valid name."""

    exit_code = 64


class ParameterError(ConfigError):
    """A pipeline or notebook parameter is unknown, missing, mistyped or out of range."""


class DataError(WorkbenchError):
    """Market data is missing or wrong: the message names symbol, session and rule."""

    exit_code = 65


class BrokerError(WorkbenchError):
    """The venue or the way to it failed."""

    exit_code = 69


class BrokerUnavailable(BrokerError):
    """Nothing was sent; the call may be retried."""


class RateLimited(BrokerUnavailable):
    """The venue took nothing and wants to be left alone for ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, retry_after_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class OrderRejected(BrokerError):
    """The venue refused the order definitively; do not retry."""


class OrderUnknown(BrokerError):
    """The order may or may not have reached the venue: look it up, never resend under a new id."""


class JournalError(WorkbenchError):
    """The order journal cannot be read or written; nothing may be traded."""

    exit_code = 74


class ReportsLocked(WorkbenchError):
    """Another process holds the reports database; the projection stays pending."""

    exit_code = 75


class MachineUnfit(WorkbenchError):
    """A disk, the memory or the clock of this machine is not fit to trade on; nothing was started."""

    exit_code = 71


class JobError(WorkbenchError):
    """A pipeline run did not end well."""

    exit_code = 1


class NotebookFailed(JobError):
    """A notebook cell raised; the message names notebook, cell and exception."""


class RunOverlap(JobError):
    """Another process is running this session, or holds the account."""

    exit_code = 75


class DeadlineMissed(JobError):
    """The run would start after its deadline."""

    exit_code = 75


class StepTimeout(JobError):
    """A step ran longer than its timeout; its kernel is gone."""

    exit_code = 124


class KernelDied(JobError):
    """The kernel process ended before the notebook did."""

    exit_code = 138


class RunCancelled(JobError):
    """The run was interrupted by a signal; its kernel is gone and its output saved."""

    exit_code = 143


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid names come closest to a mistyped one.

    >>> nearest("momentun", ["momentum", "moving_average"])
    'did you mean momentum?'
    >>> nearest("xyz", ["momentum", "moving_average"])
    'valid names: momentum, moving_average'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"valid names: {', '.join(names)}" if names else "there are none yet"
