"""JupyterLab's own scheduling screen (jupyter-scheduler) on our runner: a click gets what ``workbench run`` gives."""
