"""scikit-learn's estimators on this engine give what scikit-learn's own give."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")

from sklearn import neural_network
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import zerodl_c.sklearn
from zerodl_c.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS = load_digits(return_X_y=True)
SETS = {
    "softmax": (DIGITS[0][:500] / 16, DIGITS[1][:500]),
    "logistic": make_classification(300, 20, random_state=0),
    "multilabel": make_multilabel_classification(300, 20, random_state=0),
    "identity": tuple(part / 100 for part in make_regression(300, 20, n_targets=3, random_state=0)),
}
SOLVERS = {
    "adam": {},
    "adam, another epsilon": {"epsilon": 1e-4, "beta_1": 0.0},
    "adam, an epsilon beyond our arithmetic": {"epsilon": 1e-30},
    "sgd": {"solver": "sgd"},
    "sgd, plain momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "lbfgs": {"solver": "lbfgs"},
}


def pair(output, **parameters):
    """An estimator of this engine and scikit-learn's, with equal parameters."""
    name = "MLPRegressor" if output == "identity" else "MLPClassifier"
    parameters = {"hidden_layer_sizes": (17, 9), "max_iter": 20, "batch_size": 64, "random_state": 3, **parameters}
    return [getattr(module, name)(**parameters) for module in (zerodl_c.sklearn, neural_network)]


def assert_alike(ours, theirs, X):
    if ours.solver == "lbfgs":
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-8)
    else:
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)
    assert ours.n_iter_ == theirs.n_iter_
    answers = [est.predict_proba(X) if is_classifier(est) else est.predict(X) for est in (ours, theirs)]
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("estimator", [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)], ids=repr)
def test_estimator_checks_of_scikit_learn(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("output", SETS)
def test_every_solver_follows_the_same_losses(output, solver):
    X, y = SETS[output]
    ours, theirs = (estimator.fit(X, y) for estimator in pair(output, **SOLVERS[solver]))
    assert ours.out_activation_ == ("logistic" if output == "multilabel" else output)
    assert_alike(ours, theirs, X)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("output", SETS)
def test_every_activation_follows_the_same_losses(output, activation):
    X, y = SETS[output]
    ours, theirs = (estimator.fit(X, y) for estimator in pair(output, activation=activation))
    assert_alike(ours, theirs, X)


@pytest.mark.parametrize("output", SETS)
def test_sample_weights(output):
    X, y = SETS[output]
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    ours, theirs = (estimator.fit(X, y, sample_weight=weight) for estimator in pair(output))
    assert_alike(ours, theirs, X)


@pytest.mark.parametrize(
    "parameters",
    [{"early_stopping": True, "n_iter_no_change": 2}, {"shuffle": False}, {"hidden_layer_sizes": ()}, {"alpha": 0.5}],
    ids=repr,
)
def test_ways_of_learning(parameters):
    X, y = SETS["softmax"]
    ours, theirs = (estimator.fit(X, y) for estimator in pair("softmax", **parameters))
    assert_alike(ours, theirs, X)
    assert ours.validation_scores_ == theirs.validation_scores_


def test_poisson_loss():
    X, y = SETS["identity"]
    ours, theirs = (estimator.fit(X, np.exp(y / 2)) for estimator in pair("identity", loss="poisson"))
    assert_alike(ours, theirs, X)


def test_partial_fit_and_warm_start():
    X, y = SETS["softmax"]
    for more in ({}, {"warm_start": True}):
        ours, theirs = pair("softmax", max_iter=3, **more)
        for estimator in (ours, theirs):
            for _ in range(2):
                if more:
                    estimator.fit(X, y)
                else:
                    estimator.partial_fit(X, y, classes=range(10))
        assert_alike(ours, theirs, X)


def test_string_labels():
    X, y = SETS["softmax"]
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    ours, theirs = (estimator.fit(X, names[y]) for estimator in pair("softmax"))
    assert_alike(ours, theirs, X)
    assert list(ours.predict(X)) == list(theirs.predict(X))


def test_what_is_pickled_between_two_batches_learns_on():
    X, y = SETS["softmax"]
    kept, pickled = (estimator.partial_fit(X, y, classes=range(10)) for estimator in 2 * pair("softmax")[:1])
    pickled = pickle.loads(pickle.dumps(clone(kept).partial_fit(X, y, classes=range(10))))
    kept = clone(kept).partial_fit(X, y, classes=range(10))
    for estimator in (kept, pickled):
        estimator.partial_fit(X, y)
    assert kept.loss_curve_ == pickled.loss_curve_
    np.testing.assert_array_equal(kept.predict_proba(X), pickled.predict_proba(X))


@pytest.mark.parametrize("output", SETS)
def test_float32(output):
    X, y = SETS[output]
    ours, theirs = (estimator.fit(X.astype(np.float32), y) for estimator in pair(output))
    assert {array.dtype for array in (*ours.coefs_, *ours.intercepts_)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-3)


def test_sparse_rows():
    csr_matrix = pytest.importorskip("scipy.sparse").csr_matrix
    X, y = SETS["softmax"]
    ours, theirs = (estimator.fit(csr_matrix(X), y) for estimator in pair("softmax"))
    assert_alike(ours, theirs, csr_matrix(X))


def test_arrays_that_lie_otherwise():
    X, y = SETS["logistic"]
    expected = pair("logistic")[0].fit(X, y).loss_curve_
    wide = np.zeros((len(X), 40))
    wide[:, ::2] = X
    for other in (np.asfortranarray(X), wide[:, ::2], X[::-1].copy()[::-1]):
        np.testing.assert_allclose(pair("logistic", shuffle=True)[0].fit(other, y).loss_curve_, expected, rtol=1e-12)


def test_the_steps_are_this_engines():
    X, y = SETS["softmax"]
    for solver in ("sgd", "adam"):
        assert type(pair("softmax", solver=solver)[0].fit(X, y)._optimizer).__module__ == "zerodl_c.sklearn"


def test_grid_search_in_two_processes():
    X, y = SETS["softmax"]
    found = [
        GridSearchCV(estimator, {"learning_rate_init": [1e-4, 1e-2]}, cv=2, n_jobs=2).fit(X, y)
        for estimator in pair("softmax", max_iter=5)
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in found))


def test_grid_search_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    import joblib

    X, y = SETS["softmax"]
    estimator = pair("softmax", max_iter=5)[0]
    search = GridSearchCV(estimator, {"learning_rate_init": [1e-4, 1e-2]}, cv=2)
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        on_cluster = clone(search).fit(X, y)
    np.testing.assert_array_equal(on_cluster.cv_results_["mean_test_score"], expected)


def test_warnings_are_scikit_learns():
    X, y = SETS["softmax"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(20\)"):
            pair("softmax")[0].fit(X, y)


def test_a_missing_or_old_scikit_learn_is_one_line_that_names_the_extra(python):
    def run_with(modules):
        """The last line of stderr when zerodl_c.sklearn is imported with these modules in place of the true ones."""
        return python(f"import sys, importlib.metadata as m\n{modules}\nimport zerodl_c.sklearn").stderr.splitlines()[
            -1
        ]

    missing = run_with("sys.modules['sklearn'] = None")
    assert missing.endswith("the module sklearn is missing: pip install 'zerodl_c[sklearn]'")
    old = run_with("m.version = lambda name: '1.6.1'")
    assert old.endswith("scikit-learn must be 1.7 or later, not 1.6.1: pip install 'zerodl_c[sklearn]'")
