"""Scripts on disk to programs: what each hook runs, compiled as one set and swapped as one. In: paths. Out: `ScriptSet`.

Every file is read once a load, so that a set is of one moment. Errors of all files are gathered before they are raised.
Must not know events or verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.errors import OperatorError
from hslpy.hooks.data import DATA
from hslpy.hooks.files import FileReader, Seen, Snapshot, SnapshotReader, differs
from hslpy.hooks.table import BY_NAME
from hslpy.lang.diagnostics import render, suggest
from hslpy.lang.load import Loaded, load_program
from hslpy.lang.profiles import ALL_NEWEST, ProfileChoice
from hslpy.lang.program import Program
from hslpy.lang.run import Limits
from hslpy.lang.source import Source
from hslpy.log import Log, no_log
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class HookSettings:
    """What runs at each hook: files run in order until one gives a verdict.

    `library` are folders in which `include` and `import` look after the importing file's own. `cache` is a private folder
    for compiled programs, `profiles` says which year's behaviour each file is written for. `folders` are those from which
    data is imported, beside the library; None: any.
    """

    scripts: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    library: tuple[Path, ...] = ()
    cache: Path | None = None
    profiles: ProfileChoice = ALL_NEWEST
    folders: tuple[Path, ...] | None = None


@dataclass(frozen=True, slots=True)
class ScriptSet:
    """The programs of all hooks as of one moment. Never changes; sessions keep the one they began with."""

    programs: Mapping[str, tuple[Program, ...]] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    def has(self, hook: str) -> bool:
        """Say whether any script runs at `hook`."""
        return bool(self.programs.get(hook))


class Loader:
    """Compiles what the settings name, and says whether the files have changed since."""

    def __init__(self, settings: HookSettings, log: Log = no_log) -> None:
        self.settings = settings
        self._log = log
        self._seen: dict[Path, Seen] = {}
        self._loaded_scripts: Mapping[str, tuple[Path, ...]] | None = None
        self.snapshot: Snapshot = {}

    def load(self, snapshot: Snapshot | None = None) -> ScriptSet:
        """Give a new set, of the files on disk or of those that another load read.

        Raises OperatorError holding all rendered errors; warnings are logged by the load that reads the disk.
        `snapshot` has afterwards what that was.
        """
        settings = self.settings
        if snapshot is None:
            reader: FileReader | SnapshotReader = FileReader(settings.library, settings.profiles, settings.folders)
        else:
            reader = SnapshotReader(snapshot, settings.profiles)
        check_hooks(settings.scripts)
        programs: dict[str, tuple[Program, ...]] = {}
        errors: list[str] = []
        warnings: list[str] = []
        sources: dict[str, Source] = {}
        try:
            for hook, paths in settings.scripts.items():
                compiled: list[Program] = []
                for path in paths:
                    try:
                        loaded = load_hook(str(path), reader, hook, settings.cache)
                    except OperatorError as error:
                        hint = error.hint or f"`hooks.{hook}` names it"
                        errors.append(f"error: {error.message}\n  = hint: {hint}")
                        continue
                    for diagnostic in loaded.diagnostics:
                        into = errors if diagnostic.is_error else warnings
                        text = render(diagnostic)
                        if text not in into:  # a module that several hooks import is one finding
                            into.append(text)
                    sources |= {source.path: source for source in loaded.sources}
                    if loaded.program is not None:
                        compiled.append(loaded.program)
                programs[hook] = tuple(compiled)
        finally:
            self._seen = reader.seen
            self._loaded_scripts = dict(settings.scripts)
        for text in warnings if snapshot is None else ():
            self._log("scripts.warning", {"level": "warning", "text": text})
        if errors:
            raise OperatorError("\n\n".join(errors), exit_code=1)
        self.snapshot = reader.snapshot
        return ScriptSet(programs, tuple(sources.values()))

    def changed(self) -> bool:
        """Say whether a file that the last load read (or missed) has changed, or the settings name others."""
        if self._loaded_scripts is None or dict(self.settings.scripts) != self._loaded_scripts:
            return True
        return any(differs(path, seen) for path, seen in self._seen.items())


def load_hook(path: str, reader: FileReader | SnapshotReader, hook: str | None, cache: Path | None = None) -> Loaded:
    """Load one script for a hook (None: for outside of hooks), with that hook's functions and variables."""
    predefined = BY_NAME[hook].in_profile(reader.profiles.of(Path(path))).predefined if hook is not None else {}
    return load_program(
        path, reader, for_hook(hook), predefined, hook=hook, elsewhere=ALL, absent=ABSENT, cache=cache, data=DATA
    )


def check_hooks(scripts: Mapping[str, tuple[Path, ...]]) -> None:
    """Raises OperatorError for a hook that does not exist, or for two that decide the same."""
    for name in scripts:
        if name not in BY_NAME:
            raise OperatorError(f"there is no hook `{name}`", hint=suggest(name, BY_NAME) or "hooks: " + ", ".join(BY_NAME))
    if scripts.get("data") and scripts.get("eod"):
        raise OperatorError(
            "both `data` and `eod` have scripts",
            hint="one of them decides the end of DATA: once a recipient, or once a message",
        )
