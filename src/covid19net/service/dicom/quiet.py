"""What the DICOM libraries say of the objects they handle is not for logs: it repeats what elements hold."""

import logging
import warnings


def quiet_libraries() -> None:
    """Silence pydicom and pynetdicom in this process."""
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"  # of messages; they cost time even when nobody reads them
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=library)
