"""The only place that builds concrete objects from settings. A notebook starts here: ``wb = workbench.open()``."""

from workbench.app.installation import RunContext
from workbench.app.workbench import Workbench, open_ahead, open_workbench

__all__ = ["RunContext", "Workbench", "open_ahead", "open_workbench"]
