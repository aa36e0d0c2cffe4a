"""The templates in the package: this file is about how all pages of ours are filled in."""

from __future__ import annotations

import jinja2


def environment() -> jinja2.Environment:
    """Return the environment of all pages.

    All names and texts are escaped; a name that a view does not give is an error, not a blank.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("tresnet_deploy", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(name: str) -> jinja2.Template:
    """Return the template called ``name``."""
    return environment().get_template(name)
