"""The notebooks run from top to bottom, are stored without outputs, and are the same in both languages."""

import ast
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
FOLDER = Path(__file__).resolve().parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ENGLISH = [path for path in NOTEBOOKS if not path.name.endswith(".ja.ipynb")]

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def read(path):
    return nbformat.read(path, as_version=4)


def meaning(code):
    """The code without what is said in it: strings and comments."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def test_there_are_five_in_two_languages():
    names = {path.name.split(".")[0] for path in NOTEBOOKS}
    assert names == {"gradients", "backpropagation", "optimizers", "convnet", "swap"}
    assert {path.name for path in NOTEBOOKS} == {name + end for name in names for end in (".ipynb", ".ja.ipynb")}


def test_each_is_listed():
    listed = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"](notebooks/{path.name})" not in listed] == []


@each
def test_no_outputs_are_stored(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.name)
def test_both_languages_compute_the_same(path):
    english, japanese = read(path).cells, read(path.with_suffix(".ja.ipynb")).cells
    for ours, theirs in zip(english, japanese, strict=True):
        assert (ours.cell_type, ours.id) == (theirs.cell_type, theirs.id)
        if ours.cell_type == "code":
            assert meaning(ours.source) == meaning(theirs.source)
        else:
            assert ours.source.isascii() and not theirs.source.isascii()


@each
def test_a_notebook_runs(path, elsewhere):
    """Every picture that a cell shows is one, and nothing warns."""
    pytest.importorskip("ipykernel")
    pytest.importorskip("sklearn")
    nbclient = pytest.importorskip("nbclient")
    notebook = read(path)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    for cell in notebook.cells:
        assert sum("image/png" in output.get("data", {}) for output in cell.get("outputs", [])) <= 1
    assert any("image/png" in output.get("data", {}) for output in outputs) or path.name.startswith("backpropagation")
