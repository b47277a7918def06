"""Draws the picture on the front page from the table of the book's scripts in benchmarks/README.md.

python benchmarks/picture.py    writes docs/_static/speed.svg
"""

import math
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "docs" / "_static" / "speed.svg"

# One for each kind of script, losses included.
SCRIPTS = {
    "ch06/batch_norm_gradient_check.py": "check gradients with batch normalization (ch. 6)",
    "ch05/gradient_check.py": "check gradients of a net of layers (ch. 5)",
    "ch08/half_float_network.py": "classify with a deep convnet (ch. 8)",
    "ch07/train_convnet.py": "train a convnet (ch. 7)",
    "ch06/optimizer_compare_mnist.py": "compare optimizers (ch. 6)",
    "ch05/train_neuralnet.py": "train a net of layers (ch. 5)",
    "ch04/train_neuralnet.py": "train a net whose products are np.dot's (ch. 4)",
    "ch03/neuralnet_mnist_batch.py": "classify in batches (ch. 3)",
}

LEFT, WIDTH, ROW, TOP = 370, 800, 30, 44  # pixels: where bars begin, the picture, a bar with its gap, the first bar
PER_DOUBLING = (WIDTH - LEFT - 60) / math.log2(64)

STYLE = """\
text { font: 14px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .bar { fill: #0a7d91 } .one { stroke: #57606a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #3fb6cc } .one { stroke: #9da7b3 } }"""


def ratios() -> dict[str, float]:
    """How many times faster each script of the table ran, by its name."""
    rows = re.findall(r"^ +(ch\d\d/\S+\.py) +\S+ +\S+ +([\d.]+)x", (HERE / "README.md").read_text("utf-8"), re.M)
    return {script: float(ratio) for script, ratio in rows}


def bar(row: int, label: str, ratio: float) -> str:
    y, length = TOP + ROW * row, abs(math.log2(ratio)) * PER_DOUBLING
    begin = LEFT if ratio >= 1 else LEFT - length
    return (
        f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{label}</text>\n'
        f'<rect class="bar" x="{begin:.1f}" y="{y}" width="{max(length, 1):.1f}" height="22" rx="2"/>\n'
        f'<text x="{max(begin + length, LEFT) + 6:.1f}" y="{y + 16}">{ratio:.2g}x</text>'
    )


def picture() -> str:
    measured, height = ratios(), TOP + ROW * len(SCRIPTS) + 10
    bars = [bar(row, label, measured[script]) for row, (script, label) in enumerate(SCRIPTS.items())]
    title = "The book's scripts, unmodified: times faster than with the book's own engine (log scale)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{title}</title>\n<style>{STYLE}</style>",
            f'<text class="title" x="0" y="20">{title}</text>',
            *bars,
            f'<line class="one" x1="{LEFT}" y1="{TOP - 6}" x2="{LEFT}" y2="{height - 6}"/>\n</svg>\n',
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), "utf-8")
