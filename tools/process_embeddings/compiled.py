"""umap-learn with its compiled functions, which numba keeps on disk."""

import atexit
import contextlib
import shutil
import sys
import tempfile

from common import console


def open_umap():
    """Return umap-learn, ready to be used.

    numba keeps what it compiled in the package's __pycache__, or in the user's cache where that is read-only. Where
    neither can be written (an installation for all users, and no home) it refuses to import the package: then the
    functions are compiled in each process anew. No shared folder is used: what lies there is unpickled.
    """
    import numba

    try:
        import umap
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] in ("umap", "pynndescent")]:
            del sys.modules[name]  # half imported
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="genprobe-numba-")
        atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)
        console.say("note: UMAP is compiled anew, as neither its folder nor ~/.cache can be written: "
                    "set NUMBA_CACHE_DIR to a folder of yours")
        import umap
    _prepare_numba()
    return umap


def _prepare_numba():
    """Keep numba from changing torch's threads, and cache the compiled functions of UMAP.

    Compiling takes ten times as long as a map of 1,000 points. The cache is where numba keeps pynndescent's.
    """
    import numba
    import umap.layouts
    import umap.umap_
    import umap.utils
    from numba.core.dispatcher import Dispatcher

    if numba.config.THREADING_LAYER == "default":  # it would choose OpenMP and change torch's thread count, too
        numba.config.THREADING_LAYER = "workqueue"
    for module in (umap.layouts, umap.umap_, umap.utils):
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
                with contextlib.suppress(RuntimeError):  # no writable cache: compiled in each process
                    function.enable_caching()
