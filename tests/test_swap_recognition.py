"""Recognition of definitions: digests of syntax trees, the table of editions, and what a definition's names mean."""

import ast
import builtins
import textwrap
from pathlib import Path

import numpy as np
import pytest

import zerodl_c
from zerodl_c import reference
from zerodl_c.swap import editions, names
from zerodl_c.swap.names import PLACES, Edition, library
from zerodl_c.swap.recognition import Recognition, digest
from zerodl_c.swap.table import TABLE

SWAP = Path(zerodl_c.swap.__file__).parent
SAMPLE = '''
    class Sample(Base, key=1):
        """Text."""
        size: int = 3

        def __init__(self, x, *args, scale=-1.5, **kwargs) -> None:
            self.x: float = x
            self.__hidden = {**kwargs, "a": [i for i in args if i is not None]}

        @property
        def told(self):
            # which is read
            return f"{self.x!r:>8} {'yes' if self.x else u'no'}"

        def forward(self, x: np.ndarray):
            try:
                x[..., ::2] @= lambda y, /: y ** 2 // 3
            except (TypeError, ValueError) as error:
                raise KeyError(b"x", 1j, ...) from error
            while not x > 0 <= 1:
                x -= 1
            else:
                global counter
            return (yield x)
    '''


def digest_of(text):
    return digest(ast.parse(textwrap.dedent(text)).body[0])


class TestDigest:
    def test_is_the_same_in_every_version_of_python(self):
        assert digest_of(SAMPLE) == "8f50edba9261ecb6"

    @pytest.mark.parametrize(
        "old, new",
        [
            ('"""Text."""', "'Another'"),
            ('        """Text."""\n', ""),
            ("size: int = 3", "size = 3"),
            ("size: int = 3", "size: 'any' = (\n            3)  # three"),
            ("self.x: float = x", "self.x = x"),
            (" -> None", ""),
            ("x: np.ndarray", "x"),
            ("u'no'", "'no'"),
            ("class Sample", "class Example"),
            ("# which is read", '"""Which is read."""'),
            ("1.5", "1.50"),
        ],
    )
    def test_is_the_same_whatever_does_not_count(self, old, new):
        assert old in SAMPLE and digest_of(SAMPLE.replace(old, new)) == digest_of(SAMPLE)

    @pytest.mark.parametrize(
        "old, new",
        [
            ("-1.5", "1.5"),
            ("1.5", "1"),
            ("size: int = 3", "size: int = 4"),
            ("size: int = 3", "size: int"),
            ("Base, key", "Base, Other, key"),
            ("        @property\n", ""),
            ("told", "said"),
            ("__hidden", "_hidden"),
            ("x, *args", "x, args"),
            ("(yield x)", "x"),
            ("@=", "*="),
            ("i is not", "i is"),
            ('b"x"', '"x"'),
            ('"a"', "a"),
            (", /", ""),
            ("...)", "None)"),
            ("[..., ::2]", "[..., 2::]"),
            ("global counter", "global count"),
            ("            else:\n                global counter\n", ""),
        ],
    )
    def test_is_another_for_another_tree(self, old, new):
        assert old in SAMPLE and digest_of(SAMPLE.replace(old, new)) != digest_of(SAMPLE)


class TestTable:
    def test_all_names_are_known(self):
        known = {*PLACES, *library, *vars(builtins)}
        for edition in TABLE.values():
            assert edition.place in PLACES.values()
            assert edition.served in ("", edition.place) or hasattr(editions, edition.served)
            assert known.issuperset(edition.needs.split())
            assert edition.editions

    def test_all_of_the_book_is_served_in_its_last_edition(self):
        last = [edition for edition in TABLE.values() if edition.editions.partition(",")[0].endswith(" to now")]
        assert {edition.place for edition in last if edition.served} == set(PLACES.values())

    @pytest.mark.parametrize("engine", ["c", "numpy"])
    def test_older_meanings(self, engine):
        module = {"c": zerodl_c, "numpy": reference}[engine]

        def of(place, maker):
            return names.served(engine, Edition(place, maker, "", ""))

        x = np.random.RandomState(0).rand(2, 3, 4)
        softmax = of("functions.softmax", "softmax_until_2020")
        assert (softmax(x[0]) == module.softmax(x[0])).all()
        for other in (x, x[0, 0]):
            np.testing.assert_allclose(softmax(other), np.exp(other) / np.exp(other).sum(), rtol=1e-14)
        pooling = of("layers.Pooling", "pooling_until_2020")
        assert issubclass(pooling, module.Pooling)
        assert (pooling(2, 2).stride, pooling(2, 2, 2).stride, pooling(2, 2, pad=1).pad) == (1, 2, 1)
        net = of("multi_layer_net_extend.MultiLayerNetExtend", "extended_net_until_2020")(4, [3], 2)
        assert net.accuracy(X=x[0], T=np.zeros(3, int)) in (0, 1 / 3, 2 / 3, 1)
        assert net.numerical_gradient(X=x[0], T=np.zeros(3, int)).keys() == net.params.keys()
        assert names.served(engine, Edition("layers.Pooling", "pooling_until_2020", "", "")) is pooling
        assert names.is_served(engine, "layers.Pooling", pooling)
        assert not names.is_served(engine, "layers.Relu", pooling)


def recognised(text, **namespace):
    """The names that are the book's in a module, whose imports are as given."""
    found = Recognition(ast.parse(textwrap.dedent(text)), "c")
    return {name for name in list(found.definitions) if found.stands(name, namespace)}


MEAN = "def {}(y, t):\n    return np.square(y - t).sum() / 2\n"  # the tests' edition's
LOSS = "def softmax_loss(X, t):\n    return cross_entropy_error(softmax(X), t)\n"


FUNCTIONS = {"softmax": zerodl_c.softmax, "cross_entropy_error": zerodl_c.cross_entropy_error}


class TestRecognition:
    @pytest.mark.parametrize("name, is_so", [("sum_squared_error", 1), ("mean_squared_error", 1), ("loss", 0)])
    def test_the_name_is_one_of_the_books(self, name, is_so):
        assert recognised(MEAN.format(name), np=np) == ({name} if is_so else set())

    @pytest.mark.parametrize("text", [
        "sum_squared_error = None", "import sum_squared_error", "from a import b as sum_squared_error",
        "sum_squared_error.__name__ = 'loss'", "del sum_squared_error", "for sum_squared_error in []: pass",
        "if 0:\n    def sum_squared_error(): pass", "with a as (b, sum_squared_error): pass", "from a import *",
        "def f():\n    global sum_squared_error", "class A:\n    def f(self):\n        global sum_squared_error",
        "try: pass\nexcept A as sum_squared_error: pass", "(sum_squared_error := 1)",
        "setattr(sum_squared_error, a, b)",
        "match a:\n    case [sum_squared_error, *_]: pass", "match a:\n    case {**sum_squared_error}: pass",
        "def sum_squared_error(): pass", "class sum_squared_error: pass", "sum_squared_error += 1",
    ])  # fmt: skip
    def test_a_name_that_is_bound_once_more(self, text):
        assert recognised(MEAN.format("sum_squared_error") + text, np=np) == set()

    def test_names_of_other_scopes_do_not_count(self):
        text = "\ndef f(sum_squared_error):\n    sum_squared_error = 1\n\nclass A:\n    sum_squared_error = 1\n"
        assert recognised(MEAN.format("sum_squared_error") + text, np=np) == {"sum_squared_error"}

    @pytest.mark.parametrize("values", [{}, {"np": builtins}, {"np": None}])
    def test_what_np_is(self, values):
        assert recognised(MEAN.format("sum_squared_error"), **values) == set()

    def test_what_the_names_mean(self):
        assert recognised(LOSS, **FUNCTIONS) == {"softmax_loss"}
        assert recognised(LOSS, **{**FUNCTIONS, "softmax": reference.softmax}) == set()
        assert recognised(LOSS, softmax=zerodl_c.softmax) == set()
        assert recognised(LOSS + "\nfrom a import softmax", **FUNCTIONS) == set()
        assert recognised("from a import softmax\n" + LOSS, **FUNCTIONS) == {"softmax_loss"}
        old = names.served("c", Edition("functions.softmax", "softmax_until_2020", "", ""))
        assert recognised(LOSS, **{**FUNCTIONS, "softmax": old}) == {"softmax_loss"}

    def test_a_definition_further_down(self):
        sigmoid = "def sigmoid(x):\n    return 1.0 / (1.0 + np.exp(np.negative(x)))\n"
        grad = "def sigmoid_grad(x):\n    s = sigmoid(x)\n    return s * (1.0 - s)\n"
        assert recognised(grad + sigmoid, np=np) == {"sigmoid_grad", "sigmoid"}
        assert recognised(grad + sigmoid + "sigmoid = None\n", np=np) == set()
        assert recognised(grad + "from a import *\n" + sigmoid, np=np) == {"sigmoid"}


def test_each_module_of_the_swap_imports_only_what_stands_before_it():
    order = ["names", "table", "recognition", "editions", "modules", "children", "installing", "running"]
    order += ["comparing", "watching", "reporting"]
    assert sorted(order) == sorted(path.stem for path in SWAP.glob("*.py") if path.stem != "__init__")
    for path in SWAP.glob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        used = {node.module or alias.name for node in imports if node.level == 1 for alias in node.names}
        lazily = {"running": {"watching", "reporting"}}.get(path.stem, set())
        before = order if path.stem == "__init__" else order[: order.index(path.stem)]
        assert used - lazily <= {*before}, path
