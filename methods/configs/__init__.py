"""Each method's configuration, apart from the method: a sweep file is checked without importing torch."""
