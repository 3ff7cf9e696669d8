"""Parser of the command line that refuses an option given twice, and answers a mistake in one line."""

from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser, Namespace, _AppendAction
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from itertools import takewhile
from typing import Any, NoReturn

from cosmos.config.near_names import MAX_NAMES, close_names, near_names
from cosmos.errors import InputError


class CommandParser(ArgumentParser):
    """Parser of a command, and of its subcommands: argparse makes their parsers of the same class."""

    def __init__(self, *, description: str | None = None, **options: Any) -> None:
        super().__init__(description=cleandoc(description or ""), **options)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Return the arguments that are known, and none that are unknown: those are a mistake."""
        self._refuse_hidden_and_repeated(args or ())
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse_unknown(unknown[0])
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Raise InputError with `message`, in place of a page of usage."""
        raise InputError(f"{message}; `{self.prog} --help` describes the command")

    def _refuse_hidden_and_repeated(self, args: Sequence[str]) -> None:
        """Raise InputError for an option that is hidden, or given twice where it takes no list.

        pydantic-settings hides options that take a section as JSON, and merges them with those of its keys.
        """
        given: dict[str, str] = {}
        for option in self._options_in(args):
            action = self._option_string_actions[option]
            if action.help == SUPPRESS:
                self._refuse_unknown(option)
            if action.dest in given and not isinstance(action, _AppendAction):
                names = dict.fromkeys([given[action.dest], option])
                self.error(f"{' and '.join(names)}: given twice; keep one of them")
            given[action.dest] = option

    def _options_in(self, args: Sequence[str]) -> Iterator[str]:
        for arg in takewhile(lambda arg: arg != "--", args):
            name = arg.partition("=")[0]
            if name in self._option_string_actions:
                yield name

    def _refuse_unknown(self, argument: str) -> NoReturn:
        """Raise InputError for an argument, with options near it, or those in a section of its name."""
        name = argument.partition("=")[0]
        shown = [option for option, action in self._option_string_actions.items() if action.help != SUPPRESS]
        same = [o for o in shown if o.endswith(f".{name.lstrip('-')}") or o.startswith(f"{name}.")]
        near = same[:MAX_NAMES] or close_names(name, shown)
        self.error(f"no argument {argument}{'; near it: ' if near else ''}{', '.join(near)}")

    def _check_value(self, action: Action, value: Any) -> None:
        """Raise ArgumentError for an unknown subcommand, with those that are near it."""
        if action.choices is not None and value not in action.choices:
            raise ArgumentError(None, f"no command {value}; {near_names(str(value), action.choices)}")
