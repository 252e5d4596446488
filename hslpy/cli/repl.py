"""`hslpy repl`: HSL at a prompt, outside of hooks or at one."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hslpy.cli.command import Command
from hslpy.cli.run import add_hook_arguments, make_bench, print_bytes, read_facts
from hslpy.config.load import state_folder
from hslpy.hooks.scripts import check_hooks
from hslpy.tooling.events import make_event
from hslpy.tooling.session import Session, is_open

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

HELP = """\
Type HSL; the result of an expression is printed, and variables, functions and imports stay for the inputs after.
An input goes on while a bracket or a string is open; an empty line ends it. Imported files run anew with each input.
  :vars              the variables and their values
  :functions [TEXT]  the functions, those with TEXT in their names, or one with its signature
  :verdict           end the hook here and see its verdict
  :help              this
  :quit              leave (or Ctrl-D)"""
_WORD = re.compile(r"[$:]?[A-Za-z_0-9]*\Z")
_COMMANDS = ("help", "vars", "functions", "verdict", "quit")


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_repl(arguments))


async def _repl(arguments: argparse.Namespace) -> int:
    if arguments.hook is not None:
        check_hooks({arguments.hook: ()})
    given, content = read_facts(arguments)
    bench = make_bench(arguments)
    event = None
    if arguments.hook is not None:
        event = make_event(arguments.hook, given, content, bench.clock.time())
    session = Session(bench, arguments.hook, event)
    try:
        if sys.stdin.isatty():
            await _converse(session)
        else:
            await _read_lines(session)
    finally:
        await bench.services.close()
    return 0


async def _read_lines(session: Session) -> None:
    """Take inputs from a pipe or a file: a line each, more while one is open."""
    text = ""
    for line in sys.stdin:
        text += line.encode("utf-8", "surrogateescape").decode("latin-1")
        if is_open(text) and line.strip():
            continue
        if not await _take(session, text.rstrip("\n")):
            return
        text = ""
    if text.strip():
        await _take(session, text.rstrip("\n"))


async def _converse(session: Session) -> None:
    print(f"HSL{f' at hook {session.hook}' if session.hook else ''}; :help says what there is, Ctrl-D leaves")
    prompt = _prompt(session)
    while True:
        try:
            text = await prompt.prompt_async("hsl> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        task = asyncio.ensure_future(_take(session, text.encode("utf-8", "replace").decode("latin-1")))
        asyncio.get_running_loop().add_signal_handler(2, task.cancel)  # SIGINT stops the input, not the prompt
        try:
            if not await task:
                return
        except asyncio.CancelledError:
            print("stopped")
        finally:
            asyncio.get_running_loop().remove_signal_handler(2)


async def _take(session: Session, text: str) -> bool:
    """Do one input; give whether to go on."""
    command = text.strip()
    if command.startswith(":"):
        return _command(session, command[1:])
    if command:
        try:
            lines = await session.submit(text, print_bytes)
        except Exception:  # a fault of ours ends the input, not the session
            lines = [traceback.format_exc()]
        for line in lines:
            print(line)
    return True


def _command(session: Session, text: str) -> bool:
    name, _, argument = text.partition(" ")
    if name in ("quit", "q", "exit"):
        return False
    if name == "vars":
        for variable, value in session.variables():
            print(f"${variable} = {value}")
    elif name == "functions":
        described = session.describe(argument.strip())
        names = [one for one in session.function_names() if argument.strip().lower() in one.lower()]
        print("\n".join(described or names) or f"no function has `{argument.strip()}` in its name")
    elif name == "verdict":
        print("\n".join(session.end()))
    elif name == "help":
        print(HELP)
    else:
        print(f"unknown command `:{name}`; the commands are {', '.join(f':{one}' for one in _COMMANDS)}")
    return True


def history_file() -> Path:
    """Give where inputs are remembered, beside the server's own state. Its folder is made."""
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "repl_history"


def completions(session: Session, before: str) -> list[str]:
    """Give the words that may stand where `before` ends."""
    match = _WORD.search(before)
    word = match[0] if match else ""
    if word.startswith(":") and word == before.strip():
        candidates: Iterable[str] = (f":{one}" for one in _COMMANDS)
    elif word.startswith("$"):
        candidates = (f"${one}" for one in session.variable_names())
    elif word:
        candidates = session.function_names()
    else:
        return []
    return [one for one in candidates if one.lower().startswith(word.lower())]


def _prompt(session: Session) -> PromptSession[Any]:
    """Give the prompt: with history, completion, and more lines while an input is open."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    class Words(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            before = document.text_before_cursor
            match = _WORD.search(before)
            width = len(match[0]) if match else 0
            return (Completion(one, start_position=-width) for one in completions(session, before))

    keys = KeyBindings()

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.text
        if text.strip().startswith(":") or not is_open(text.encode("utf-8", "replace").decode("latin-1")):
            buffer.validate_and_handle()
        elif text.rsplit("\n", 1)[-1].strip():
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    history: History
    try:
        history = FileHistory(str(history_file()))
    except OSError:
        history = InMemoryHistory()
    return PromptSession(
        history=history,
        completer=Words(),
        complete_while_typing=False,
        multiline=True,
        key_bindings=keys,
        prompt_continuation="...  ",
    )


COMMAND = Command(
    "repl",
    "HSL at a prompt",
    add_hook_arguments,
    _run,
    description=f"Reads HSL from a prompt, or from standard input where that is no terminal, and prints results.\n{HELP}",
)
