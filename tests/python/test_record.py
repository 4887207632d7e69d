"""The recorder and the importer of dumps, with a real PyTorch; the program verifies and replays what they wrote."""
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, run

torch = pytest.importorskip("torch", reason="PyTorch is missing")
h5py = pytest.importorskip("h5py")

from fp8scope import Recorder, TraceWriter  # noqa: E402
from fp8scope.schedule import parse  # noqa: E402
from fp8scope.te_dump import convert  # noqa: E402


def section(**feature):
    layers = feature.pop("layers", {"layer_name_regex_pattern": ".*"})
    return {"all": {"enabled": True, "layers": layers, "fp8scope": {"RecordTrace": feature}}}


def model():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(96, 128), torch.nn.GELU(), torch.nn.Linear(128, 64)).bfloat16()


def train(net, recorder, steps, micro_batches=2, rows=16):
    """A few steps of gradient descent. Returns every input and output gradient of the first layer, by step."""
    seen = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        with recorder.step(step):
            inputs = [torch.randn(rows, 96).bfloat16() for _ in range(micro_batches)]
            for x in inputs:
                net(x).float().pow(2).mean().backward()
        seen.append((inputs, net[0].weight.detach().clone()))
        optimizer.step()
        optimizer.zero_grad()
    return seen


def stored(path, name):
    with h5py.File(path) as f:
        return f["tensors"][name][...].astype(np.float32), f["steps"][...].tolist()


def test_what_is_recorded_is_what_the_layer_saw(tmp_path):
    net = model()
    recorder = Recorder(net, section(tensors=["activation", "weight", "gradient"], freq=2, start_step=1, end_step=6),
                        tmp_path)
    seen = train(net, recorder, 8)
    (path,) = recorder.close()
    x, steps = stored(path, "0/x")
    assert steps == [1, 3, 5]
    for i, step in enumerate(steps):
        assert np.array_equal(x[i], seen[step][0][0].float().numpy())  # the first micro-batch
    w, _ = stored(path, "0/w")
    assert np.array_equal(w[2], seen[5][1].float().numpy())
    with h5py.File(path) as f:
        history = f["history/amax"][...]
        slot = [s.decode() for s in f["history/slot_name"][...]].index("0/x")
        assert len(history) == 8  # every step
        assert history[2, slot] == max(float(x.abs().max()) for x in seen[2][0])  # of all micro-batches


def test_gradients_are_those_of_the_outputs(tmp_path):
    net = model().float()
    with Recorder(net, section(tensors=["gradient"]), tmp_path) as recorder:
        with recorder.step(0):
            x = torch.randn(16, 96)
            y = net(x)
            y.retain_grad()
            y.pow(2).mean().backward()
    dy, _ = stored(tmp_path / "all.h5", "2/dy")
    assert np.array_equal(dy[0], y.grad.numpy())


def test_the_program_verifies_and_replays_it(tmp_path):
    net = model()
    recorder = Recorder(net, section(tensors=["activation", "weight", "gradient"], rows=8, row_sampling="stride"),
                        tmp_path, licence="none")
    train(net, recorder, 4)
    (path,) = recorder.close()
    assert "bad" not in run("trace", "verify", path)
    table = run("replay", path, "--recipes", "te_delayed,dsv3", "--gemms", "all", "-a", "hopper_wgmma",
                "--no-progress")
    assert "dy sqnr" in table and "wgrad" in table


def test_hooks_do_not_change_the_training(tmp_path):
    def end(record):
        net = model()
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        recorder = Recorder(net, section(tensors=["activation", "weight", "gradient"]), tmp_path) if record else None
        for step in range(3):
            x = torch.randn(16, 96).bfloat16()
            if recorder:
                with recorder.step(step):
                    net(x).float().pow(2).mean().backward()
            else:
                net(x).float().pow(2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        if recorder:
            recorder.close()
        return net[0].weight.detach().clone()

    assert torch.equal(end(True), end(False))


def test_a_nan_or_infinity_stays_out_of_the_amax(tmp_path):
    net = model()
    with Recorder(net, section(tensors=["activation"]), tmp_path) as recorder, recorder.step(0):
        x = torch.zeros(16, 96).bfloat16()
        x[0, 0], x[0, 1], x[0, 2] = float("nan"), float("inf"), -2.0
        net(x)
    with h5py.File(tmp_path / "all.h5") as f:
        assert f["history/amax"][0, [s.decode() for s in f["history/slot_name"][...]].index("0/x")] == 2.0


def test_sections_are_files_of_their_own(tmp_path):
    config = {**section(tensors=["activation"], layers={"layer_types": ["0"]}),
              "second": {"layers": {"layer_name_regex_pattern": "2"}, "fp8scope": {"RecordTrace": {"freq": 2}}},
              "off": {"enabled": False, "layers": {"layer_types": ["nowhere"]}}}
    net = model()
    recorder = Recorder(net, config, tmp_path, rank=1)
    train(net, recorder, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) != []
    recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.rank1.h5", "second.rank1.h5"]
    assert stored(tmp_path / "second.rank1.h5", "2/x")[1] == [0, 2]


@pytest.mark.parametrize("config, words", [
    (section(tensors=["activations"]), "activations"),
    (section(freq=0), "freq"),
    (section(frequency=2), "did you mean 'freq'"),
    (section(start_step=5, end_step=5), "steps 5 to 5"),
    (section(layers={"layer_name_regex_pattern": "("}), "layer_name_regex_pattern"),
    (section(layers={}), "layers"),
    (section(row_sampling="random"), "random"),
])
def test_a_wrong_configuration_is_named(config, words):
    with pytest.raises(ValueError, match=words):
        parse(config)


def test_a_section_without_layers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="names no linear layer"):
        Recorder(model(), section(layers={"layer_types": ["attention"]}), tmp_path)


def test_spans_and_frequency():
    taken = parse(section(freq=3, start_end_list=[[0, 4], [10, 12]]))[0]
    assert [s for s in range(14) if taken.takes_step(s)] == [0, 3, 10]


def test_an_error_inside_leaves_whole_steps(tmp_path):
    net = model()
    recorder = Recorder(net, section(tensors=["activation"]), tmp_path)
    with pytest.raises(RuntimeError), recorder:
        for step in range(3):
            with recorder.step(step):
                net(torch.randn(16, 96 if step < 2 else 95).bfloat16())
    assert stored(tmp_path / "all.h5", "0/x")[1] == [0, 1]
    assert "bad" not in run("trace", "verify", tmp_path / "all.h5")


def test_rows_that_change_are_refused_by_name(tmp_path):
    with TraceWriter(tmp_path / "t.h5") as trace:
        trace.record(0, {("a", "x"): (np.zeros((4, 8)), "float32")})
        with pytest.raises(ValueError, match="a/x: 5x8 at step 1, 4x8 before"):
            trace.record(1, {("a", "x"): (np.zeros((5, 8)), "float32")})
        trace.amax(0, {"a/x": 0.0})


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no amax"):
        with TraceWriter(tmp_path / "t.h5") as trace:
            trace.record(0, {("a", "x"): (np.zeros((4, 8)), "float32")})
            trace.amax(1, {"a/x": 0.0})
    assert list(tmp_path.iterdir()) == []


def dump(folder, step, name, tensor):
    path = folder / "tensor_dumps" / "rank_0" / f"iter_{step:06d}" / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"high_precision": tensor}, path)


def test_dumps_of_transformer_engine_become_a_trace(tmp_path):
    tensors = {}
    for step in (10, 20):
        for operand in ("activation", "weight", "gradient"):
            tensors[step, operand] = torch.randn(2, 8, 32).bfloat16()
            dump(tmp_path, step, f"layer_1_fc1_{operand}", tensors[step, operand])
    dump(tmp_path, 20, "layer_2_fc1_activation", torch.zeros(4, 4))
    assert convert(tmp_path, tmp_path / "te.h5", trust=torch.__version__ < "2") == ["layer_2_fc1/x"]
    x, steps = stored(tmp_path / "te.h5", "layer_1_fc1/x")
    assert steps == [10, 20]
    assert np.array_equal(x[1], tensors[20, "activation"].reshape(16, 32).float().numpy())
    assert "bad" not in run("trace", "verify", tmp_path / "te.h5")


def test_a_folder_without_dumps_is_named(tmp_path):
    with pytest.raises(ValueError, match="rank_3"):
        convert(tmp_path, tmp_path / "te.h5", rank=3)


def test_import_from_the_command_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fp8scope", "import-te", str(tmp_path), "-o", str(tmp_path / "o.h5")],
                          capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin"})
    assert done.returncode == 3 and "iter_*" in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""
