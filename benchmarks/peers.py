"""The peers of `zerodl-c bench`: the same work by PyTorch, SciPy, scikit-learn, ONNX Runtime and JAX.

The command takes this file from the checkout, or from anywhere by `--peers FILE`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from zerodl_c.bench.engines import RATE, Engine, Params, Work
from zerodl_c.bench.nets import Array, Net


class SciPy(Engine):
    name = "scipy"
    packages: ClassVar = {"scipy": "scipy"}

    def __init__(self) -> None:
        self.linalg: Any = import_module("scipy.linalg")
        self.special: Any = import_module("scipy.special")

    def sigmoid(self, x: Array) -> Work:
        return partial(self.special.expit, x)

    def softmax(self, x: Array) -> Work:
        return partial(self.special.softmax, x, axis=-1)

    def log_softmax(self, x: Array) -> Work:
        return partial(self.special.log_softmax, x, axis=-1)

    def matmul(self, a: Array, b: Array) -> Work:
        """out.T = b.T @ a.T: so nothing is copied, for BLAS keeps matrices by columns, and out comes by rows."""
        gemm = self.linalg.get_blas_funcs("gemm", (a, b))
        (left, trans_a), (right, trans_b) = (
            (m, True) if m.flags.f_contiguous and not m.flags.c_contiguous else (m.T, False) for m in (b, a)
        )
        return lambda: gemm(1.0, left, right, trans_a=trans_a, trans_b=trans_b).T


class ScikitLearn(Engine):
    name = "sklearn"
    packages: ClassVar = {"scikit-learn": "sklearn"}

    def __init__(self) -> None:
        self.extmath: Any = import_module("sklearn.utils.extmath")
        self.neural_network: Any = import_module("sklearn.neural_network")

    def softmax(self, x: Array) -> Work | None:
        return partial(self.extmath.softmax, x) if x.ndim == 2 else None

    def training_step(self, params: Params, x: Array, t: Array) -> Work:
        classifier = self.classifier(params, len(x))

        def work() -> list[Array]:
            classifier.partial_fit(x, t)
            (W1, W2), (b1, b2) = classifier.coefs_, classifier.intercepts_
            return [W1, b1, W2, b2]

        return work

    def predict(self, params: Params, x: Array) -> Work:
        return partial(self.classifier(params, 10).predict_proba, x)

    def classifier(self, params: Params, batch: int) -> Any:
        """MLPClassifier makes its weights when it first sees data; then they are replaced by ours."""
        W1, b1, W2, b2 = (params[key].copy() for key in ("W1", "b1", "W2", "b2"))
        classifier = self.neural_network.MLPClassifier(
            W1.shape[1],
            activation="logistic",
            solver="sgd",
            alpha=0,
            batch_size=batch,
            learning_rate_init=RATE,
            momentum=0,
            nesterovs_momentum=False,
        )
        labels = np.arange(batch) % b2.size
        classifier.partial_fit(np.zeros((batch, len(W1)), W1.dtype), labels, classes=np.arange(b2.size))
        classifier.coefs_, classifier.intercepts_ = [W1, W2], [b1, b2]
        return classifier


class Torch(Engine):
    name = "torch"
    packages: ClassVar = {"torch": "torch"}

    def __init__(self) -> None:
        self.torch: Any = import_module("torch")

    def isa(self) -> str:
        return str(self.torch.backends.cpu.get_cpu_capability())

    def set_threads(self, n: int) -> None:
        self.torch.set_num_threads(n)

    def sigmoid(self, x: Array) -> Work:
        return partial(self.torch.sigmoid, self.torch.from_numpy(x))

    def softmax(self, x: Array) -> Work:
        return partial(self.torch.softmax, self.torch.from_numpy(x), -1)

    def log_softmax(self, x: Array) -> Work:
        return partial(self.torch.log_softmax, self.torch.from_numpy(x), -1)

    def loss_and_gradient(self, x: Array, t: Array) -> Work:
        logits, labels = self.torch.from_numpy(x.copy()).requires_grad_(), self.torch.from_numpy(t)
        cross_entropy = self.torch.nn.functional.cross_entropy

        def work() -> tuple[Any, Any]:
            logits.grad = None
            loss = cross_entropy(logits, labels)
            loss.backward()
            return loss.detach(), logits.grad

        return work

    def matmul(self, a: Array, b: Array) -> Work:
        return partial(self.torch.matmul, self.torch.from_numpy(a), self.torch.from_numpy(b))

    def update(self, optimizer: str, param: Array, grad: Array) -> Work:
        tensor = self.torch.from_numpy(param.copy()).requires_grad_()
        tensor.grad = self.torch.from_numpy(grad)
        step = self.optimizer(optimizer)([tensor]).step

        def work() -> Any:
            step()
            return tensor.detach()

        return work

    def optimizer(self, name: str) -> Callable[..., Any]:
        """The book's, save that Adam adds its eps after the root is corrected for its start, and not before.

        With this eps its first step is the book's.
        """
        optim = self.torch.optim
        return {
            "SGD": partial(optim.SGD, lr=0.01),
            "Momentum": partial(optim.SGD, lr=0.01, momentum=0.9),
            "Nesterov": partial(optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
            "AdaGrad": partial(optim.Adagrad, lr=0.01, eps=1e-7),
            "RMSprop": partial(optim.RMSprop, lr=0.01, alpha=0.99, eps=1e-7),
            "Adam": partial(optim.Adam, lr=0.001, betas=(0.9, 0.999), eps=1e-7 / (1 - 0.999) ** 0.5),
        }[name]

    def batch_normalization(self, x: Array, gamma: Array, beta: Array, dout: Array) -> Work:
        layer = self.torch.nn.BatchNorm1d(len(gamma), eps=1e-6)
        return self.forward_and_backward(self.given(layer, (gamma, beta)), x, dout)

    def convolution(self, x: Array, W: Array, b: Array, dout: Array) -> Work:
        filters, channels, *window = W.shape
        layer = self.torch.nn.Conv2d(channels, filters, window)
        return self.forward_and_backward(self.given(layer, (W, b)), x, dout)

    def pooling(self, x: Array, dout: Array) -> Work:
        return self.forward_and_backward(self.torch.nn.MaxPool2d(2), x, dout)

    def forward_and_backward(self, layer: Any, x: Array, dout: Array) -> Work:
        images, gradient = self.torch.from_numpy(x.copy()).requires_grad_(), self.torch.from_numpy(dout)
        learned = [images, *layer.parameters()]

        def work() -> list[Any]:
            for tensor in learned:
                tensor.grad = None
            out = layer(images)
            out.backward(gradient)
            return [out.detach(), *(tensor.grad for tensor in learned)]

        return work

    def col2im(self, col: Array, shape: tuple[int, ...], size: int, pad: int) -> Work:
        """PyTorch's windows are the book's, transposed: so col is, beforehand, and unfold cannot be held to im2col."""
        windows = self.torch.from_numpy(col.reshape(shape[0], -1, col.shape[1]).transpose(0, 2, 1).copy())
        return partial(self.torch.nn.functional.fold, windows, shape[2:], size, padding=pad)

    def net_step(self, plan: Net, optimizer: str, lr: float, params: Params, x: Array, t: Array) -> Work:
        net = self.given(self.planned(plan), list(params.values()))
        step = self.step(net, self.optimizer(optimizer)(net.parameters(), lr=lr), x, t)
        weights = [p for key, p in zip(params, net.parameters(), strict=True) if key.startswith(("W", "gamma"))]
        result = self.of_the_book(net)

        def work() -> list[Any]:
            step()
            return [*result, *(W.grad.T if W.ndim == 2 else W.grad for W in weights)]

        return work

    def planned(self, plan: Net) -> Any:
        nn = self.torch.nn
        make: dict[str, Callable[..., Any]] = {
            "Affine": nn.Linear,
            "Convolution": lambda filters, channels, h, w, *rest: nn.Conv2d(channels, filters, (h, w), *rest),
            "BatchNormalization": partial(nn.BatchNorm1d, eps=1e-6),
            "Relu": nn.ReLU,
            "Pooling": lambda h, w: nn.MaxPool2d((h, w)),
            "Dropout": nn.Dropout,
        }
        modules: list[Any] = []
        for kind, shape, arguments in plan.layers:
            if kind == "Affine" and modules and isinstance(modules[-1], nn.MaxPool2d):
                modules.append(nn.Flatten())
            modules.append(make[kind](*shape, *arguments))
        return nn.Sequential(*modules)

    def layers_loss(self, plan: Net, params: Params, x: Array, t: Array) -> Work:
        net = self.given(self.planned(plan), list(params.values()))
        images, labels = self.torch.from_numpy(x), self.torch.from_numpy(t)
        inference_mode, cross_entropy = self.torch.inference_mode, self.torch.nn.functional.cross_entropy

        def work() -> Any:
            with inference_mode():
                return cross_entropy(net(images), labels)

        return work

    def training_step(self, params: Params, x: Array, t: Array) -> Work:
        net = self.net(params)
        step = self.step(net, self.torch.optim.SGD(net.parameters(), lr=RATE), x, t)
        result = self.of_the_book(net)

        def work() -> list[Any]:
            step()
            return result

        return work

    def step(self, net: Any, optimizer: Any, x: Array, t: Array) -> Work:
        """A gradient of a net, and an update."""
        images, labels = self.torch.from_numpy(x), self.torch.from_numpy(t)
        cross_entropy = self.torch.nn.functional.cross_entropy

        def work() -> None:
            optimizer.zero_grad()
            cross_entropy(net(images), labels).backward()
            optimizer.step()

        return work

    def predict(self, params: Params, x: Array) -> Work:
        net, image = self.net(params), self.torch.from_numpy(x)
        inference_mode, softmax = self.torch.inference_mode, self.torch.softmax

        def work() -> Any:
            with inference_mode():
                return softmax(net(image), -1)

        return work

    def accuracy(self, params: Params, x: Array, t: Array) -> Work:
        net, images, labels = self.net(params), self.torch.from_numpy(x), self.torch.from_numpy(t)
        inference_mode = self.torch.inference_mode

        def work() -> Any:
            with inference_mode():
                return (net(images).argmax(1) == labels).double().mean()

        return work

    def net(self, params: Params) -> Any:
        inputs, hidden = params["W1"].shape
        nn = self.torch.nn
        net = nn.Sequential(nn.Linear(inputs, hidden), nn.Sigmoid(), nn.Linear(hidden, params["b2"].size))
        return self.given(net, [params[key] for key in ("W1", "b1", "W2", "b2")])

    def given(self, module: Any, params: Sequence[Array]) -> Any:
        """The module with copies of the book's parameters, and with their dtype."""
        tensors = [self.torch.from_numpy((param.T if param.ndim == 2 else param).copy()) for param in params]
        for parameter, tensor in zip(module.parameters(), tensors, strict=True):
            parameter.data = tensor
        return module.to(tensors[0].dtype)

    def of_the_book(self, module: Any) -> list[Any]:
        """Views of its parameters, matrices as the book has them: (inputs, outputs)."""
        return [p.detach().T if p.ndim == 2 else p.detach() for p in module.parameters()]


class ONNXRuntime(Engine):
    """It runs nets that are trained, and no training: so it has one case."""

    name = "onnxruntime"
    packages: ClassVar = {"onnxruntime": "onnxruntime", "onnx": "onnx"}

    def __init__(self) -> None:
        self.onnx: Any = import_module("onnx")
        self.onnxruntime: Any = import_module("onnxruntime")
        self.threads = 1

    def set_threads(self, n: int) -> None:
        self.threads = n  # of the sessions that are made from now on

    def predict(self, params: Params, x: Array) -> Work:
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = self.onnxruntime.InferenceSession(self.model(params), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]

    def model(self, params: Params) -> bytes:
        """The net in the ONNX format: of an older version, which older runtimes read."""
        helper = self.onnx.helper
        dtype = helper.np_dtype_to_tensor_dtype(params["W1"].dtype)
        nodes = [
            helper.make_node("Gemm", ["x", "W1", "b1"], ["a1"]),
            helper.make_node("Sigmoid", ["a1"], ["z1"]),
            helper.make_node("Gemm", ["z1", "W2", "b2"], ["a2"]),
            helper.make_node("Softmax", ["a2"], ["y"], axis=-1),
        ]
        x = helper.make_tensor_value_info("x", dtype, ["batch", len(params["W1"])])
        y = helper.make_tensor_value_info("y", dtype, ["batch", params["b2"].size])
        weights = [self.onnx.numpy_helper.from_array(param, key) for key, param in params.items()]
        graph = helper.make_graph(nodes, "TwoLayerNet", [x], [y], weights)
        opset = helper.make_opsetid("", 13)
        return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


class JAX(Engine):
    name = "jax"
    packages: ClassVar = {"jax": "jax", "jaxlib": "jaxlib"}

    def __init__(self) -> None:
        self.jax: Any = import_module("jax")
        self.backend: Any = import_module("jax.extend.backend")
        self.jax.config.update("jax_platforms", "cpu")
        self.jax.config.update("jax_enable_x64", True)

    def set_threads(self, n: int) -> None:
        """JAX takes as many threads as there are cores when it starts, or what NPROC says: so it is started anew."""
        before = os.environ.get("NPROC")
        os.environ["NPROC"] = str(n)
        try:
            self.backend.clear_backends()
            self.jax.devices()
        finally:
            del os.environ["NPROC"]
            if before is not None:
                os.environ["NPROC"] = before

    def compiled(self, function: Callable[..., Any], *inputs: Any) -> Work:
        """The function of these inputs, which are copied to JAX now; it returns when the array is there."""
        jitted, arrays = self.jax.jit(function), self.jax.device_put(inputs)
        return lambda: jitted(*arrays).block_until_ready()

    def sigmoid(self, x: Array) -> Work:
        return self.compiled(self.jax.nn.sigmoid, x)

    def softmax(self, x: Array) -> Work:
        return self.compiled(self.jax.nn.softmax, x)

    def log_softmax(self, x: Array) -> Work:
        return self.compiled(self.jax.nn.log_softmax, x)

    def loss_and_gradient(self, x: Array, t: Array) -> Work:
        jitted, arrays = self.jax.jit(self.jax.value_and_grad(self.cross_entropy)), self.jax.device_put((x, t))

        def work() -> tuple[Any, Any]:
            loss, gradient = jitted(*arrays)
            return loss, gradient.block_until_ready()

        return work

    def matmul(self, a: Array, b: Array) -> Work:
        """JAX has no views: an operand that is one is transposed in the compiled function."""
        views = [not m.flags.c_contiguous for m in (a, b)]
        bases = [m.T if view else m for m, view in zip((a, b), views, strict=True)]

        def product(*bases: Any) -> Any:
            left, right = (m.T if view else m for m, view in zip(bases, views, strict=True))
            return left @ right

        return self.compiled(product, *bases)

    def training_step(self, params: Params, x: Array, t: Array) -> Work:
        def loss(params: dict[str, Any], x: Any, t: Any) -> Any:
            return self.cross_entropy(self.scores(params, x), t)

        def update(params: dict[str, Any], x: Any, t: Any) -> dict[str, Any]:
            return {key: params[key] - RATE * grad for key, grad in self.jax.grad(loss)(params, x, t).items()}

        jitted = self.jax.jit(update)
        state, images, labels = self.jax.device_put((dict(params), x, t))

        def work() -> list[Any]:
            nonlocal state
            state = jitted(state, images, labels)
            state["W1"].block_until_ready()
            return [state[key] for key in ("W1", "b1", "W2", "b2")]

        return work

    def predict(self, params: Params, x: Array) -> Work:
        return self.compiled(lambda params, x: self.jax.nn.softmax(self.scores(params, x)), dict(params), x)

    def scores(self, params: Mapping[str, Any], x: Any) -> Any:
        return self.jax.nn.sigmoid(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]

    def cross_entropy(self, x: Any, t: Any) -> Any:
        return -self.jax.nn.log_softmax(x)[self.jax.numpy.arange(len(t)), t].mean()


PEERS = (Torch, SciPy, ScikitLearn, ONNXRuntime, JAX)
