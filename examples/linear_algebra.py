"""The linear algebra under a net: dot products, matrix products, transposes, and one derivative."""

import numpy as np

import zerodl_c as z


def main():
    print(f"[1 2 3] . [4 5 6] = 1*4 + 2*5 + 3*6 = {z.dot([1, 2, 3], [4, 5, 6]):g}")

    A, B = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 1.0]])
    C = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, -1.0]])
    AB = z.matmul(A, B)
    print("A B, (3, 2) times (2, 3):", *AB, sep="\n  ")

    # These are three ways to see the same product.
    entries = [[z.dot(row, column) for column in B.T] for row in A]  # each entry: a row of A times a column of B
    columns = np.stack([z.matmul(A, column) for column in B.T], axis=1)  # each column: A times a column of B
    layers = sum(np.outer(A[:, k], B[k]) for k in range(2))  # a sum: column k of A times row k of B
    for name, product in (("entry by entry", entries), ("column by column", columns), ("as a sum", layers)):
        print(f"{name}: {np.array_equal(AB, product)}")

    # Transposing a product reverses the order of its factors. Backpropagation has its x.T and W.T from this.
    print(f"(AB)^T = B^T A^T: {np.array_equal(AB.T, z.matmul(B.T, A.T))}")
    ABC = z.matmul(AB, C)
    print(f"(ABC)^T = C^T B^T A^T: {np.array_equal(ABC.T, z.matmul(C.T, z.matmul(B.T, A.T)))}")

    b = np.array([3.0, 4.0])
    gradient = z.numerical_gradient(lambda x: z.dot(b, x), np.array([1.0, -2.0]))
    print(f"d(b.x)/dx of b = {b}: {gradient.round(8)}, that is b, wherever x is")


if __name__ == "__main__":
    main()
