"""The command line: the only place with Click, printing and exit codes; one file a command."""

from __future__ import annotations

from tresnet_deploy.cli._main import main

__all__ = ["main"]
