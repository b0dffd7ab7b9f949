"""Ships the YAML, SQL and templates beside the code, and publishes command and component types.

Everything else about the package is declared in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["lakeops_assets", "lakeops_assets.*"]),
    package_data={
        "lakeops_assets": [
            "py.typed",
            "defs/**/*.yaml",
            "defs/**/*.sql",
            "commands/*.yaml",
            "lakehouse/engines/spark*_jars.txt",
            "components/templates/**/*",
            "monitoring/report/*.jinja",
        ],
    },
    entry_points={
        "console_scripts": [
            "lakeops = lakeops_assets.cli:main",
            "lakeops-task = lakeops_assets.commands.task:main",
        ],
        "dagster_dg_cli.registry_modules": ["lakeops_assets = lakeops_assets.components"],
    },
)
