"""local/chromium.py: an installed browser is used, or Debian's is unpacked into the project.

Packages are replaced by files here. `make install` unpacks the real ones, for the tests in e2e/.
"""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from local import chromium, debian
from local.debian import NotUnpacked

SHOWS_ITS_START = """#!/bin/sh
echo "$LD_LIBRARY_PATH"
echo "$FONTCONFIG_FILE"
echo "$*"
"""
LDD = """#!/bin/sh
echo "	linux-vdso.so.1 (0x00007ffd4a5f2000)"
echo "	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0b1c000000)"
IFS=:
for folder in $LD_LIBRARY_PATH; do
  for name in libnss3.so libpulse.so.0 libpulsecommon-16.1.so; do
    test -e "$folder/$name" && echo "	$name => $folder/$name (0x00007f0b1c400000)"
  done
done
exit 0
"""
FILES = {
    "usr/lib/chromium/chromium-headless-shell": SHOWS_ITS_START,
    "usr/lib/chromium/icudtl.dat": "",
    "usr/lib/chromium/locales/ko.pak": "",
    "usr/lib/x86_64-linux-gnu/libnss3.so": "",
    "usr/lib/x86_64-linux-gnu/libpulse.so.0.24.2": "",
    "usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so": "",
    "usr/lib/x86_64-linux-gnu/libLLVM-15.so.1": "",
    "usr/lib/x86_64-linux-gnu/pulseaudio/libpulsecommon-16.1.so": "",
    "usr/share/doc/chromium/changelog.gz": "",
    "usr/share/fonts/truetype/nanum/NanumGothic.ttf": "",
    "usr/share/fonts/truetype/nanum/NanumMyeongjo.ttf": "",
}
"""Some of the files of the packages, and some that are not needed."""
LINKS = {"usr/lib/x86_64-linux-gnu/libpulse.so.0": "libpulse.so.0.24.2"}
Program = Callable[[str, str], Path]


def packages(*further: object, **options: object) -> NoReturn:
    raise AssertionError("packages are unpacked")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that adds a script with this name and content to the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, content: str) -> Path:
        path = folder / name
        path.write_text(content)
        path.chmod(0o755)
        return path

    return add


@pytest.fixture(autouse=True)
def project(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for the browser in a new project, on a Debian without a browser."""
    folder = tmp_path / "a project/.venv/chromium"
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium, "UNPACKED", folder)
    monkeypatch.setattr(chromium, "has_tools", lambda: True)
    monkeypatch.setattr(chromium, "_distribution", lambda: ["debian"])
    monkeypatch.setattr(chromium, "unpacked", packages)
    return folder


@pytest.fixture
def unpackable(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let packages with FILES be unpacked, and return a list that will have their names."""
    program("ldd", LDD)
    names: list[str] = []

    @contextmanager
    def unpacked(packages: Sequence[str], *, with_libraries_of: Sequence[str]) -> Iterator[Path]:
        names.extend([*packages, *with_libraries_of])
        root = tmp_path / f"root{len(names)}"
        for name, content in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755)
        for name, target in LINKS.items():
            (root / name).symlink_to(target)
        yield root

    monkeypatch.setattr(chromium, "unpacked", unpacked)
    return names


@pytest.mark.parametrize("name", chromium.NAMES)
def test_installed_browser_is_used(name: str, program: Program) -> None:
    path = program(name, "#!/bin/sh\n")
    chromium.install()
    assert chromium.chromium() == str(path)
    assert chromium.problem() is None


def test_variable_names_a_browser(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("chromium", "#!/bin/sh\n")
    path = program("another", "#!/bin/sh\n")
    monkeypatch.setenv("CHROMIUM", str(path))
    chromium.install()
    assert chromium.chromium() == str(path)


def test_variable_may_name_nothing_else(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("chromium", "#!/bin/sh\n")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chrome")
    chromium.install()
    assert chromium.chromium() is None
    assert chromium.problem() == "CHROMIUM names a browser that does not run: /nowhere/chrome"


def test_program_that_does_not_run_is_no_browser(program: Program) -> None:
    """Ubuntu's package is a script that fails while the snap is not installed."""
    program("chromium-browser", "#!/bin/sh\necho 'requires the chromium snap' >&2\nexit 1\n")
    assert chromium.chromium() is None


def test_snap_is_no_browser(program: Program) -> None:
    program("chromium", "").unlink()
    snap = program("snap", "#!/bin/sh\n")
    (snap.parent / "chromium").symlink_to(snap)
    assert chromium.chromium() is None


def test_browser_runs_from_unpacked_packages(project: Path, unpackable: list[str]) -> None:
    """It finds its libraries and only the fonts beside it, from any working directory."""
    assert "Delete" in str(chromium.problem())
    chromium.install()
    assert unpackable == [*chromium.PACKAGES, *chromium.PACKAGES_WITH_LIBRARIES]
    path = chromium.chromium()
    assert path == str(project / "bin/chromium")
    done = subprocess.run([path, "one", "two words"], capture_output=True, text=True, check=True)
    libraries, fonts, arguments = done.stdout.splitlines()
    assert [str(Path(folder).resolve()) for folder in libraries.split(":")] == [
        str(project / "root/usr/lib/x86_64-linux-gnu"),
        str(project / "root/usr/lib/x86_64-linux-gnu/nss"),
        str(project / "root/usr/lib/x86_64-linux-gnu/pulseaudio"),
    ]
    assert str(project / "root") in Path(fonts).read_text()
    assert arguments == "one two words"


def test_only_needed_files_are_kept(project: Path, unpackable: list[str]) -> None:
    chromium.install()
    kept = {str(path.relative_to(project / "root")) for path in project.rglob("root/**/*.*")}
    assert {Path(name).name for name in kept} == {
        "icudtl.dat",
        "libnss3.so",
        "libpulse.so.0",
        "libpulse.so.0.24.2",
        "libsoftokn3.so",
        "libpulsecommon-16.1.so",
        "NanumGothic.ttf",
    }


def test_second_installation_does_nothing(
    unpackable: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chromium.install()
    monkeypatch.setattr(chromium, "unpacked", packages)
    chromium.install()


def test_interrupted_installation_is_repeated(
    project: Path, unpackable: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chromium.install()
    (project / "root/usr/lib/chromium/chromium-headless-shell").unlink()

    def interrupt(*arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(chromium, "write_whole", interrupt)
        with pytest.raises(KeyboardInterrupt):
            chromium.install()
    assert not (project / "bin").exists()
    assert chromium.chromium() is None
    chromium.install()
    assert chromium.chromium()


@pytest.mark.parametrize(
    ("has_apt", "distribution"), [(True, ["ubuntu", "debian"]), (False, ["fedora"]), (False, [])]
)
def test_browser_stays_missing_where_no_package_has_it(
    has_apt: bool, distribution: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests that need one are skipped, and say so."""
    monkeypatch.setattr(chromium, "has_tools", lambda: has_apt)
    monkeypatch.setattr(chromium, "_distribution", lambda: distribution)
    chromium.install()
    assert chromium.chromium() is None
    assert "CHROMIUM=/path/to/it" in str(chromium.problem())


def test_browser_that_does_not_run_fails_the_installation(
    unpackable: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "usr/lib/chromium/chromium-headless-shell", "#!/bin/sh\nexit 1\n")
    with pytest.raises(NotUnpacked, match="does not run"):
        chromium.install()


def test_machine_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert debian.has_tools() == ("debian" in chromium._distribution())
