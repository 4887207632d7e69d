"""Read fp8scope's results, draw a report of them, write traces.

load(path)          tables of a result file as pandas data frames, xarray cubes
report(path, out)   one HTML file to look at
TraceWriter         a trace file (schema fp8trace) from arrays
Recorder            a trace file from the layers of a PyTorch model (fp8scope.record)

Everything goes through HDF5 files; nothing here computes a cast or a sum.
"""
from .page import report
from .results import Results, load
from .trace import TraceWriter

__version__ = "0.1.0"
__all__ = ["Recorder", "Results", "TraceWriter", "load", "report"]


def __getattr__(name):
    """Loads what needs PyTorch only when it is asked for."""
    if name == "Recorder":
        from .record import Recorder
        return Recorder
    raise AttributeError(f"module 'fp8scope' has no attribute {name!r}")
