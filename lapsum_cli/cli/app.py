"""The command line: a command for every operation, made of what it declares; errors as one line and an exit code."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo

from .. import __version__
from ..core.errors import DataError, IOFailed, LapsumError, OptionError, is_out_of_memory
from ..operations import LOSSES, METHODS, OPERATIONS, methods_of, operation_called
from ..operations.choices import CHOICES, Choices
from ..operations.losses import asked_for
from . import options
from .bench import bench, with_words
from .compare import compare
from .complete import topics
from .pages import PAGES, show
from .streams import fail, is_terminal, leave


class _Group(TyperGroup):
    """The commands, and below them in its help the pages."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        super().format_commands(ctx, formatter)
        with formatter.section("Pages (lapsum help PAGE)"):
            formatter.write_dl(list(PAGES.items()))


app = typer.Typer(
    cls=_Group,
    help="Differentiable ranks, sorting, top-k, quantiles and permutations, losses and gradients, for files of scores.",
    epilog="Start with: lapsum rank scores.parquet -o ranks.parquet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _command(function: Callable[..., None], short_help: str) -> Callable[..., None]:
    """A command of the app: `short_help` in the list of them, one line for what the user can fix, and the exit codes of
    sysexits.h.

    Errors end here, before Typer sees them: it would leave with 1 on a closed pipe and with a traceback on a full disk.
    """

    @functools.wraps(function)
    def guarded(*args: Any, **given: Any) -> None:
        try:
            function(*args, **given)
        except LapsumError as error:
            fail(options.spelt(error.message), error.exit_code)
        except BrokenPipeError:
            leave(128 + signal.SIGPIPE)  # whoever read has what it wanted
        except KeyboardInterrupt:
            leave(128 + signal.SIGINT)
        except SystemExit as end:
            leave(end.code)
        except NotImplementedError as error:  # Arrow's, for a type that some step cannot handle
            fail(f"a column has a type that is not supported: {error}", DataError.exit_code)
        except MemoryError as error:
            fail(f"out of memory: {error}; lower --memory or --threads", IOFailed.exit_code)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            fail(f"{error}; lower --memory or --threads", IOFailed.exit_code)
        except OSError as error:
            fail(f"{error.filename or 'input or output'}: {error.strerror or error}", IOFailed.exit_code)

    return app.command(cls=_Command, short_help=short_help)(guarded)


class _Command(TyperCommand):
    """A command whose help says of an argument what it is called and what it means, not what Python takes it for."""

    def __init__(self, *args: Any, **given: Any):
        super().__init__(*args, **given)
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: None  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parser does, which knows no option that may stand without its word: here it gets one."""
        return super().parse_args(ctx, with_words(args, {flag for parameter in self.params for flag in parameter.opts}))


def _operation(name: str) -> None:
    """Make the command of an operation: what it takes, its own options, and those that all have."""
    made = operation_called(name)
    shared = options.declared(options.shared)
    taken = [p for what in made.takes for p in options.declared(options.TAKES[what])]
    arguments = [p for p in taken if isinstance(p.annotation.__metadata__[0], ArgumentInfo)]
    own = [p for p in _own(made) if p.name not in {p.name for p in taken}]
    order = [*arguments, *shared[:2], *(p for p in taken if p not in arguments), *own, *shared[2:]]

    def command(**given: Any) -> None:
        _run(name, given)

    command.__name__, command.__doc__ = name, made.__doc__
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in order]
    )
    command.__annotations__ = {p.name: p.annotation for p in order}
    _command(command, made.about or name)


def _own(made: Any) -> list[inspect.Parameter]:
    """The options that an operation declares as its fields."""
    kinds = get_type_hints(made)
    of_methods = {option for name in methods_of(made.name) for option in METHODS[name].options}
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[kinds[field.name], _typed(field.metadata)],
        )
        for field in fields(made)
        if "help" in field.metadata
        and (field.name not in CHOICES or field.name in of_methods or not issubclass(made, Choices))
    ]


def _typed(metadata: Any) -> Any:
    flags = [metadata["flag"]] if metadata["flag"] else []  # else that of its name
    return typer.Option(*flags, metavar=metadata["metavar"], help=metadata["help"])


for _name in OPERATIONS:
    _operation(_name)


def _run(name: str, given: dict[str, Any]) -> None:
    """The act of every operation's command."""
    from ..api.files import run_file
    from ..formats import FORMATS
    from .summary import in_json, of_plan, what_was_done
    from .terminal import Voice

    if "loss" in given:
        _check_loss(given["loss"])
    given["source"] = given["source"] or _piped(name)
    given["sink"] = None if given["sink"] == "-" else given["sink"]
    to_format, sink = given["to_format"], given["sink"]
    if to_format in FORMATS and not FORMATS[to_format].is_text and sink is None and is_terminal(sys.stdout):
        raise OptionError(
            f"--to {to_format} is binary and would upset the terminal; write to a file with -o, or into a pipe"
        )
    given.pop("list_losses", None)
    as_json = given.pop("as_json")
    if as_json and sink is None:
        raise OptionError("--json is printed where results would be; write them to a file with -o")
    for several in ("group", "keep"):
        if given.get(several) is not None:
            given[several] = [part for part in map(str.strip, given[several].split(",")) if part]
    given[operation_called(name).direction] = not given.pop("ascending")
    with Voice(given.pop("quiet"), sink is not None or to_format is None or not is_terminal(sys.stdout)) as words:
        done = run_file(name, **given, words=words)
    if as_json:
        print(in_json(done))
    elif given["dry_run"]:
        print("\n".join(of_plan(done)))
    if not given["dry_run"]:
        for line in what_was_done(name, done, sink):
            words.say(line)


def _check_loss(given: str | None) -> None:
    """OptionError, with what stands first, unless losses or metrics that are known do."""
    try:
        asked_for(given or "")
    except OptionError as error:
        why = f"{error.message.partition('; known')[0]}; " if given else ""
        known = f"{', '.join(LOSSES)}, or a metric such as ndcg@10,"
        raise OptionError(f"{why}name one of {known} first: lapsum loss ndcg FILE --target COLUMN") from None


def _piped(name: str) -> list[str]:
    """Standard input, where something is put into it: the source of a command that names none."""
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
        return ["-"]
    what = f"{name} ndcg scores.parquet --target label" if name == "loss" else f"{name} scores.parquet"
    raise OptionError(f"name a file to read, such as lapsum {what}; try lapsum {name} -h")


def doctor(
    warm: Annotated[bool, typer.Option("--warm", help="Compile every kernel now, so that no later run waits.")] = False,
) -> None:
    """What lapsum finds on this machine: versions, cores, memory limit, compiled kernels, GPU."""
    from .doctor import report

    for name, value in report(warm):
        print(f"{name:<10} {value}")


_command(doctor, "What lapsum finds on this machine.")
_command(compare, "All methods side by side on your own rankings.")
_command(bench, "Times on this machine, beside other libraries.")


def help(
    ctx: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", autocompletion=topics, help="A command or a page.", show_default=False),
    ] = None,
) -> None:
    """What a command does, and its options; or a page, such as alpha. Without a name, which ones there are."""
    commands = ctx.parent.command.commands  # type: ignore[union-attr]
    if topic is None:
        print(ctx.parent.get_help() if ctx.parent else "")
    elif topic in commands:
        app([topic, "--help"], standalone_mode=False)
    elif topic in PAGES:
        show(topic)
    else:
        raise OptionError(
            f"no command or page is called {topic!r}; commands: {', '.join(commands)}; pages: {', '.join(PAGES)}"
        )


_command(help, "What a command does, or a page of this manual.")


def _version(value: bool) -> None:
    if value:
        print(f"lapsum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
