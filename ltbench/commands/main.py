"""The command `ltbench`: finds the file of a command, and tells what a user caused in a line."""

from importlib import import_module
from typing import Any

import click

from ltbench.errors import LTBenchError
from ltbench.texts import readable

COMMANDS = (
    "check",
    "compare",
    "doctor",
    "info",
    "init",
    "leaderboard",
    "list",
    "merge",
    "migrate",
    "new",
    "plot",
    "plugins",
    "review",
    "run",
    "show",
    "site",
    "status",
    "submit",
    "tune",
    "verify",
)
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Refused(click.ClickException):
    """The user's words were wrong; nothing was done."""

    exit_code = 2


class Commands(click.Group):
    """Loads a command when it is asked for; shows what a user caused in a line or two."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ltbench.commands.{name}").command
        return command

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LTBenchError as error:
            raise Refused(readable(str(error))) from error


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(package_name="ltbench")
def main() -> None:
    """Compare methods for class-imbalanced and long-tailed learning on fixed protocols."""
