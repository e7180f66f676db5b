"""How lines of delimited text are told into fields: by format, and by what the user says of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.errors import OptionError

_LINE_ENDS = ("\n", "\r")


@dataclass(frozen=True)
class Dialect:
    """How the fields of a row are told apart.

    quote: what stands around a field that holds a delimiter or a line end, "" where nothing does, and fields are what
    stands between delimiters. escape: what takes its meaning from the quote, delimiter, line end or escape that
    follows it, "" where nothing does; quotes within quotes are doubled, with or without it. header: whether the first
    row names the columns.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True


DIALECTS = {"csv": Dialect(), "tsv": Dialect("\t", quote="")}


@dataclass(frozen=True)
class Given:
    """What the user says of the dialect of an input; None where nothing is said."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    no_header: bool = False

    def of(self, format: str, name: str) -> Dialect:
        """The dialect of an input of this format; OptionError where the options do not fit it, or one another."""
        said = {
            option: value.replace("\\t", "\t")
            for option, value in (("delimiter", self.delimiter), ("quote", self.quote), ("escape", self.escape))
            if value is not None
        }
        if format not in DIALECTS:
            if said or self.no_header:
                options = ", ".join(
                    f"⟨{option}⟩" for option in (*said, *(["no_header=True"] if self.no_header else []))
                )
                raise OptionError(f"{name}: {options} is for {' and '.join(DIALECTS)}, and the input is {format}")
            return Dialect()
        for option, value in said.items():
            most = "one character" if option == "delimiter" else "one character, or '' for none"
            if len(value) > 1 or not value.isascii() or value in (*_LINE_ENDS, "\0") or value == "" == most[13:]:
                raise OptionError(f"⟨{option}⟩ must be {most}, of ASCII and no line end, got {value!r}")
        made = replace(DIALECTS[format], **said, header=not self.no_header)
        if made.escape == made.quote:
            made = replace(made, escape="")  # a quote before a quote is a doubled one
        if made.delimiter in (made.quote, made.escape):
            raise OptionError(f"the delimiter {made.delimiter!r} cannot be the quote or the escape too")
        return made
