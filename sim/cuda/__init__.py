"""Raw kernels for CuPy arrays. Importing this loads no CuPy."""
