"""One manifest to the whole paper: tables, figures, prognosis, and a report with the published numbers."""
