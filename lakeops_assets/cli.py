"""`lakeops`: each command calls one function elsewhere and prints what it returns.

What a command needs is imported when it runs, so that `lakeops --help` answers at once.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lakeops_assets.commands import (
    bundle_cli,
    catalog_cli,
    contract_cli,
    contracts_cli,
    costs_cli,
    databricks_cli,
    explain_cli,
    forget_cli,
    kpi_cli,
    maintenance_cli,
    promotion_cli,
    report_cli,
    reproduce_cli,
    spark_cli,
    triage_cli,
)
from lakeops_assets.commands.console import AsJson, Products, load_settings, print_json

app = typer.Typer(
    name="lakeops",
    help="From landing files to a monitored champion: one asset graph, also in the Dagster UI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(products: Products = None, as_json: AsJson = False) -> None:
    """Bring products up to date; land the sample data where nothing was landed yet.

    Exit code 1 when an asset or a blocking check fails.
    """
    from lakeops_assets.commands import show
    from lakeops_assets.commands.run import run as run_products

    with show.progress(enabled=not as_json) as report:
        summary = run_products(products or [], load_settings(), report)
    if as_json:
        print_json(summary)
    else:
        show.run_summary(summary, load_settings())
    raise typer.Exit(0 if summary.succeeded else 1)


@app.command()
def land(
    product: Annotated[str, typer.Argument(help="Product with sample data, such as churn.")],
    batches: Annotated[int, typer.Option(min=1, help="How many daily batches.")] = 1,
    everything: Annotated[bool, typer.Option("--all", help="Land all that remain.")] = False,
    as_json: AsJson = False,
) -> None:
    """Land the next daily batches of a product's sample data."""
    from lakeops_assets import samples
    from lakeops_assets.commands import show

    landed = samples.land(
        samples.sample(product),
        load_settings().landing_root,
        batches=None if everything else batches,
    )
    if as_json:
        print_json(landed)
    else:
        show.landed(landed, product)


@app.command()
def status(products: Products = None, as_json: AsJson = False) -> None:
    """Show tables with version, rows and age, and model versions with metrics and gates."""
    from lakeops_assets.commands import show
    from lakeops_assets.commands.status import status as read_status

    found = read_status(products or [], load_settings(), datetime.now(UTC))
    if as_json:
        print_json(found)
    else:
        show.status(found)


@app.command()
def sql(
    statement: Annotated[
        str, typer.Argument(help="SELECT in Spark's dialect over <catalog>.<schema>.<table>.")
    ],
    version: Annotated[
        int | None, typer.Option(help="Delta version of every table that says none itself.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Run a SELECT; tables may be read as they were: VERSION AS OF 3, TIMESTAMP AS OF '...'."""
    from lakeops_assets.commands import show
    from lakeops_assets.lakehouse import open_lakehouse

    rows = open_lakehouse(load_settings()).query(statement, version=version)
    if as_json:
        print_json(rows.read_all().to_pylist())
    else:
        show.rows(rows, limit)


@app.command()
def new(product: Annotated[str, typer.Argument(help="Name: it becomes the schema.")]) -> None:
    """Write a complete, commented product: one folder of YAML and SQL."""
    from lakeops_assets.commands import show
    from lakeops_assets.components.scaffold import new_product

    config = load_settings()
    packaged = Path(__file__).parent / "defs"
    editable = packaged.is_relative_to(config.project) and "site-packages" not in packaged.parts
    folder = packaged if editable and not config.products.is_dir() else config.products
    show.product(new_product(folder, product), product, config)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is missing and how to fix it. Exit code 1 when something will fail."""
    from lakeops_assets.commands import show
    from lakeops_assets.commands.doctor import examine

    findings = examine(load_settings())
    if as_json:
        print_json(findings)
    else:
        show.findings(findings)
    raise typer.Exit(1 if any(f.level == "problem" for f in findings) else 0)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster UI and the MLflow UI on this machine; Ctrl-C stops both."""
    from lakeops_assets.commands.ui import serve

    raise typer.Exit(serve(load_settings(), port, mlflow_port, lambda line: typer.echo(line)))


contracts_cli.register(app)
kpi_cli.register(app)
promotion_cli.register(app)
contract_cli.register(app)
maintenance_cli.register(app)
reproduce_cli.register(app)
forget_cli.register(app)
costs_cli.register(app)
databricks_cli.register(app)
bundle_cli.register(app)
catalog_cli.register(app)
explain_cli.register(app)
triage_cli.register(app)
report_cli.register(app)
spark_cli.register(app)


def main() -> None:
    """Run the command line; an error that a user can mend is one sentence and exit code 2."""
    from lakeops_assets import settings

    settings.switch_off_telemetry()
    try:
        app()
    except Exception as error:
        if not type(error).__module__.startswith("lakeops_assets"):
            raise
        print(f"lakeops: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


if __name__ == "__main__":
    main()
