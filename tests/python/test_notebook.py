"""The notebook runs from top to bottom, and shows what it says it shows."""
import json
import os
import subprocess
import sys

import pytest
from conftest import PROGRAM, ROOT

for module in ("nbconvert", "ipykernel", "pandas", "xarray", "matplotlib", "plotly"):
    pytest.importorskip(module, reason=f"{module} is missing")


def test_runs_from_top_to_bottom(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=300",
         "--output-dir", str(tmp_path), "--output", "run", str(ROOT / "notebooks-data/replay.ipynb")],
        env={**os.environ, "FP8SCOPE_BINARY": PROGRAM, "FP8SCOPE_NOTEBOOK_OUT": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = json.loads((tmp_path / "run.ipynb").read_text())["cells"]
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert "from_accumulator" in json.dumps(outputs)
    assert (tmp_path / "notebook.html").stat().st_size > 1e6
