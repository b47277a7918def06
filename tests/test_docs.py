"""The pages' links lead somewhere, and their C is what the example has. Their Python lines run as doctests."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import zerodl_c

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(page for folder in (".", "docs", "examples", "benchmarks") for page in (ROOT / folder).glob("*.md"))


def text(page):
    return page.read_text(encoding="utf-8")


def unindented(code):
    return "\n".join(line.strip() for line in code.splitlines())


def anchors(page):
    """What a link to a heading of a page may say after its #, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def test_every_page_can_be_found():
    listed = text(ROOT / "docs" / "README.md")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in listed


def test_c_is_what_the_example_has():
    blocks = re.findall(r"^```c\n(.*?)^```", text(ROOT / "docs" / "c.md"), re.M | re.S)
    assert len(blocks) == 6
    example = unindented(text(ROOT / "examples" / "train_a_net.c"))
    assert [block for block in blocks if unindented(block) not in example] == []


def test_functions_that_the_page_on_c_names_are_declared():
    page, header = text(ROOT / "docs" / "c.md"), text(ROOT / "csrc" / "zerodl.h")
    names = set(re.findall(r"\bzdl_\w*[a-z0-9]\b", page))
    assert len(names) >= 7
    assert [name for name in names if not re.search(rf"\b{name}\b", header)] == []


@pytest.mark.skipif(os.name == "nt" or not shutil.which("cc"), reason="needs cc and a shell")
def test_the_library_of_the_page_on_c_links(elsewhere):
    (commands,) = re.findall(r"^```sh\n(.*?)^```", text(ROOT / "docs" / "c.md"), re.M | re.S)
    shutil.copy(ROOT / "examples" / "train_a_net.c", "program.c")
    environment = os.environ | {"LD_PRELOAD": "", "csrc": zerodl_c.get_include()}
    command = ["sh", "-ec", commands.replace("-O3", "-O0")]  # sooner
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loss" in subprocess.run(["./program"], capture_output=True, text=True, timeout=60).stdout
