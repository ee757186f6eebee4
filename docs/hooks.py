"""What the site of documents has beside docs/*.md: the root's pages, the boards, the reference.

Pages keep their paths in the repository, so that one link serves there and on the site.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from inspect import getdoc, getfile, signature
from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "leaderboards/*/*.md")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)\)")


def on_config(config):
    """Adds the boards to what stands in the navigation."""
    boards = sorted(path.parent for path in ROOT.glob("leaderboards/*/table.md"))
    config.nav.append({"Boards": [{board.name: list(_pages_of(board))} for board in boards]})


def _pages_of(board: Path) -> Iterator[dict[str, str]]:
    for title, name in (("What it says", "README.md"), ("Table", "table.md")):
        if (board / name).exists():
            yield {title: f"leaderboards/{board.name}/{name}"}


def on_files(files, config):
    """Sets pages of the repository and generated ones in the place of what lies in docs/."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        place = path.relative_to(ROOT).as_posix()
        files.append(File(place, str(ROOT), config.site_dir, config.use_directory_urls))
    for name, write in REFERENCE.items():
        text = "\n".join(write())
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Takes the link from what is in the repository and no page; its text names it."""

    def kept(link: re.Match[str]) -> str:
        there = ROOT / PurePosixPath(page.file.src_uri).parent / link[2]
        is_page = there.suffix == ".md"
        return link[1] if there.exists() and not is_page else link[0]

    return LINK.sub(kept, markdown)


def methods() -> Iterator[str]:
    """A card for each method, by family."""
    from ltbench.site import things

    registry, boards = _registry(), _boards()
    families = defaultdict(list)
    for kind in _shipped(registry.methods().values()):
        families[things.family_of(registry, kind.name)].append(kind)
    yield "# Methods\n\nGenerated from the installed methods and the committed boards.\n"
    for family, kinds in sorted(families.items()):
        yield f"## {family}\n"
        for kind in kinds:
            yield from _card(things.method(registry, kind), Path(getfile(kind)), boards[kind.name])


def _card(told, source: Path, boards: list[str]) -> Iterator[str]:
    yield f"### `{told.name}` {{#{told.name}}}\n\n{_prose(told.description)}\n"
    reference = _prose(told.reference)
    yield f"- reference: {f'[{reference}]({told.link})' if told.link else reference}"
    yield f"- hooks: {', '.join(f'[`{one}`](hooks.md#{one})' for one in told.hooks)}"
    yield f"- tracks that take it: {', '.join(told.takers) or 'none'}"
    if told.needs:
        yield f"- needs: {', '.join(told.needs)}"
    if tuple(told.roles) != ("main",):
        yield f"- acts in phases: {', '.join(told.roles)}"
    if told.corrects:
        yield f"- corrects: {told.corrects}"
    yield f"- source: `{source.resolve().relative_to(ROOT).as_posix()}`"
    if boards:
        yield f"- boards: {', '.join(f'[{one}](../leaderboards/{one}/table.md)' for one in boards)}"
    if told.parameters:
        yield "\n| parameter | default | takes |\n| --- | --- | --- |"
        for name, default, accepted in told.parameters:
            yield f"| `{name}` | `{default}` | {_prose(accepted)} |".replace("`|`", "`\\|`")
    yield ""


def _boards() -> dict[str, list[str]]:
    """The committed boards on which each method stands, alone or in a recipe."""
    found = defaultdict(list)
    for table in sorted(ROOT.glob("leaderboards/*/table.md")):
        rows = re.findall(r"^\|[^`]*`([^`]+)`", table.read_text(encoding="utf-8"), re.MULTILINE)
        for name in {name for row in rows for name in re.sub(r"\([^)]*\)", "", row).split("+")}:
            found[name].append(table.parent.name)
    return found


def protocols() -> Iterator[str]:
    """Each protocol's file, by track."""
    registry = _registry()
    yield "# Protocols\n\n[What the keys mean](../docs/protocols.md). Generated from the files.\n"
    for track in registry.tracks():
        yield f"## {track}\n"
        for name in sorted(registry.protocols()):
            if registry.track_of(name) != track or not _is_shipped(registry.protocols()[name]):
                continue
            protocol = registry.protocol(name)
            yield f"### `{name}` {{#{name}}}\n\n{_prose(protocol.description)}\n"
            yield f"- version {protocol.version}, hash `{protocol.hash}`"
            if (ROOT / "leaderboards" / name / "table.md").exists():
                yield f"- [board](../leaderboards/{name}/table.md)"
            text = Path(registry.protocols()[name]).read_text(encoding="utf-8")
            yield f"\n```toml\n{text.strip()}\n```\n"


def hooks() -> Iterator[str]:
    """Every hook in the order of a run: its rule, what it takes and gives, who overrides it."""
    from ltbench.contract.method import HOOKS, Method, declared
    from ltbench.contract.method import hooks as own

    registry = _registry()
    users = defaultdict(list)
    for kind in _shipped(registry.methods().values()):
        for name in own(kind):
            users[name].append(kind.name)
    yield "# Hooks\n\nWhat a method may override, in the order of a run.\n"
    yield "\n## Of every track\n"
    for name, rule in HOOKS.items():
        yield from _hook(name, rule, Method, users[name])
    for track in registry.tracks().values():
        if not _is_shipped(getfile(type(track))):
            continue
        further = {name: rule for name, rule in declared(track.hooks).items() if name not in HOOKS}
        if further:
            yield f"\n## Of {track.name}\n"
        for name, rule in further.items():
            yield from _hook(name, rule, track.hooks, users[name])


def _hook(name: str, rule, contract: type, users: list[str]) -> Iterator[str]:
    function = getattr(contract, name)
    takes = ", ".join(one for one in signature(function).parameters if one != "self")
    yield f"### `{name}({takes})` {{#{name}}}\n\n{_prose(getdoc(function))}\n"
    owners = "many, one after the other" if rule.many else f"at most one, to {rule.decides}"
    yield f"- methods of a recipe: {owners}"
    yield f"- acts in: {'the phases of its roles' if rule.training else 'every phase'}"
    links = ", ".join(f"[`{one}`](methods.md#{one})" for one in users)
    yield f"- overridden by: {links or 'no method that is shipped'}\n"


def commands() -> Iterator[str]:
    """What each command says of itself."""
    from click import Context

    from ltbench.commands.main import COMMANDS, main

    yield "# Commands\n"
    for name in COMMANDS:
        command = main.get_command(Context(main), name)
        context = Context(command, info_name=f"ltbench {name}", terminal_width=88)
        yield f"## ltbench {name} {{#{name}}}\n\n```text\n{command.get_help(context)}\n```\n"


def python() -> Iterator[str]:
    """The public names, from their docstrings."""
    import ltbench
    from ltbench import testing, toolbox

    functions = ("run", "leaderboard", "recipe", "protocol")
    contracts = ("Method", "Track", "Run")
    rest = [name for name in ltbench.__all__ if name not in functions + contracts]
    yield "# Python\n"
    for title, module, names in (
        ("Run and read", "ltbench", functions),
        ("Contracts", "ltbench", contracts),
        ("What contracts are made of", "ltbench", rest),
        ("What methods borrow", "ltbench.toolbox", toolbox.__all__),
        ("Checks and probes", "ltbench.testing", testing.__all__),
    ):
        yield f"## {title}\n"
        yield from (f"::: {module}.{name}\n" for name in names)


def _shipped(kinds: Iterable[type]) -> list[type]:
    """Those of this repository, and none of another package that is installed beside."""
    return [kind for kind in kinds if _is_shipped(getfile(kind))]


def _is_shipped(place: str | Path) -> bool:
    return Path(place).resolve().is_relative_to(ROOT)


def _registry():
    from ltbench.registry.registry import installed

    return installed()


def _prose(text: str) -> str:
    """A docstring as Markdown: what stands in backticks stays, signs elsewhere are text."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"([\\*_\[\]|])", r"\\\1", escape(parts[k], quote=False))
    return "".join(parts)


REFERENCE = {
    "methods": methods,
    "protocols": protocols,
    "hooks": hooks,
    "commands": commands,
    "python": python,
}
