"""The native libraries that are installed with the package, and their Python bindings."""
