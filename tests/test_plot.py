"""What the pictures show, where they go, and that notebooks show them once."""

import io
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.testing import assert_allclose, assert_array_equal

from zerodl_c import MultiLayerNet, Trainer, bench, plot

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def drawn(monkeypatch):
    """What is handed to matplotlib: (method, arguments) of each call that draws."""
    calls = []

    def watch(owner, name):
        draw = getattr(owner, name)

        def keep_and_draw(self, *args, **kwargs):
            calls.append((name, args))
            return draw(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, keep_and_draw)

    for owner, name in ((Axes, "contour"), (Axes, "quiver"), (Axes3D, "plot_surface")):
        watch(owner, name)
    return calls


def saddle(x):
    return x[0] ** 2 - x[0] * x[1]


def records():
    seconds = {"c": 1.0, "numpy": 2.0, "torch": 3.0}
    cases = [(f"case {i}", dtype) for i in range(3) for dtype in ("float32", "float64")]
    return [bench.Record("small", case, dtype, 1, 1, 1, seconds, None) for case, dtype in cases]


CURVES = {"loss": [2.3, 0.9, 0.4], "test accuracy": [0.1, 0.7, 0.9]}
PICTURES = {
    "surface": (plot.surface, saddle, 3, "3d"),
    "gradient_field": (plot.gradient_field, saddle, 1, None),
    "learning_curves": (plot.learning_curves, CURVES, 2, None),
    "speed_ratios": (plot.speed_ratios, records(), 1, None),
}
every_picture = pytest.mark.parametrize(("draw", "what", "panels", "projection"), PICTURES.values(), ids=PICTURES)


# ---- A function of two variables -----------------------------------------------------------------


def test_surface_draws_f_and_its_partial_derivatives(drawn):
    plot.surface(saddle)
    assert [name for name, _ in drawn] == ["plot_surface"] * 3
    x0, x1 = drawn[0][1][:2]
    assert (x0.min(), x0.max(), x1.min(), x1.max()) == (-5, 5, -5, 5)
    for (_, (*x, height)), expected in zip(drawn, (x0**2 - x0 * x1, 2 * x0 - x1, -x0), strict=True):
        assert_array_equal(x, [x0, x1])
        assert_allclose(height, expected, atol=1e-8)


def test_gradient_field_draws_contour_lines_and_arrows_uphill(drawn):
    plot.gradient_field(saddle)
    (first, (x0, x1, values)), (second, arrows) = drawn
    assert (first, second) == ("contour", "quiver")
    assert_allclose(values, x0**2 - x0 * x1, atol=1e-12)
    axis = (np.arange(16) + 0.5) / 1.6 - 5
    x0, x1, d0, d1 = arrows
    assert_allclose([x0, x1], np.meshgrid(axis, axis), atol=1e-12)
    assert_allclose([d0, d1], [2 * x0 - x1, -x0], atol=1e-8)


def test_gradient_field_of_another_square_and_of_a_constant(drawn):
    plot.gradient_field(lambda x: np.float64(3), extent=(0, 1))
    (_, (x0, *_)), (_, (*_, d0, d1)) = drawn
    assert (x0.min(), x0.max()) == (0, 1)
    assert not d0.any() and not d1.any()


@pytest.mark.parametrize("f", [saddle, lambda x: x[0] + x[1], lambda x: x[0]])
def test_no_arrow_crosses_the_frame(f):
    (axes,) = plot.gradient_field(f).axes
    (quiver,) = [artist for artist in axes.collections if hasattr(artist, "scale_units")]
    half = np.stack([quiver.U, quiver.V]) / quiver.scale / 2
    middles = quiver.XY.T
    assert quiver.pivot == "middle" and quiver.angles == quiver.scale_units == "xy"
    assert np.abs(half).max() > 0.2
    assert (np.abs(middles) + np.abs(half)).max() <= 5 + 1e-9


@pytest.mark.parametrize("size", [(6, 5), (9, 3), (3, 8)])
def test_the_colour_bar_is_as_tall_as_the_axes(size):
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    assert plot.gradient_field(saddle, ax=axes) is figure
    figure.draw_without_rendering()
    (bar,) = axes.child_axes
    assert_allclose(bar.get_window_extent().intervaly, axes.get_window_extent().intervaly)


@pytest.mark.parametrize("draw", [plot.surface, plot.gradient_field])
@pytest.mark.parametrize(
    ("f", "extent", "error"),
    [
        (3, (-5, 5), TypeError("f must be callable, got int")),
        (lambda x: x, (-5, 5), TypeError("f must give one real number, got shape (2,)")),
        (saddle, (1, 1), ValueError("extent must be two finite numbers, low < high, got (1, 1)")),
        (saddle, (0, np.inf), ValueError("extent must be two finite numbers, low < high, got (0, inf)")),
        (saddle, 5, ValueError("extent must be two finite numbers, low < high, got 5")),
        (saddle, "ab", ValueError("extent must be two finite numbers, low < high, got ab")),
        (saddle, (1, 2, 3), ValueError("extent must be two finite numbers, low < high, got (1, 2, 3)")),
    ],
)
def test_what_cannot_be_drawn(draw, f, extent, error):
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
        draw(f, "none.png", extent)
    assert not Path("none.png").exists()


# ---- Learning curves -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainers():
    """Of two optimizers, which learn to tell positive numbers from negative ones."""
    np.random.seed(0)
    x = np.random.randn(400, 3)
    t = (x[:, 0] > 0).astype(int)
    trainers = {}
    for name in ("SGD", "Adam"):
        net = MultiLayerNet(3, [5], 2)
        trainers[name] = Trainer(net, x[:300], t[:300], x[300:], t[300:], 4, 10, name, {"lr": 0.05}, verbose=False)
        trainers[name].train()
    return trainers


def labels(axes):
    return [text.get_text() for text in axes.texts]


def test_curves_of_a_history():
    loss, accuracy = plot.learning_curves(CURVES, title="digits").axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "test accuracy")
    assert_array_equal(loss.lines[0].get_xydata(), [(0, 2.3), (1, 0.9), (2, 0.4)])
    assert (labels(loss), labels(accuracy)) == (["0.4"], ["0.9"])
    assert loss.get_figure().get_suptitle() == "digits"


def test_curves_of_a_trainer(trainers):
    trainer = trainers["Adam"]
    loss, accuracy = plot.learning_curves(trainer).axes
    raw, mean = loss.lines
    assert_allclose(raw.get_xydata(), np.stack([np.arange(120) / 30, trainer.train_loss_list], 1))
    assert_allclose(mean.get_ydata()[0], np.mean(trainer.train_loss_list[:4]))
    assert_allclose(mean.get_xdata()[-1], np.mean([116, 117, 118, 119]) / 30)
    assert loss.get_yscale() == "log"
    train, test = accuracy.lines
    assert_array_equal(train.get_ydata(), trainer.train_acc_list)
    assert_array_equal(test.get_xydata(), np.stack([np.arange(4), trainer.test_acc_list], 1))
    assert [label.split()[0] for label in sorted(labels(accuracy))] == ["test", "train"]
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"


def test_curves_of_a_trainers_history_are_by_steps(trainers):
    history = trainers["SGD"].history
    loss, accuracy = plot.learning_curves(history).axes
    assert_array_equal(loss.lines[0].get_ydata(), history["loss"])
    assert_array_equal(accuracy.lines[1].get_xydata(), np.stack([[0, 30, 60, 90], history["test_acc"]], 1))
    assert accuracy.get_title() == "accuracy" and loss.get_xlabel() == accuracy.get_xlabel() == "step"


def test_a_trainer_that_takes_few_accuracies_shows_them_where_they_were_taken():
    """An epoch of 7.5 steps: every second one begins with a step."""
    x, t = np.random.RandomState(0).randn(75, 3), np.arange(75) % 2
    trainer = Trainer(MultiLayerNet(3, [5], 2), x, t, x, t, 6, 10, verbose=False)
    trainer.train()
    _, accuracy = plot.learning_curves(trainer).axes
    assert_allclose(accuracy.lines[0].get_xdata(), [0, 2, 4])


def test_curves_of_several_trainers(trainers):
    loss, accuracy = plot.learning_curves(trainers).axes
    for axes in (loss, accuracy):
        assert sorted(label.split()[0] for label in labels(axes)) == ["Adam", "SGD"]
    assert accuracy.get_title() == "test accuracy (dotted: train)"
    for trainer, color in zip(trainers.values(), ("C0", "C1"), strict=True):
        train, test = [line for line in accuracy.lines if line.get_color() == color]
        assert (train.get_linestyle(), test.get_linestyle()) == (":", "-")
        assert_array_equal(train.get_ydata(), trainer.train_acc_list)
        assert_array_equal(test.get_ydata(), trainer.test_acc_list)


def test_equal_curves_are_one_line_with_both_names():
    almost = {quantity: np.array(values) + 1e-9 for quantity, values in CURVES.items()}
    other = CURVES | {"loss": [2.3, 1.5, 0.8]}
    loss, accuracy = plot.learning_curves({"c": CURVES, "numpy": almost, "other": other}).axes
    assert labels(loss) == ["c, numpy 0.4", "other 0.8"] and len(loss.lines) == 2
    assert labels(accuracy) == ["c, numpy, other 0.9"] and len(accuracy.lines) == 1


@pytest.mark.parametrize("ends", [(0.9, 0.9001, 0.9002), (0.1, 0.9, 0.9), (0.0, 0.001, 0.002, 1.0), (0.5,) * 9])
def test_labels_are_apart_and_in_the_order_of_the_ends(ends):
    curves = {str(i): {"accuracy": [i / 10, end]} for i, end in enumerate(ends)}
    figure = plot.learning_curves(curves)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text().split()[0] for text in axes.texts] == [str(i) for i in range(len(ends))]
    assert all(above.y0 > below.y0 + 0.8 * below.height for below, above in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_loss_that_diverges_leaves_a_gap():
    (axes,) = plot.learning_curves({"loss": [2.0, 1.0, np.inf, np.nan]}).axes
    assert_array_equal(axes.lines[0].get_ydata(), [2, 1, np.nan, np.nan])
    assert labels(axes) == ["1"]


def test_the_title_names_what_the_trainers_have_in_common(trainers):
    net = "MultiLayerNet(3-5-2, relu, 32 parameters)"
    assert plot.learning_curves(trainers).get_suptitle() == f"{net}, 300 samples"
    assert plot.learning_curves(trainers["SGD"], title="mine").get_suptitle() == "mine"
    other = trainers | {"other": CURVES}
    assert plot.learning_curves(other).get_suptitle() == f"{net}, 300 samples"
    x, t = np.eye(4), np.arange(4) % 2
    another = Trainer(MultiLayerNet(4, [5], 2), x, t, x, t, 1, 1, verbose=False)
    another.train()
    assert plot.learning_curves(trainers | {"another": another}).get_suptitle() == ""


@pytest.mark.parametrize(
    ("histories", "error"),
    [
        ([1, 2], TypeError("histories must be a Trainer, a mapping of quantities to numbers, .*, got list")),
        (MultiLayerNet(2, [2], 2), TypeError("histories must be .*, got MultiLayerNet")),
        ({"a": 3}, TypeError("histories must be .*, got int")),
        ({}, ValueError("histories must hold something to draw, got none")),
        ({"loss": []}, ValueError("histories must have finite values of each quantity, got none of 'loss'")),
        ({"iteration": [1, 2]}, ValueError("histories must hold something to draw, got none")),
        ({"loss": ["a"]}, TypeError(r"histories must have names and sequences of numbers, got \['a'\] .* of 'loss'")),
        ({"loss": [[1.0]]}, TypeError(r"histories must have names and sequences of numbers, got \[\[1.0\]\] .*")),
        ({" ": [1.0]}, TypeError(r"histories must have names and sequences of numbers, got \[1.0\] .* of ' '")),
        ({3: [1.0]}, TypeError(r"histories must have names and sequences of numbers, got \[1.0\] .* of 3")),
        (
            {"train_acc": [0.1, 0.2], "iteration": [0]},
            ValueError("histories must have an iteration for each of 'train_acc', got 1 of 2"),
        ),
        ({"a": {"loss": [np.nan]}}, ValueError("histories must have finite values of each quantity, .* 'loss'")),
    ],
)
def test_what_is_no_history(histories, error):
    with pytest.raises(type(error), match=f"^{error}$"):
        plot.learning_curves(histories, "none.png")
    assert not Path("none.png").exists()


def test_names_that_are_numbers(trainers):
    """As the learning rates of several Trainers are."""
    figure = plot.learning_curves(dict(zip([0.1, 0.01], trainers.values(), strict=False)))
    assert [text.get_text().split()[0] for text in figure.axes[0].texts] in (["0.1", "0.01"], ["0.01", "0.1"])


@pytest.mark.parametrize("draw", [plot.surface, plot.gradient_field])
def test_a_function_that_gives_an_array_of_one_number(draw):
    assert draw(lambda x: np.array([x @ x])).axes


# ---- Where pictures go ---------------------------------------------------------------------------

MAGIC = {".png": b"\x89PNG", ".PNG": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".pdf": b"%PDF", ".svg": b"<?xml"}


@every_picture
def test_a_picture_is_a_figure_and_pyplot_does_not_know_it(draw, what, panels, projection):
    figure = draw(what)
    assert isinstance(figure, Figure) and len(figure.axes) == panels
    assert plt.get_fignums() == []


@every_picture
def test_the_suffix_is_the_format(draw, what, panels, projection):
    for suffix, magic in MAGIC.items():
        draw(what, Path("picture" + suffix))
        assert Path("picture" + suffix).read_bytes().startswith(magic)
    memory = io.BytesIO()
    draw(what, memory)
    assert memory.getvalue().startswith(MAGIC[".png"])


@every_picture
def test_pictures_are_drawn_into_given_axes(draw, what, panels, projection):
    figure, axes = plt.subplots(1, panels, subplot_kw={"projection": projection})
    empty = [len(one.get_children()) for one in np.ravel(axes)]
    assert draw(what, "mine.png", ax=axes) is figure
    assert figure.axes == list(np.ravel(axes))
    assert all(len(one.get_children()) > before for one, before in zip(np.ravel(axes), empty, strict=True))
    assert matplotlib.image.imread("mine.png").std() > 0.01
    plt.close(figure)


def test_axes_in_a_subfigure():
    figure = Figure()
    left, _ = figure.subfigures(1, 2)
    assert plot.gradient_field(saddle, "all.png", ax=left.subplots()) is figure
    assert Path("all.png").exists()


@every_picture
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("picture.xyz", ValueError(r"path must end in one of .*\.pdf, .*\.png, .*\.svg.*, got 'picture\.xyz'")),
        ("picture", ValueError(r"path must end in one of .*, got 'picture'")),
        ("nowhere/picture.png", FileNotFoundError(".*nowhere.*")),
        (3, TypeError("path must be a path or a binary file, got int")),
    ],
)
def test_where_no_picture_can_go(draw, what, panels, projection, path, error):
    """Found out before any work: f is not called."""
    if callable(what):
        what = lambda x: pytest.fail("f was called")  # noqa: E731
    with pytest.raises(type(error), match=error.args[0]):
        draw(what, path)
    assert not list(Path().iterdir())


@every_picture
def test_what_are_no_axes_for_it(draw, what, panels, projection):
    with pytest.raises(TypeError, match=r"^ax must be matplotlib Axes, got int$"):
        draw(what, ax=[3] * panels)
    with pytest.raises(ValueError, match=rf"^ax must be {panels} Axes, one for each panel, got 4$"):
        draw(what, ax=Figure().subplots(1, 4, subplot_kw={"projection": projection}))
    removed = Figure().subplots(1, panels, squeeze=False, subplot_kw={"projection": projection})[0]
    removed[0].remove()
    with pytest.raises(ValueError, match=r"^ax must be in a figure"):
        draw(what, ax=removed)
    wrong = "polar" if projection is None else None
    with pytest.raises(ValueError, match=r"^ax must be of projection="):
        draw(what, ax=Figure().subplots(1, panels, subplot_kw={"projection": wrong}))


# ---- Notebooks -----------------------------------------------------------------------------------

CELLS = {
    "ours": ("from zerodl_c import plot\nplot.gradient_field(lambda x: x[0] * x[1])", 1),
    "ours, kept": ("from zerodl_c import plot\nfigure = plot.gradient_field(lambda x: x[0] * x[1])", 0),
    "ours, beside pyplot": (
        "import matplotlib.pyplot as plt\nfrom zerodl_c import plot\nplot.gradient_field(lambda x: x[0] * x[1])",
        1,
    ),
    "the user's": (
        "import matplotlib.pyplot as plt\nfrom zerodl_c import plot\n"
        "_, axes = plt.subplots()\nplot.gradient_field(lambda x: x[0] * x[1], ax=axes);",
        1,
    ),
    "many": (
        "import warnings\nwarnings.simplefilter('error')\nfrom zerodl_c import plot\n"
        "for _ in range(25):\n    plot.learning_curves({'loss': [2, 1]})",
        0,
    ),
}


@pytest.mark.parametrize(("code", "shown"), CELLS.values(), ids=CELLS)
def test_a_notebook_shows_a_picture_once(code, shown):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = notebook.cells[0].outputs
    assert [sum("image/png" in output.get("data", {}) for output in outputs), len(outputs)] == [shown, shown]


def test_a_picture_is_sharp_and_of_the_size_that_it_is_laid_out_for():
    png, shown = plot.gradient_field(saddle)._repr_png_()
    assert shown == {"width": 600, "height": 500}
    assert matplotlib.image.imread(io.BytesIO(png)).shape[:2] == (1000, 1200)


def test_without_matplotlib():
    code = "import sys\nsys.modules['matplotlib'] = None\nfrom zerodl_c import plot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.search(r"the module matplotlib(\.figure)? is missing: pip install 'zerodl_c\[demo\]'$", last)
