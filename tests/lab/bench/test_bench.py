"""The bench: what it measures, what it says where it cannot, and how files are kept and compared."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from rtseg.cli import app
from rtseg.errors import BackendError, DatasetError, MediaError
from rtseg.frame import Frame
from rtseg.lab.bench import run, sensors
from rtseg.lab.bench.floor import least_bytes, network_cost
from rtseg.lab.bench.page import write_comparison
from rtseg.lab.bench.peers import PlainPeer, onnxruntime_peer
from rtseg.lab.bench.result import BenchFile, BenchRun
from rtseg.lab.bench.run import BenchSettings, _one, bench_model, make_message
from rtseg.lab.bench.sensors import PowerMeter, resident_memory
from rtseg.loading import load
from rtseg.results import Lanes
from rtseg.runtime import LatencyLog, find_model
from tests.threshold_network import two_lane_road, write_threshold_model

SIZE = (144, 256)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_threshold_model(tmp_path_factory.mktemp("thresholds"))


@pytest.fixture(scope="module")
def compared(model: Path) -> BenchFile:
    return bench_model(model, BenchSettings(SIZE, frames=12, compare=True, backend="onnxruntime", threads=1))


def test_stages_add_up_to_the_whole(compared: BenchFile) -> None:
    run = compared.runs[0]
    assert {stage.count for stage in run.stages} == {12}
    for row in (*run.stages, run.decode_to_publish, run.host_to_host):
        assert 0 <= row.p50 <= row.p90 <= row.p99 <= row.max
    rounding = 0.01
    assert sum(stage.mean for stage in run.stages) <= run.decode_to_publish.mean + rounding
    assert run.host_to_host.mean < run.decode_to_publish.mean
    assert run.device_to_device is None
    assert run.sequential_fps <= 1e3 / run.decode_to_publish.mean * 1.01


def test_the_frames_are_of_a_drive_there_and_back() -> None:
    frames = run.rendered_frames("instances", SIZE)
    assert {frame.shape for frame in frames} == {(*SIZE, 3)}
    moved = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise([*frames, frames[0]])]
    assert min(moved) > 0
    assert max(moved) < 2 * np.median(moved)  # no jump where it begins again


def test_what_cannot_be_measured_says_why(compared: BenchFile) -> None:
    run = compared.runs[0]
    assert run.device_memory.value is None
    assert "CPU" in run.device_memory.reason
    assert (run.power.value is None) == bool(run.power.reason)
    assert run.resident.value is not None
    assert run.resident.value > 20


def test_peers_and_floor_are_of_the_same_run(compared: BenchFile) -> None:
    run = compared.runs[0]
    ran = [peer for peer in run.peers if peer.total is not None]
    assert ran[0].name.startswith("ONNX Runtime")
    for peer in ran:
        assert peer.total is not None
        assert peer.infer is not None
        assert peer.total.count == 12
        assert peer.times_slower == pytest.approx(peer.total.p50 / run.host_to_host.p50, abs=0.01)
    assert all(peer.reason for peer in run.peers if peer.total is None)
    floor = run.floor
    assert floor is not None
    assert floor.macs == 8 * 16 * 3 * 7
    assert floor.compute_ms is not None
    assert floor.copy_ms is not None
    assert floor.giga_ops is not None
    assert floor.giga_ops > 0.1


def test_a_plain_peer_finds_the_same_lanes(model: Path) -> None:
    image = two_lane_road(*SIZE)
    found = find_model(model)
    mask = onnxruntime_peer("plain", found.card, found.path, 1, "CPUExecutionProvider")(image)
    ours = load(model)(image).mask
    either = (mask > 0) | (ours > 0)
    assert either.sum() > 1000
    assert ((mask > 0) == (ours > 0))[either].mean() > 0.9


def test_a_provider_that_is_missing_is_told(model: Path) -> None:
    found = find_model(model)
    with pytest.raises(BackendError, match="AbacusProvider"):
        onnxruntime_peer("plain", found.card, found.path, 1, "AbacusProvider")


def test_operations_are_counted_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"grouped": (8, 2, 3, 3), "up": (8, 4, 2, 2), "table": (10, 5)}
    weights = [numpy_helper.from_array(rng.random(shape, np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["image", "grouped"], ["a"], group=4, strides=[2, 2], pads=[1] * 4),
        helper.make_node("ConvTranspose", ["a", "up"], ["b"], strides=[2, 2]),
        helper.make_node("MatMul", ["b", "table"], ["c"]),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 8, 6, 10])
    graph = helper.make_graph(nodes, "g", [given], [helper.make_tensor_value_info("c", 1, [1, 4, 6, 5])], weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(network, full_check=True)
    onnx.save(network, tmp_path / "net.onnx")
    cost = network_cost(tmp_path / "net.onnx")
    convolution = 8 * 3 * 5 * (2 * 3 * 3)  # each of 8 x 3 x 5 outputs reads 2 channels of 3 x 3
    transposed = 8 * 3 * 5 * (4 * 2 * 2)  # each of 8 x 3 x 5 inputs writes 4 channels of 2 x 2
    product = 4 * 6 * 5 * 10
    assert cost.macs == convolution + transposed + product
    assert cost.weight_bytes == 4 * sum(int(np.prod(shape)) for shape in shapes.values())


def test_both_forms_of_a_network_count_the_same_operations() -> None:
    found = find_model("lanes-lite")
    costs = [network_cost(found.path.parent / entry.file) for entry in found.card.files]
    assert len({cost.macs for cost in costs}) == 1
    # As stored: int8 weights are half the size of float16 ones, scales and biases aside.
    assert costs[0].weight_bytes < 0.6 * costs[1].weight_bytes


def test_the_least_bytes_are_those_of_frame_tensors_weights_and_mask(model: Path) -> None:
    found = find_model(model)
    cost = network_cost(found.path)
    frame, tensor, outputs, mask = 144 * 256 * 3, 64 * 32 * 3 * 4, 16 * 8 * 7 * 4, 144 * 256
    assert least_bytes(found.card, cost, SIZE) == frame + 2 * tensor + cost.weight_bytes + 2 * outputs + mask


def test_results_are_kept_read_again_and_merged(compared: BenchFile, tmp_path: Path) -> None:
    path = tmp_path / "results" / "this.json"
    compared.write(path)
    assert BenchFile.load(path) == compared
    other = compared.runs[0].model_copy(update={"network": "other.onnx"})
    compared.model_copy(update={"runs": (other,)}).write(path)
    assert [run.network for run in BenchFile.load(path).runs] == ["model.onnx", "other.onnx"]
    compared.write(path)
    assert [run.network for run in BenchFile.load(path).runs] == ["other.onnx", "model.onnx"]
    # Figures of another commit are not comparable and go.
    compared.model_copy(update={"commit": "0000000"}).write(path)
    assert [run.network for run in BenchFile.load(path).runs] == ["model.onnx"]


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"version": 1, "runs": []}')
    with pytest.raises(DatasetError, match=r"no bench results of this version: hardware|version"):
        BenchFile.load(tmp_path / "old.json")
    with pytest.raises(DatasetError, match="expected bench results"):
        BenchFile.load(tmp_path / "missing.json")


@pytest.mark.parametrize("content", ['{"mine": 1}', '{"version": 1, "runs": []}', "notes", "\0"])
def test_a_file_of_others_is_kept_and_told_before_anything_is_timed(
    tmp_path: Path, compared: BenchFile, content: str
) -> None:
    path = tmp_path / "this.json"
    path.write_text(content)
    command = ["bench", "--model", "no-such-model", "--json", str(path)]
    assert "this.json, got another, which is not overwritten" in str(CliRunner().invoke(app, command).exception)
    with pytest.raises(DatasetError, match="not overwritten"):
        compared.write(path)
    assert path.read_text() == content
    path.write_text("")
    compared.write(path)
    assert BenchFile.load(path) == compared


def test_results_that_cannot_be_written_are_told_before_anything_is_timed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe", Path("/proc/a.json")):
        command = ["bench", "--model", "no-such-model", "--json", str(place)]
        assert isinstance(CliRunner().invoke(app, command).exception, MediaError)
    told = CliRunner().invoke(app, ["bench", "compare", str(tmp_path / "pipe")]).exception
    assert "no regular file" in str(told)


@pytest.mark.parametrize("option", ["--width", "--height", "--frames", "--threads"])
def test_numbers_without_measure_are_refused(option: str) -> None:
    assert CliRunner().invoke(app, ["bench", option, "1" + "0" * 9]).exit_code == 2


def slower(run: BenchRun, factor: float) -> BenchRun:
    def scaled(row):  # type: ignore[no-untyped-def]
        values = {name: factor * getattr(row, name) for name in ("mean", "p50", "p90", "p99", "max")}
        return row.model_copy(update=values)

    return run.model_copy(
        update={
            "stages": tuple(map(scaled, run.stages)),
            "host_to_host": scaled(run.host_to_host),
            "decode_to_publish": scaled(run.decode_to_publish),
        }
    )


def test_the_page_gives_ratios_and_needs_nothing_else(compared: BenchFile, tmp_path: Path) -> None:
    twice = compared.model_copy(update={"hardware": "half <as> fast", "runs": (slower(compared.runs[0], 2.0),)})
    page = write_comparison([("fast", compared), ("slow", twice)], tmp_path / "page.html").read_text()
    assert "<td>host to host</td><td>2.00</td>" in page
    assert "half &lt;as&gt; fast" in page
    assert "Medians over those of fast" in page
    assert page.count("<svg") == 2
    for reference in ("http://", "https://", "<script src", "<link"):
        assert reference not in page.replace("http://www.w3.org", "")
    with pytest.raises(DatasetError, match="at least one run"):
        write_comparison([], tmp_path / "page.html")


@pytest.mark.parametrize(("encoding", "most"), [("bgr8", 0.0), ("jpeg", 3.0)])
def test_messages_become_the_frames_they_were_made_of(encoding: str, most: float) -> None:
    image = two_lane_road(*SIZE)
    frame = make_message(image, encoding)()
    assert np.abs(frame.image.astype(float) - image).mean() <= most


def test_jpeg_frames_can_be_measured(model: Path) -> None:
    settings = BenchSettings(SIZE, frames=10, encoding="jpeg", backend="onnxruntime", threads=1)
    run = bench_model(model, settings).runs[0]
    assert (run.encoding, run.peers, run.floor) == ("jpeg", (), None)


def sysfs_rail(sysfs: Path, number: int, name: str, millivolts: int, milliamperes: int, chip: str = "1-0040") -> None:
    folder = sysfs / f"bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon1"
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("in{}_label", name), ("in{}_input", millivolts), ("curr{}_input", milliamperes)):
        (folder / file.format(number)).write_text(f"{value}\n")


def test_a_jetson_is_read_at_its_input_rail(tmp_path: Path) -> None:
    sysfs_rail(tmp_path, 2, "VDD_CPU_GPU_CV", 5000, 900)
    sysfs_rail(tmp_path, 1, "VDD_IN", 5000, 2400)
    meter = PowerMeter(None, tmp_path)
    with meter:
        pass
    assert meter.power().value == pytest.approx(12.0)
    assert "VDD_IN" in meter.power().how


def test_rapl_is_energy_over_time(tmp_path: Path) -> None:
    counters = [tmp_path / f"class/powercap/intel-rapl:{i}/energy_uj" for i in range(2)]
    for counter in counters:
        counter.parent.mkdir(parents=True)
        counter.write_text("1000000\n")
    meter = PowerMeter(None, tmp_path)
    with meter:
        counters[1].write_text("4000000\n")
    power = meter.power()
    assert power.value is not None
    assert power.value > 0
    assert "RAPL" in power.how
    with meter:
        counters[0].write_text("0\n")
        counters[1].write_text("0\n")
    assert "wrapped" in meter.power().reason


def test_without_sensors_the_reasons_are_given(tmp_path: Path) -> None:
    sysfs_rail(tmp_path, 1, "VDD_SOC", 5000, 100)
    with PowerMeter(0, tmp_path) as meter:
        pass
    power = meter.power()
    if "NVML" not in power.how:  # else this machine has a card, whose counter was read
        assert power.value == pytest.approx(0.5)
    (tmp_path / "bus").rename(tmp_path / "gone")
    power = PowerMeter(0, tmp_path).power()
    if power.value is None:
        assert "no INA3221 or INA238" in power.reason


def test_an_agx_orin_has_no_input_rail_and_all_its_rails_count(tmp_path: Path) -> None:
    for number, (name, milliamperes) in enumerate([("VDD_GPU_SOC", 2000), ("VDD_CPU_CV", 600), ("VIN_SYS_5V0", 400)]):
        sysfs_rail(tmp_path, number + 1, name, 5000, milliamperes)
    sysfs_rail(tmp_path, 1, "NC", 5000, 9000, chip="1-0041")
    sysfs_rail(tmp_path, 2, "VDDQ_VDD2_1V8AO", 5000, 200, chip="1-0041")
    meter = PowerMeter(None, tmp_path)
    with meter:
        pass
    assert meter.power().value == pytest.approx(16.0)
    assert meter.power().how == "INA3221, rails VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO"


def test_a_thor_is_read_at_the_sensor_of_its_input(tmp_path: Path) -> None:
    sysfs_rail(tmp_path, 1, "VDD_GPU", 5000, 900)
    file = tmp_path / "bus/i2c/drivers/ina238/2-0044/hwmon/hwmon4/power1_input"
    file.parent.mkdir(parents=True)
    file.write_text("31500000\n")
    meter = PowerMeter(None, tmp_path)
    with meter:
        pass
    assert meter.power().value == pytest.approx(31.5)
    assert "INA238" in meter.power().how


class _Driver:
    """Two cards, of which NVML's first is CUDA's second."""

    def __getattr__(self, name: str) -> object:
        if name == "nvmlInit_v2":
            return lambda: 0
        if name == "nvmlDeviceGetHandleByPciBusId_v2":
            return self._open
        if name == "nvmlDeviceGetMemoryInfo":
            return self._memory
        raise AttributeError(name)

    def _open(self, place: ctypes.c_char_p, card: object) -> int:
        self.place = place.value
        return 0 if self.place in (b"0000:01:00.0", b"0000:41:00.0") else 6

    def _memory(self, card: object, sizes: Any) -> int:
        sizes._obj[2] = (100 if self.place == b"0000:41:00.0" else 300) << 20
        return 0


def test_the_card_is_found_by_its_place_on_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _Driver())
    monkeypatch.setattr(sensors, "_pci_bus_id", lambda card: ["0000:41:00.0", "0000:01:00.0", "0000:81:00.0"][card])
    assert sensors.device_memory(0).value == 100
    assert sensors.device_memory(1).value == 300
    assert "error 6" in sensors.device_memory(2).reason


def test_only_the_stages_of_the_device_count_as_its_own() -> None:
    def timed(**times: float) -> LatencyLog:
        device = LatencyLog()
        empty = np.zeros((4, 6, 3), np.uint8)

        def pipeline(frame: Frame) -> Lanes:
            return Lanes(empty[..., 0], np.zeros(0, np.int32), np.zeros(0, np.float32), (), times=times)

        _one(pipeline, lambda: Frame(empty), 0, LatencyLog(), LatencyLog(), device)
        return device

    on_card = {"submit": 7.0, "upload": 5.0, "preprocess": 1.0, "infer": 2.0, "group": 0.5, "download": 3.0}
    assert timed(**on_card, **{"collect": 9.0, "group on host": 9.0}).values("device to device").tolist() == [3.5]
    assert not timed(submit=1.0, device=4.0, collect=9.0).values("device to device").size, "they were not told apart"
    assert not timed(preprocess=1.0, infer=2.0, group=0.5).values("device to device").size, "on a CPU"


def test_a_peer_that_fails_later_costs_no_figures_and_they_are_kept_before_the_floor(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def fails(name: str, *_: object) -> PlainPeer:
        def network(tensor: np.ndarray) -> np.ndarray:
            if next(calls) == 4:
                raise MemoryError("out of memory")
            return np.zeros((3, 4, 4), np.float32)

        return PlainPeer(name, find_model(model).card, "model.onnx", network)

    monkeypatch.setattr(run, "torch_peer", fails)
    kept: list[BenchFile] = []
    settings = BenchSettings(SIZE, frames=10, compare=True, backend="onnxruntime", threads=1)
    found = bench_model(model, settings, kept.append).runs[0]
    assert [each.runs[0].floor for each in kept] == [None]
    assert found.floor is not None
    assert found.replaced(floor=None) == kept[0].runs[0]
    (failed,) = (peer for peer in found.peers if peer.name.startswith("torch"))
    assert failed.total is None
    assert "MemoryError: out of memory" in failed.reason
    assert any(peer.total is not None for peer in found.peers)


def test_resident_memory_follows_what_is_held() -> None:
    before = resident_memory().value
    with mmap.mmap(-1, 64 << 20) as held:  # of the system itself: an allocator may have as much left from before
        held[:: mmap.PAGESIZE] = bytes(len(held) // mmap.PAGESIZE)  # a page is there once it was written to
        after = resident_memory().value
    assert before is not None
    assert after is not None
    assert after - before > 32


def test_the_shipped_results_can_be_read_and_the_readme_tells_the_newest() -> None:
    root = Path(__file__).resolve().parents[3]
    files = [path for path in (root / "bench" / "results").glob("*.json") if not path.name.startswith("node-")]
    shipped = [BenchFile.load(path) for path in files]
    assert all(each.device_to_device for file in shipped if file.hardware.startswith("NVIDIA") for each in file.runs)
    on_a_cpu = [file for file in shipped if not any(each.device_to_device for each in file.runs)]
    file = max(on_a_cpu, key=lambda each: each.date)
    assert {each.precision for each in file.runs} == {"int8", "fp32"}
    assert any(each.floor is not None and each.peers for each in file.runs)
    readme = (root / "README.md").read_text(encoding="utf-8")
    for each in file.runs:
        if each.precision == "int8" and each.backend["backend"].startswith("ONNX"):
            (row,) = re.findall(rf"(?m)^\| `{each.model}` \|.*$", readme)
            assert row.endswith(f"| {each.sequential_fps:.0f} at {each.size[1]}x{each.size[0]} |")
