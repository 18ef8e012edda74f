"""What people and archives read: pictures, files, reports."""
