"""The site: `pip install '.[docs]' && sphinx-build -W docs build/site`."""

import zerodl_c

project = "zerodl_c"
author = "the zerodl_c developers"
release = zerodl_c.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["README.md"]  # the index of this folder, for those who read it in a checkout
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say in words what the parameters are
# A link out of docs/ is one into the checkout: it works there and on the project's page, and is no page of the site.
suppress_warnings = ["myst.xref_missing"]

html_theme = "pydata_sphinx_theme"
html_title = "zerodl_c"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_sidebars = {page: [] for page in ("tour", "from-the-book.ja", "how-it-works", "benchmarks")}
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
