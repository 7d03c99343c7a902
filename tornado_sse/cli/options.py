"""Options that commands share, the settings' flags among them: made from their declaration."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, get_origin

import click

from tornado_sse import config

Command = Callable[..., Any]

_METAVARS: dict[object, str] = {int: "INTEGER", float: "SECONDS"}


class Refused(click.ClickException):
    """The configuration is refused: its problems on stderr, a line each, and exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the problems as they are."""
        click.echo(self.format_message(), file=file, err=True)


def settings_options(names: Iterable[str] = tuple(config.Settings.model_fields)) -> Callable[[Command], Command]:
    """Give a command `--config`, as argument `config_file`, and the flags of the settings named."""

    def decorate(command: Command) -> Command:
        for name in reversed(list(names)):
            command = _setting_option(name)(command)
        return _config_option(command)

    return decorate


def read_settings(config_file: Path | None, flags: Mapping[str, object]) -> config.Settings:
    """Read the settings with this process's environment; raises Refused."""
    try:
        return config.load(flags, config_file, os.environ)
    except config.ConfigProblem as problem:
        raise Refused(str(problem)) from problem


_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="TORNADO_SSE_CONFIG",
    metavar="FILE",
    help="TOML file with settings, or TORNADO_SSE_CONFIG.",
)


def _setting_option(name: str) -> Callable[[Command], Command]:
    field = config.Settings.model_fields[name]
    spelled, help_text = config.flag(name), config.meaning(name)
    if field.annotation is bool:
        return click.option(f"{spelled}/--no-{spelled.removeprefix('--')}", name, default=None, help=help_text)
    default = config.shown(field.default)
    if not default.startswith("("):
        help_text += f"  [default: {default}]"
    # Values stay text here: the settings say what is wrong with one, in the same words wherever it comes from.
    return click.option(spelled, name, metavar=_metavar(field.annotation), help=help_text)


def _metavar(annotation: object) -> str:
    return "LIST" if get_origin(annotation) is list else _METAVARS.get(annotation, "TEXT")
