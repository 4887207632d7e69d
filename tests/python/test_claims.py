"""The claims of the field: every file runs in its quick form, and the table of the project has a row for each."""
import json
import re
import subprocess
import sys

import pytest
from conftest import PROGRAM, ROOT

for module in ("pandas", "matplotlib"):
    pytest.importorskip(module, reason=f"{module} is missing")
FOLDER, TABLE = ROOT / "experiments/claims", ROOT / "notebooks-data/claims.md"
sys.path.insert(0, str(FOLDER))
import claims  # noqa: E402

NUMBERS = [f"V{i}" for i in range(1, 18)] + [f"E{i}" for i in range(1, 11)]
FILES = [f"{p.stem[0].upper()}{int(p.stem[1:])}" for p in FOLDER.glob("[ve][0-9][0-9].py")]


def faults_of(text, figures):
    """What is wrong with a table of claims, as a list of lines."""
    rows = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if re.match(r"\| [VE]\d", line)]
    faults = [f"{n}: {sum(r[0] == n for r in rows)} rows" for n in dict.fromkeys(NUMBERS + FILES) if [r[0] for r in rows].count(n) != 1]
    for row in rows:
        if len(row) != 6 or not all(row[:5]):
            faults.append(f"{row[0]}: a cell is missing")
        elif not claims.allowed(row[4]):
            faults.append(f"{row[0]}: '{row[4]}' is no verdict")
        elif row[4].startswith(claims.PENDING) and all(p.exists() for p in map(ROOT.joinpath, re.findall(r"notebooks-data/\S+\.h5", row[4]))):
            faults.append(f"{row[0]}: is pending, but its files are there: ./run.sh claims --only {row[0]}")
        plot = re.search(r"\((figures/claims/[^)]+)\)", row[-1])
        if plot and not 0 < (figures / plot[1]).stat().st_size <= claims.LARGEST_PLOT:
            faults.append(f"{row[0]}: {plot[1]} is empty or too large")
    return faults


def test_every_file_runs_and_its_figures_lie_in_their_bands(tmp_path):
    before = TABLE.read_bytes()
    done = subprocess.run([sys.executable, str(FOLDER), "--quick", "--program", PROGRAM, "-o", str(tmp_path), "--json", str(tmp_path / "rows.json")],
                          capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    rows = {row["number"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert sorted(rows) == sorted(FILES)
    for row in rows.values():
        assert claims.allowed(row["verdict"]) and row["ours"] and row["numbers"] and row["log"], row["number"]
    assert TABLE.read_bytes() == before, "the quick form overwrote the table"


def test_the_table_has_a_row_for_every_claim():
    assert faults_of(TABLE.read_text(), TABLE.parent) == []


def test_a_table_without_a_row_or_with_another_verdict_is_refused():
    text = TABLE.read_text()
    assert any(f.startswith("V4: 0 rows") for f in faults_of(re.sub(r"\n\| V4 .*", "", text), TABLE.parent))
    assert any("'perhaps' is no verdict" in f for f in faults_of(re.sub(r"(\n\| V3 .*\| )depends on [^|]+", r"\1perhaps ", text), TABLE.parent))


def test_a_claim_that_leaves_its_band_or_gives_no_verdict_is_a_fault(tmp_path):
    def execute(test):
        claims.claim("V99", "a claim", source="nobody: 1")(test)
        try:
            return claims.execute("V99", PROGRAM, tmp_path / "run", tmp_path, True)
        finally:
            del claims.REGISTRY["V99"]

    inside = execute(lambda run: (str(run.number("figure", 2, 1, 3)), claims.REPRODUCED))
    assert (inside["fault"], inside["verdict"], inside["ours"]) == ("", "reproduced", "2.0")
    assert "figure = 4, outside 1 to 3" in execute(lambda run: (str(run.number("figure", 4, 1, 3)), claims.REPRODUCED))["fault"]
    assert "figure = nan" in execute(lambda run: (str(run.number("figure", float("nan"), 1, 3)), claims.REPRODUCED))["fault"]
    assert "'maybe' is no verdict" in execute(lambda run: ("", "maybe"))["fault"]
    assert "no such" in execute(lambda run: (run.program("cast", tmp_path / "no such.npy"), claims.REPRODUCED))["fault"]
