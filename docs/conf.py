"""Settings of Sphinx."""

project = "Flask-Hazelcast-Failover"
author = "The maintainers of Flask-Hazelcast-Failover"
copyright = author  # noqa: A001

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "Flask-Hazelcast-Failover"

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
nitpicky = False
