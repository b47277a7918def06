"""Images as matrices, and the helpers of the book's scripts: both engines share them."""

from .reference.util import col2im, conv_output_size, im2col, shuffle_dataset, smooth_curve

__all__ = ["col2im", "conv_output_size", "im2col", "shuffle_dataset", "smooth_curve"]
