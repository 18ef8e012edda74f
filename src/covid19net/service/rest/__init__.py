"""The REST API and the page: routes over the jobs, and what guards them."""
