"""README.md and the pages of `lapsum help`: their blocks of shell and Python, run, and the output that they show.

A block is followed by one of `text` if it prints anything. Of a shell block that shows standard output, and beside it
the lines `lapsum: ...` of standard error if it shows one. What is shown is written anew, in place, by

    python3 tests/documents.py
"""

import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "lapsum_cli/pages").glob("*.md"))
NEEDS = {"a GPU": "cupy"}  # a module of another name than what a block needs
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.S | re.M)


@dataclass
class Block:
    """A block of a document, and what the document says that it prints."""

    document: Path
    language: str
    code: str
    shown: str
    at: tuple[int, int]  # where the block begins, and ends with what is shown

    def __str__(self):
        return f"{self.document.stem}:{self.document.read_text()[: self.at[0]].count(chr(10)) + 1}"

    @property
    def is_installing(self):
        """Whether it installs, and then runs something: this is run, and compared if what it prints is shown."""
        return "pip install" in self.code

    def can_run(self):
        """Whether the module is there of a block that begins with `# needs MODULE`."""
        needed = re.match(r"# needs (.+)", self.code)
        return not needed or importlib.util.find_spec(NEEDS.get(needed[1], needed[1])) is not None


def blocks(language, documents=(README, *PAGES)):
    """The blocks of a language, in the order in which they are read."""
    found = []
    for document in documents:
        for match in BLOCK.finditer(document.read_text()):
            if match[1] == language:
                found.append(Block(document, match[1], match[2], match[3] or "", match.span()))
    return found


def printed(block, folder):
    """What a block prints, run in a folder that has the samples; of standard error the part that it shows."""
    return {"sh": _by_shell, "python": _by_python}[block.language](block, folder)


def _by_shell(block, folder):
    installed = os.path.dirname(sys.executable)
    environment = {**os.environ, "PATH": installed + os.pathsep + os.environ["PATH"]}
    code = block.code.rpartition(" && ")[2] if block.is_installing else block.code
    # Without pipefail: `head` closes its pipe when it has enough.
    done = subprocess.run(["bash", "-euc", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{block}: {done.stderr}"
    said = [line for line in done.stderr.splitlines(keepends=True) if "compil" not in line]
    return ("".join(said) if re.search("^lapsum: ", block.shown, re.M) else "") + done.stdout


def _by_python(block, folder):
    with (
        contextlib.chdir(folder),
        warnings.catch_warnings(action="default"),  # of other libraries'; pytest has them all raised
        contextlib.redirect_stdout(io.StringIO()) as out,
    ):
        exec(compile(block.code, str(block), "exec"), {"__name__": "__main__"})
    return out.getvalue()


NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[-+]?\d+)?")


def same(text, other, off=1e-4):
    """Whether two texts are the same, but for the last digits of floats, in which processors may differ."""
    floats, others = ([float(number) for number in NUMBER.findall(t)] for t in (text, other))
    return NUMBER.sub("0.0", text).split() == NUMBER.sub("0.0", other).split() and all(
        abs(a - b) <= off * max(1.0, abs(a)) for a, b in zip(floats, others, strict=True)
    )


def checkout(folder):
    """A folder with what the documents' commands read."""
    shutil.copytree(ROOT / "samples", Path(folder, "samples"))
    return folder


def rewrite(document, folder):
    """Put what its blocks print now into a document."""
    text = document.read_text()
    in_order = sorted([*blocks("sh", [document]), *blocks("python", [document])], key=lambda block: block.at)
    run = [block for block in in_order if block.can_run() and (block.shown or not block.is_installing)]
    outputs = [(block, printed(block, folder)) for block in run]
    for block, output in reversed(outputs):  # so that places hold
        if not same(output, block.shown):
            start, end = block.at
            text = f"{text[:start]}{shown_with(block, output)}{text[end:]}"
            print(f"{block}\n{output}")
    document.write_text(text)


def shown_with(block, output):
    """The block in Markdown, with what it prints."""
    return f"```{block.language}\n{block.code}```\n" + (f"\n```text\n{output}```\n" if output else "")


if __name__ == "__main__":
    for document in (README, *PAGES):
        with tempfile.TemporaryDirectory() as folder:
            rewrite(document, checkout(folder))
