"""The one door to the page templates."""


def filled(name: str, **words: object) -> str:
    """A template of this package with its words; whatever they hold is escaped, and none may lack.

    Args:
        name: of the file in `templates`.
        words: what the template asks for.

    Returns:
        HTML.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("covid19net.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**words)
