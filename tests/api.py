"""The functions of the API, by the arguments that they take."""

UNARY = ["step_function", "relu", "relu_grad", "sigmoid", "sigmoid_grad", "tanh"]
SOFTMAX = ["softmax", "log_softmax"]
BACKWARD = ["relu_backward", "sigmoid_backward", "tanh_backward", "softmax_backward"]  # dout, y
SQUARES = ["sum_squared_error", "mean_squared_error"]  # y, t
PAIRS = ["softmax_cross_entropy", "softmax_cross_entropy_gradient"]  # a loss and an array, from x and labels
LABELLED = ["cross_entropy_error", "softmax_loss", *PAIRS]  # y or x, and labels
GRADIENT = "softmax_cross_entropy_backward"  # y, and labels or rows
MATRIX = ["matmul", "dot", "matmul_backward", "affine", "affine_backward"]

FUNCTIONS = [*UNARY, *SOFTMAX, *BACKWARD, *SQUARES, *LABELLED, GRADIENT, *MATRIX]
