"""A page as PDF, through WeasyPrint; nothing is fetched, and the same page gives the same bytes."""

from covid19net.errors import InputError

EXTRA = "pip install 'covid19net[pdf]'"
PANGO = "apt-get install libpango-1.0-0 libpangoft2-1.0-0, or brew install pango"


def check_pdf() -> None:
    """Say what is missing before any work is done.

    Raises:
        InputError: WeasyPrint, or the Pango library it sets text with, is not installed.
    """
    try:
        import weasyprint  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"a PDF needs WeasyPrint, which is not installed: {EXTRA}") from error
    except OSError as error:  # as cffi says that a shared library is not there
        raise InputError(f"a PDF needs the system library Pango, which is not installed: {PANGO}") from error


def page_as_pdf(html: str) -> bytes:
    """Lay a page out on A4 paper.

    Args:
        html: with everything it needs inside; what it asks for elsewhere is not fetched.

    Raises:
        InputError: WeasyPrint or Pango is not installed.
    """
    check_pdf()
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    inside_only = URLFetcher(allowed_protocols={"data"})
    content: bytes = HTML(string=html, url_fetcher=inside_only).write_pdf()
    return content
