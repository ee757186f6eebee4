"""What is begun: methods, protocols, data sets and tracks, as files or as a package."""

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ltbench.errors import LTBenchError
from ltbench.scaffolding.files import rendered, template, write
from ltbench.scaffolding.names import Spelling, spelling

if TYPE_CHECKING:
    from ltbench.contract.track import Track
    from ltbench.registry.registry import Registry

EXAMPLE = "digits-lt"  # where a method of no track in particular is shown
FEW = 2  # recipes of another protocol that a new one begins with


@dataclass(frozen=True)
class Begun:
    """The files of a new thing, and the commands that come next."""

    files: list[Path]
    commands: list[str]


@dataclass(frozen=True)
class Plan:
    """What a new thing consists of: the templates of its files, and what shows that it works.

    `own` is a folder of templates that come before the common ones, `values` what they are filled
    with. `module` and `protocol` say whether there is a Python file, and a protocol of what name;
    `board` is that of a method's row.
    """

    kind: str
    spelled: Spelling
    shown: str
    own: Path | None = None
    values: dict[str, str] | None = None
    module: bool = True
    protocol: str = ""
    board: str = ""

    @property
    def what(self) -> str:
        return "data set" if self.kind == "dataset" else self.kind

    @property
    def badge(self) -> str:
        """What a README says of the badge of a method's row; nothing of anything else."""
        if not self.board:
            return ""
        name = self.spelled.name
        return (
            f"\n![The row of {name} on {self.board}](row.svg)\n\nThat is drawn, once the row is "
            f"there, by\n`ltbench plot {self.board} --kind badge --recipe {name} --out row.svg`.\n"
        )


def method(registry: "Registry", name: str, track: str | None, packaged: bool) -> Plan:
    """A method, of the hooks of a track if one is named.

    Raises:
        LTBenchError: the name cannot be had, or there is no such track.
    """
    known = [outline.name for outline, _ in registry.outlines()]
    spelled = spelling("method", name, known, packaged)
    if track is None:
        return Plan("method", spelled, f"ltbench run {EXAMPLE} -m {name}", board=EXAMPLE)
    found = registry.track(track)
    board = _example(registry, found)
    command = f"ltbench run {board} -m {name}"
    return Plan("method", spelled, command, found.scaffolds, board=board)


def protocol(registry: "Registry", name: str, track: str | None, packaged: bool) -> Plan:
    """A protocol of a track, whole or on top of the track's example.

    Raises:
        LTBenchError: the name cannot be had, or no track is named, or one that has no protocol.
    """
    spelled = spelling("protocol", name, registry.protocols(), packaged)
    if track is None:
        known = ", ".join(registry.tracks())
        raise LTBenchError(f"say with --track what kind of problem it is: {known}")
    found = registry.track(track)
    base = _example(registry, found)
    recipes = [*found.floor, *registry.protocol(base).recipes]
    values = {"base": base, "recipes": json.dumps([*dict.fromkeys(recipes)][: FEW + 1])}
    told = f"ltbench run {name if packaged else f'{name}.toml'}"
    return Plan("protocol", spelled, told, found.scaffolds, values, packaged, name)


def dataset(registry: "Registry", name: str, packaged: bool) -> Plan:
    """A data set.

    Raises:
        LTBenchError: the name cannot be had.
    """
    spelled = spelling("dataset", name, registry.datasets(), packaged)
    return Plan("dataset", spelled, f"ltbench info {name}")


def track(registry: "Registry", name: str, packaged: bool) -> Plan:
    """A track, with a protocol.

    Raises:
        LTBenchError: the name, or that of its protocol, cannot be had.
    """
    spelled, example = spelling("track", name, registry.tracks(), packaged), f"{name}-digits"
    if example in registry.protocols():
        raise LTBenchError(f"there is a protocol {example!r} already; choose another name")
    return Plan("track", spelled, f"ltbench run {example}", values={}, protocol=example)


def _example(registry: "Registry", track: "Track[Any]") -> str:
    """A protocol of a track: the one that it names, else the first."""
    there = sorted(name for name in registry.protocols() if registry.track_of(name) == track.name)
    if not there:
        raise LTBenchError(f"track {track.name} has no protocol to begin from")
    return track.example if track.example in there else there[0]


def begin(plan: Plan, registry: "Registry", into: Path) -> Begun:
    """Writes the files of a plan into a folder.

    Raises:
        LTBenchError: one is there already, or cannot be written.
    """
    module = plan.spelled.module
    place = f'Path(__file__).with_name("{plan.protocol}.toml")'
    texts = _texts(plan, registry, module, ("pathlib", "Path"), place, True)
    files = write(into, texts)
    test = next(path for path in files if path.name.startswith("test_"))
    plugin = f" --plugin {quote(str(into / f'{module}.py'))}" if plan.module else ""
    shown = plan.shown
    if plan.kind == "protocol":
        shown = f"ltbench run {quote(str(into / f'{plan.protocol}.toml'))}"
    check = [f"ltbench check {plan.spelled.name}{plugin}"] if plan.kind == "method" else []
    return Begun(files, [*check, f"pytest {quote(str(test))}", shown + plugin])


def begin_package(plan: Plan, registry: "Registry", beside: Path = Path()) -> Begun:
    """Writes a repository of a plan's package: the module, its entry point, tests, a workflow.

    Raises:
        LTBenchError: its folder is not empty, or a file cannot be written.
    """
    spelled, folder = plan.spelled, beside / plan.spelled.distribution
    module = "protocols" if plan.kind == "protocol" else spelled.module
    place = f'files("{spelled.package}") / "{plan.protocol}.toml"'
    importable = f"{spelled.package}.{module}"
    texts = _texts(plan, registry, importable, ("importlib.resources", "files"), place, False)
    values = {
        "what": plan.what,
        "name": spelled.name,
        "distribution": spelled.distribution,
        "package": spelled.package,
        "module": module,
        "entry": spelled.name,
        "version": metadata.version("ltbench"),
        "shown": plan.shown,
        "badge": plan.badge,
    }
    around = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"src/{spelled.package}/__init__.py": "init.py",
        ".github/workflows/checks.yml": "checks.yml",
    }
    source = {name: text for name, text in texts.items() if not name.startswith("test_")}
    tests = {name: text for name, text in texts.items() if name.startswith("test_")}
    files = write(
        folder,
        {
            **{to: rendered(template(f"package/{one}"), values) for to, one in around.items()},
            **{f"src/{spelled.package}/{name}": text for name, text in source.items()},
            **{f"tests/{name}": text for name, text in tests.items()},
        },
        whole=True,
    )
    return Begun(files, [f"cd {folder}", "pip install -e '.[test]'", "pytest", plan.shown])


def _texts(
    plan: Plan,
    registry: "Registry",
    importable: str,
    path: tuple[str, str],
    place: str,
    single: bool,
) -> dict[str, str]:
    """The texts of the files of a plan by their names; `importable` is where its test imports from.

    `path` is what finds the protocol's file, by module and name, `place` the expression that does.
    """
    spelled = plan.spelled
    values = {
        "name": spelled.name,
        "title": spelled.title,
        "Class": spelled.class_name + ("Track" if plan.kind == "track" else ""),
        "Problem": f"{spelled.class_name}Problem",
        "importable": importable,
        "example": plan.protocol,
        "pathlib": path[0],
        "pathname": path[1],
        "place": place,
        "plugins": f'[Path(__file__).with_name("{spelled.module}.py")]' if single else "[]",
        **(plan.values or {}),
    }
    texts = {}
    if plan.protocol:
        source = template(f"{plan.kind}.toml", plan.own)
        texts[f"{plan.protocol}.toml"] = rendered(source, values)
    if plan.kind == "protocol":
        values["hash"] = _hash(registry, texts[f"{plan.protocol}.toml"])
        if plan.module:
            texts["protocols.py"] = rendered(template("protocols.py"), values)
    else:
        source = template(f"{plan.kind}.py", plan.own)
        texts[f"{spelled.module}.py"] = rendered(source, values)
    test = rendered(template(f"test_{plan.kind}.py", plan.own), values)
    return {**texts, f"test_{spelled.module}.py": test}


def _hash(registry: "Registry", text: str) -> str:
    """The hash of a protocol that is no file yet."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "new.toml"
        file.write_text(text, encoding="utf-8")
        return registry.protocol(file).hash
