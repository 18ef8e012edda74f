"""The DICOM side of the service: a listener behind a guard, series put together, results sent on, pulls."""
