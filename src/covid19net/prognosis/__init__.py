"""How long a patient will stay: Cox regression, risk groups and curves. Needs neither torch nor pydicom."""
