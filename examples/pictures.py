"""Two pictures of a function of two variables: its surface with its partial derivatives, and its gradient as arrows.

`python pictures.py [FOLDER]` writes surface.png and gradient_field.png there. It needs matplotlib.
"""

import sys
from pathlib import Path

from zerodl_c import plot


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def main(folder="."):
    # df/dx0 = 2 x0 is a plane that rises along x0 alone. df/dx1 = 2 x1 is a plane that rises along x1 alone.
    plot.surface(bowl, Path(folder, "surface.png"))
    # The gradient is at right angles to the contour lines. It is longer where they are closer together.
    plot.gradient_field(bowl, Path(folder, "gradient_field.png"))
    print(f"wrote surface.png and gradient_field.png to {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
