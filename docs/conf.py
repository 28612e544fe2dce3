"""Sphinx's configuration: Markdown pages, Furo's theme, nothing from another host."""

from __future__ import annotations

import sys
from pathlib import Path

import segnet_deploy

sys.path.insert(0, str(Path(__file__).parent))

project = "segnet-deploy"
author = "the authors of segnet-deploy"
project_copyright = "the authors of segnet-deploy"
release = segnet_deploy.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "extension.directives",
]
exclude_patterns = ["README.md"]

# Markdown
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Docstrings are plain text: single backticks are code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

# The page
html_theme = "furo"
html_title = f"segnet-deploy {release}"
html_static_path = ["styles", "../segnet_deploy/bench/report/chart.css"]
html_css_files = ["chart.css", "site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
