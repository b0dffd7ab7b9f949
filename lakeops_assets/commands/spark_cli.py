"""`lakeops spark`."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(spark)


def spark(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the server.")] = 15002,
) -> None:
    """Start a Spark Connect server on this machine that all processes share; Ctrl-C stops it.

    Without one, each process that computes with Spark starts a Java of its own.
    """
    from lakeops_assets.commands.spark import serve

    settings = load_settings()
    log = settings.home / "logs" / "spark.log"
    raise typer.Exit(serve(settings.spark, port, log, lambda line: typer.echo(line)))
