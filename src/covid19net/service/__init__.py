"""The service: accepted scans are analyzed one after the other by child processes, over one data folder.

Nothing is imported here: each part loads its own libraries, and analysis happens in another process.
"""
