"""load(): the numbers of the file, under the names of the file."""
import json

import h5py
import numpy as np
import pytest
from conftest import run

import fp8scope


def test_a_frame_holds_what_export_prints(result_file):
    frame = fp8scope.load(result_file).frame()
    exported = json.loads(run("export", result_file, "--format", "json"))["rows"]
    assert len(frame) == len(exported)
    for row in (0, len(exported) // 2, len(exported) - 1):
        for column in ("sqnr_db", "amax", "underflow", "mse", "step"):
            assert frame[column][row] == exported[row][column], (row, column)


def test_ids_become_names(result_file):
    results = fp8scope.load(result_file)
    frame = results.frame()
    assert set(frame["recipe"]) == {"te_delayed:amax_history_len=1", "te_current", "dsv3"}
    assert (frame["layer"].astype(str) + "/" + frame["operand"].astype(str) == frame["tensor"].astype(str)).all()
    assert set(results.frame("gemm")["accumulator"]) == {"hopper_wgmma"}


def test_a_cube_has_the_values_at_their_coordinates(result_file):
    results = fp8scope.load(result_file)
    cube, frame = results.cube("sqnr_db"), results.frame()
    assert cube.attrs["units"] == "dB"
    row = frame.iloc[37]
    assert cube.sel(tensor=row["tensor"], recipe=row["recipe"], gemm=row["gemm"], step=row["step"]) == row["sqnr_db"]
    assert np.isfinite(cube).sum() == len(frame)


def test_columns_come_in_the_order_written(result_file):
    assert list(fp8scope.load(result_file).columns("results"))[:3] == ["row", "tensor_id", "step"]


def test_a_histogram_has_a_column_per_exponent(result_file):
    frame = fp8scope.load(result_file).frame("hist")
    assert "count[exponent=0]" in frame.columns
    with h5py.File(result_file) as f:
        assert frame.filter(like="count[").to_numpy().sum() == f["hist/count"][...].sum()


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as f:
        f.attrs["schema"] = "fp8trace"
    with pytest.raises(ValueError, match="other.h5.*'fp8trace'"):
        fp8scope.load(path)
    with pytest.raises(OSError):
        fp8scope.load(tmp_path / "missing.h5")


def test_a_link_to_another_file_is_not_followed(result_file, tmp_path):
    path = tmp_path / "linked.h5"
    path.write_bytes(result_file.read_bytes())
    with h5py.File(path, "a") as f:
        f["secret"] = h5py.ExternalLink(str(result_file), "/results/amax")
    assert "" not in fp8scope.load(path).tables()


def test_missing_names_say_what_there_is(result_file):
    results = fp8scope.load(result_file)
    with pytest.raises(KeyError, match="results"):
        results.frame("tile")
    with pytest.raises(KeyError, match="sqnr_db"):
        results.cube("snr")
