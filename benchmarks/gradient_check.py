"""How far gradient_check can be trusted: right gradients that it condemns, and wrong ones that it lets pass.

    python benchmarks/gradient_check.py [--seed N] [--nets 200] [--each 20]

Right gradients: nets of every kind that the package has, drawn at random, trained for 0 to 20 epochs on digits, each
with the gradient that its own backpropagation gives. Faults: each kind is put into the gradients of other such nets.
The exit status is 1 unless no right gradient is condemned and no fault is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

import zerodl_c
from zerodl_c import reference
from zerodl_c.datasets import load_digits

Array = np.ndarray
Grads = dict[str, Array]
Change = Callable[[Array, np.random.Generator], Array]  # of one gradient
Put = Callable[["Made", np.random.Generator], Grads]  # a net's gradients with a fault

BATCH = 12  # samples that a gradient is taken of
SAMPLE = 16  # entries of each parameter that are checked, at most; all where one of them is wrong
DATA = load_digits()


# ---- Nets ----------------------------------------------------------------------------------------


class Made(NamedTuple):
    """A net, what its gradient is taken of, and what was drawn."""

    kind: str
    net: Any
    x: Array
    t: Array


class DeepNet:
    """A net as readers of the book write it: layers in a list, batch normalization and dropout in the loss's mode."""

    def __init__(self, layers: list[Any], last_layer: Any, decay: float) -> None:
        self.layers, self.last_layer, self.decay = layers, last_layer, decay
        self.params: dict[str, Array] = {}
        for i, layer in enumerate(layers):
            for name in parameter_names(layer):
                self.params[f"{name}{i}"] = getattr(layer, name)

    def loss(self, x: Array, t: Array, train_flg: bool = False) -> Any:
        for layer in self.layers:
            learns = hasattr(layer, "dropout_ratio") or hasattr(layer, "gamma")
            x = layer.forward(x, train_flg) if learns else layer.forward(x)
        weights = (param for key, param in self.params.items() if key.startswith("W"))
        return self.last_layer.forward(x, t) + sum(0.5 * self.decay * np.sum(W**2) for W in weights)

    def gradient(self, x: Array, t: Array) -> Grads:
        self.loss(x, t, train_flg=True)
        dout = self.last_layer.backward(1)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        grads = {}
        for i, layer in enumerate(self.layers):
            for name in parameter_names(layer):
                grads[f"{name}{i}"] = getattr(layer, f"d{name}") + self.decay * getattr(layer, name) * (name == "W")
        return grads


def parameter_names(layer: Any) -> tuple[str, ...]:
    return ("W", "b") if hasattr(layer, "W") else ("gamma", "beta") if hasattr(layer, "gamma") else ()


class ScoresOnly:
    """SimpleNet with more rows: one weight, and the gradient of its loss by hand."""

    def __init__(self, module: Any, rng: np.random.Generator, inputs: int) -> None:
        self.net, self.softmax = module.SimpleNet(), module.softmax
        self.backward = module.softmax_cross_entropy_backward
        self.net.W = 0.3 * rng.standard_normal((inputs, 10))
        self.params = {"W": self.net.W}

    def predict(self, x: Array) -> Array:
        return self.net.predict(x)

    def loss(self, x: Array, t: Array) -> Any:
        return self.net.loss(x, t)

    def gradient(self, x: Array, t: Array) -> Grads:
        return {"W": x.T @ self.backward(self.softmax(self.net.predict(x)), t)}


def two_layer_net(module: Any, rng: np.random.Generator) -> Any:
    return module.TwoLayerNet(64, int(rng.integers(5, 25)), 10, float(rng.choice([0.01, 0.1, 0.5])))


def multi_layer_net(module: Any, rng: np.random.Generator) -> Any:
    return module.MultiLayerNet(64, hidden(rng), 10, activation(rng), activation(rng), decay(rng))


def multi_layer_net_extend(module: Any, rng: np.random.Generator) -> Any:
    dropout, ratio, normalized = rng.random() < 0.5, rng.uniform(0.1, 0.5), rng.random() < 0.6
    sizes = 64, hidden(rng), 10
    return module.MultiLayerNetExtend(*sizes, activation(rng), activation(rng), decay(rng), dropout, ratio, normalized)


def simple_net(module: Any, rng: np.random.Generator) -> Any:
    return ScoresOnly(module, rng, 64)


def layers_net(module: Any, rng: np.random.Generator) -> Any:
    """Every activation, Tanh included, with batch normalization and dropout."""
    layers, width = [], 64
    kind, normalized, ratio = str(rng.choice(["Relu", "Sigmoid", "Tanh"])), rng.random() < 0.4, rng.uniform(0.1, 0.5)
    dropped = rng.random() < 0.4
    for size in hidden(rng):
        layers.append(affine(module, rng, width, size))
        if normalized:
            layers.append(module.BatchNormalization(np.ones(size), np.zeros(size)))
        layers.append(getattr(module, kind)())
        if dropped:
            layers.append(module.Dropout(ratio))
        width = size
    layers.append(affine(module, rng, width, 10))
    return DeepNet(layers, module.SoftmaxWithLoss(), decay(rng))


def conv_net(module: Any, rng: np.random.Generator) -> Any:
    """In the manner of the book's SimpleConvNet: conv, relu, pool, affine, relu, affine."""
    filters, pad, units = int(rng.integers(2, 6)), int(rng.integers(0, 2)), int(rng.integers(5, 20))
    W = rng.standard_normal((filters, 1, 3, 3)) * (2 / 9) ** 0.5
    layers = [module.Convolution(W, np.zeros(filters), 1, pad), module.Relu(), module.Pooling(2, 2, 2)]
    if rng.random() < 0.3:
        W = rng.standard_normal((filters, filters, 3, 3)) * (2 / 9 / filters) ** 0.5
        layers[1:1] = [module.Relu(), module.Convolution(W, np.zeros(filters), 1, 1)]
    size = filters * ((8 + 2 * pad - 2) // 2) ** 2
    layers += [affine(module, rng, size, units), module.Relu()]
    if rng.random() < 0.3:
        layers.append(module.Dropout(0.3))
    layers.append(affine(module, rng, units, 10))
    return DeepNet(layers, module.SoftmaxWithLoss(), decay(rng))


KINDS = [multi_layer_net, multi_layer_net_extend, layers_net, conv_net, two_layer_net, simple_net]


def hidden(rng: np.random.Generator) -> list[int]:
    return rng.integers(8, 30, rng.integers(1, 7)).tolist()


def activation(rng: np.random.Generator) -> str:
    return str(rng.choice(["relu", "sigmoid"]))


def decay(rng: np.random.Generator) -> float:
    return float(rng.choice([0, 0, 1e-4, 1e-3, 1e-2, 0.1]))


def affine(module: Any, rng: np.random.Generator, inputs: int, outputs: int) -> Any:
    return module.Affine(rng.standard_normal((inputs, outputs)) * (2 / inputs) ** 0.5, np.zeros(outputs))


def make(kind: Callable[..., Any], seed: int, epochs: int | None = None) -> Made:
    rng = np.random.default_rng(seed)
    np.random.seed(seed % 2**32)
    module = (zerodl_c, reference)[int(rng.integers(2))]
    net = kind(module, rng)
    dtype = np.dtype((np.float64, np.float32)[int(rng.integers(2))])
    if dtype != np.float64:
        cast(net, dtype)
    x = DATA.x_train.astype(dtype)
    x = x.reshape(-1, 1, 8, 8) if kind is conv_net else x
    epochs = int(rng.choice([0, 1, 3, 10, 20])) if epochs is None else epochs
    train(module, net, x, DATA.t_train, epochs, rng)
    chosen = rng.choice(len(x), BATCH, replace=False)
    t = DATA.t_train[chosen]
    if rng.random() < 0.3:
        t = np.eye(10)[t]
    name = f"{kind.__name__} {module.__name__} {dtype} epochs {epochs} seed {seed}"
    return Made(name, net, x[chosen], t)


def cast(net: Any, dtype: np.dtype) -> None:
    """Another dtype for the parameters, wherever the net holds them."""
    layers = net.layers.values() if isinstance(getattr(net, "layers", None), dict) else getattr(net, "layers", [])
    for key, param in net.params.items():
        net.params[key] = param.astype(dtype)
        for layer in [*layers, getattr(net, "net", None)]:
            for name, value in vars(layer).items() if layer is not None else ():
                if value is param:
                    setattr(layer, name, net.params[key])


def train(module: Any, net: Any, x: Array, t: Array, epochs: int, rng: np.random.Generator) -> None:
    optimizer, some = module.Adam(lr=0.005), rng.choice(len(x), 300, replace=False)
    for _ in range(epochs):
        for batch in np.split(rng.permutation(some), 6):
            optimizer.update(net.params, net.gradient(x[batch], t[batch]))


# ---- Faults --------------------------------------------------------------------------------------


class Fault(NamedTuple):
    name: str
    applies: Callable[[Made], bool]
    put: Put
    everywhere: bool = True  # so that a sample of the entries of each parameter shows it


def always(made: Made) -> bool:
    return True


def has(text: str) -> Callable[[Made], bool]:
    return lambda made: any(text in type(layer).__name__ for layer in layers_of(made.net))


def layers_of(net: Any) -> list[Any]:
    layers = getattr(net, "layers", [])
    return [*(layers.values() if isinstance(layers, dict) else layers)]


def of_one(change: Change, prefix: str = "") -> Put:
    """A fault in the gradient of one parameter, which has one that is more than rounding."""

    def put(made: Made, rng: np.random.Generator) -> Grads:
        grads = right(made)
        largest = max(abs(grad).max() for grad in grads.values())
        keys = [k for k, g in grads.items() if k.startswith(prefix) and abs(g).max() > 1e-6 * largest and g.size > 3]
        for key in rng.permutation(keys):
            wrong = change(grads[key].copy(), rng)
            if wrong.shape != grads[key].shape or abs(wrong - grads[key]).max() > 0:
                return {**grads, str(key): wrong}
        raise LookupError

    return put


def of_all(change: Change) -> Put:
    return lambda made, rng: {key: change(grad.copy(), rng) for key, grad in right(made).items()}


def right(made: Made) -> Grads:
    return {key: np.array(grad) for key, grad in type(made.net).gradient(made.net, made.x, made.t).items()}


def one_in_a_thousand(grad: Array, rng: np.random.Generator) -> Array:
    """At least one entry, wrong by a hundredth of the largest."""
    for _ in range(max(grad.size // 1000, 1)):
        grad.flat[rng.integers(grad.size)] += 0.01 * abs(grad).max()
    return grad


def transposed(grad: Array, rng: np.random.Generator) -> Array:
    return grad.T.copy()


def without_row(grad: Array, rng: np.random.Generator) -> Array:
    grad[abs(grad).reshape(len(grad), -1).max(axis=1).argmax()] = 0
    return grad


def shifted(grad: Array, rng: np.random.Generator) -> Array:
    return np.roll(grad, 1, axis=-1)


def other_batch(made: Made, rng: np.random.Generator) -> Grads:
    x = DATA.x_train[rng.choice(1437, BATCH, replace=False)].reshape(made.x.shape).astype(made.x.dtype)
    return right(made._replace(x=x))


def other_label(made: Made, rng: np.random.Generator) -> Grads:
    t = made.t.copy()
    t[0] = (t[0] + 1) % 10 if t.ndim == 1 else np.roll(t[0], 1)
    return right(made._replace(t=t))


def swapped(made: Made, rng: np.random.Generator) -> Grads:
    grads = right(made)
    pairs = [(a, b) for a in grads for b in grads if a < b and grads[a].shape == grads[b].shape]
    if not pairs:
        raise LookupError
    a, b = pairs[rng.integers(len(pairs))]
    if np.allclose(grads[a], grads[b], atol=1e-9):
        raise LookupError
    return {**grads, a: grads[b], b: grads[a]}


def patched(kind: str, new: Callable[[Any], Callable[[Array], Array]]) -> Put:
    """The gradient while the layers of a kind go back in another way."""

    def put(made: Made, rng: np.random.Generator) -> Grads:
        found = [layer for layer in layers_of(made.net) if kind in type(layer).__name__]
        for layer in found:
            layer.backward = new(layer)
        try:
            return right(made)
        finally:
            for layer in found:
                del layer.backward

    return put


def input_grad(layer: Any) -> Callable[[Array], Array]:
    """As if `out` were what goes in."""
    return lambda dout: dout * (lambda s: s * (1 - s))(1 / (1 + np.exp(-layer.out)))


def without_variance(layer: Any) -> Callable[[Array], Array]:
    def backward(dout: Array) -> Array:
        layer.dbeta, layer.dgamma = dout.sum(axis=0), (dout * layer.xn).sum(axis=0)
        return layer.gamma / layer.std * (dout - layer.dbeta / len(dout))

    return backward


def without_mean(layer: Any) -> Callable[[Array], Array]:
    def backward(dout: Array) -> Array:
        layer.dbeta, layer.dgamma = dout.sum(axis=0), (dout * layer.xn).sum(axis=0)
        return layer.gamma / layer.std * (dout - layer.xn * layer.dgamma / len(dout))

    return backward


def other_mask(layer: Any) -> Callable[[Array], Array]:
    return lambda dout: dout * (np.random.rand(*dout.shape) > layer.dropout_ratio)


def decays(made: Made) -> bool:
    return getattr(made.net, "weight_decay_lambda", 0) + getattr(made.net, "decay", 0) > 0


def undecayed(made: Made, rng: np.random.Generator) -> Grads:
    name = "decay" if hasattr(made.net, "decay") else "weight_decay_lambda"
    kept = getattr(made.net, name)
    setattr(made.net, name, 0.0)
    try:
        return right(made)
    finally:
        setattr(made.net, name, kept)


def stale(made: Made, rng: np.random.Generator) -> Grads:
    """The gradient of a small step ago."""
    params, grads = made.net.params, right(made)
    kept = {key: param.copy() for key, param in params.items()}
    for key, param in params.items():
        param -= (0.01 * grads[key]).astype(param.dtype)
    try:
        return right(made)
    finally:
        for key, param in params.items():
            param[...] = kept[key]


def float16(grad: Array, rng: np.random.Generator) -> Array:
    return grad.astype(np.float16).astype(grad.dtype)


def noisy(grad: Array, rng: np.random.Generator) -> Array:
    return grad * (1 + 1e-3 * rng.standard_normal(grad.shape))


FAULTS = [
    Fault("sign", always, of_one(lambda grad, rng: -grad)),
    Fault("factor 1.01", always, of_one(lambda grad, rng: 1.01 * grad)),
    Fault("batch size missing", always, of_all(lambda grad, rng: BATCH * grad)),
    Fault("transposed", always, of_one(transposed, "W")),
    Fault("zero row", always, of_one(without_row), False),
    Fault("off by one column", always, of_one(shifted)),
    Fault("one entry in a thousand", always, of_one(one_in_a_thousand), False),
    Fault("missing", always, of_one(lambda grad, rng: 0 * grad)),
    Fault("mean of a bias", has("Affine"), of_one(lambda grad, rng: grad / BATCH, "b")),
    Fault("swapped parameters", always, swapped),
    Fault("another batch", always, other_batch),
    Fault("a wrong label", always, other_label, False),
    Fault("of a step ago", always, stale),
    Fault("noise of 1e-3", always, of_all(noisy)),
    Fault("rounded to float16", always, of_all(float16)),
    Fault("weight decay missing", decays, undecayed),
    Fault("sigmoid's derivative missing", has("Sigmoid"), patched("Sigmoid", lambda layer: lambda dout: dout)),
    Fault("relu's derivative missing", has("Relu"), patched("Relu", lambda layer: lambda dout: dout)),
    Fault("derivative of the input", has("Sigmoid"), patched("Sigmoid", input_grad)),
    Fault("variance's term missing", has("BatchNorm"), patched("BatchNorm", without_variance)),
    Fault("mean's term missing", has("BatchNorm"), patched("BatchNorm", without_mean)),
    Fault("another mask", has("Dropout"), patched("Dropout", other_mask)),
]


# ---- The two counts ------------------------------------------------------------------------------


def right_gradients(count: int, seed: int) -> int:
    condemned = 0
    for i in range(count):
        made = make(KINDS[i % len(KINDS)], seed + i)
        check = check_right(made, as_function=i % 4 == 1)
        condemned += not check
        if not check:
            print(f"condemned: {made.kind}\n{check}\n")
    print(f"right gradients of {count} nets: {condemned} condemned")
    return condemned


def check_right(made: Made, as_function: bool) -> Any:
    """What gradient_check says of a net as it is; or of its loss as a function of its parameters, where that is all."""
    net, x, t = made.net, made.x, made.t
    if isinstance(net, ScoresOnly) and as_function:
        function, gradient = (lambda _: net.loss(x, t)), (lambda _: net.gradient(x, t))
        return zerodl_c.gradient_check(function, net.params, gradient, sample=SAMPLE)
    return zerodl_c.gradient_check(net, x, t, sample=SAMPLE)


def wrong_gradients(each: int, seed: int) -> int:
    total = missed = 0
    for fault in FAULTS:
        found, i = 0, 0
        while found < each:
            i += 1
            made = make(KINDS[i % len(KINDS)], seed + 1_000_000 + i)
            if not fault.applies(made):
                continue
            try:
                check = check_with(fault, made, i)
            except LookupError:
                continue
            found += 1
            if check:
                missed += 1
                print(f"missed: {fault.name} in {made.kind}\n{check}\n")
        total += each
    print(f"{len(FAULTS)} faults, each in the gradients of {each} nets: {missed} of {total} missed")
    return missed


def check_with(fault: Fault, made: Made, seed: int) -> Any:
    """What gradient_check says of a net that has this fault."""

    def wrong(net: Any, x: Array, t: Array) -> Grads:
        return fault.put(made._replace(net=net, x=x, t=t), np.random.default_rng(seed))

    made.net.gradient = MethodType(wrong, made.net)
    return zerodl_c.gradient_check(made.net, made.x, made.t, sample=SAMPLE if fault.everywhere else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--nets", type=int, default=200, metavar="N")
    parser.add_argument("--each", type=int, default=20, metavar="N")
    args = parser.parse_args()
    start = time.perf_counter()
    wrong = right_gradients(args.nets, args.seed) + wrong_gradients(args.each, args.seed)
    print(f"{time.perf_counter() - start:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
