"""Training runs: configurations, a short run to its files, resuming."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtseg.errors import ConfigError, DatasetError, MediaError, ModelError
from rtseg.lab.deploy.export import run_maps
from rtseg.lab.training.averaged_module import update_average
from rtseg.lab.training.checkpoints import WholeCheckpoints, epochs_done
from rtseg.lab.training.config import DistilConfig, TrainingConfig
from rtseg.lab.training.configurations import load_config
from rtseg.lab.training.families import RunData, lane_shape, training_loader
from rtseg.lab.training.hours import Deadline, planned
from rtseg.lab.training.lanes.datasets import LaneDataset, MixtureSampler, load_real
from rtseg.lab.training.lanes.distillation import LaneTeacher, distillation_loss
from rtseg.lab.training.lanes.module import LaneModule, build_network
from rtseg.lab.training.quick import shortened
from rtseg.lab.training.train import load_network, read_weights, train
from rtseg.runtime.models import bundled_models_folder

SMALL = {
    "name": "small",
    "seed": 5,
    "network": {"backbone": "resnet18-half", "channels": 8, "lanes": 4},
    "input": {"width": 96, "height": 64},
    "labels": {"stride": 2},
    "loss": {"samples": 20},
    "optimizer": {"name": "sgd", "rate": 0.01, "schedule": "step", "warmup_steps": 2},
    "epochs": 2,
    "samples_per_epoch": 8,
    "batch": 4,
    "precision": "fp32",
    "ema": 0.5,
    "workers": 0,
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@pytest.fixture
def road(tmp_path: Path) -> Path:
    folder = tmp_path / "road"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    rows = list(range(80, 180, 10))
    for i in range(4):
        image = rng.integers(60, 100, (180, 320, 3), dtype=np.uint8)
        lanes = []
        for bottom in (40, 130, 240):
            columns = [int(160 + (bottom + 10 * i - 160) * (row - 60) / 120) for row in rows]
            lanes.append(columns)
            points = np.array([columns, rows]).T
            cv2.polylines(image, [points], False, (240, 240, 240), 4)
        cv2.imwrite(str(folder / f"{i}.png"), image)
        lines.append(json.dumps({"raw_file": f"{i}.png", "h_samples": rows, "lanes": lanes}))
    (folder / "labels.json").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "lanes-lite",
        "lanes-lite-finetune",
        "lanes-lite-rendered",
        "lanes-lite-fold",
        "lanes-r18",
        "lanes-r18-paper",
    ],
)
def test_bundled_configurations_validate(name: str) -> None:
    config = load_config(name)
    assert isinstance(config, TrainingConfig)
    assert config.name == name
    assert config.network.lanes + 1 == 7
    assert config.loss.margin == 2.0
    assert config.loss.samples == 100


def test_the_papers_schedule() -> None:
    optimizer = load_config("lanes-r18-paper").optimizer
    assert (optimizer.name, optimizer.rate, optimizer.step_epochs, optimizer.step_factor) == ("sgd", 0.01, 20, 0.1)
    assert load_config("lanes-r18-paper").epochs == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{broken: [", "YAML"),
        ("name: x", "input"),
        (json.dumps({**SMALL, "input": {"width": 100, "height": 64}}), r"input\.width"),
        (json.dumps({**SMALL, "sped": 1}), "sped"),
        (json.dumps({**SMALL, "data": {"rendered_share": 0.5}}), "rendered_seeds"),
        (
            json.dumps({**SMALL, "optimizer": {"rate": float("inf")}}).replace("Infinity", ".inf"),
            r"optimizer\.rate.*inf",
        ),
        (
            json.dumps({**SMALL, "optimizer": {"weight_decay": float("nan")}}).replace("NaN", ".nan"),
            "weight_decay.*nan",
        ),
        (json.dumps({**SMALL, "augment": {"rotation": float("inf")}}).replace("Infinity", ".inf"), r"rotation.*inf"),
        (json.dumps({**SMALL, "seed": 1 << 32}), "seed"),
        (json.dumps({**SMALL, "input": {"width": 32 * 10**9, "height": 64}}), r"input\.width"),
        (json.dumps({**SMALL, "network": {**SMALL["network"], "channels": 10**9}}), r"network\.channels"),  # type: ignore[dict-item]
        (json.dumps({**SMALL, "loss": {"samples": 10**30}}), r"loss\.samples"),
        (json.dumps({**SMALL, "optimizer": {"rate": 1.5e9}}), r"optimizer\.rate"),
        (json.dumps({**SMALL, "batch": 10**30}), "batch"),
        ("- 1", "valid dictionary"),
    ],
)
def test_bad_configurations_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_unknown_configurations_are_answered_with_the_known() -> None:
    with pytest.raises(ConfigError, match=r"lanes-lite, .*lanes-r18"):
        load_config("lanes-huge")


def test_ctrl_c_is_an_interrupt_and_not_an_answer(tmp_path: Path, road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LaneModule, "on_train_batch_end", stop)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(TrainingConfig.model_validate(SMALL), [road], tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("full", [False, True])
def test_a_checkpoint_is_written_whole_beside_its_place_or_not_at_all(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")  # another disk, as of temporary files
    checkpoint = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, checkpoint)
    if full:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            with pytest.raises(MediaError, match=r"expected to write .*last\.ckpt"):
                WholeCheckpoints().save_checkpoint({"epoch": 2, "tensor": torch.zeros(10_000)}, checkpoint)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    else:
        WholeCheckpoints().save_checkpoint({"epoch": 2}, checkpoint)
    assert torch.load(checkpoint, weights_only=True)["epoch"] == (1 if full else 2)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_full_disk_ends_a_training_with_a_sentence_and_leaves_the_last_epoch(tmp_path: Path, road: Path) -> None:
    config = TrainingConfig.model_validate(SMALL)
    out = tmp_path / "run"
    train(config.model_copy(update={"epochs": 1}), [road], out)
    weights, size = (out / "model.safetensors").read_bytes(), (out / "last.ckpt").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(MediaError, match=r"last\.ckpt"):
            train(config, [road], out, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert epochs_done(out / "last.ckpt") == 1
    assert (out / "model.safetensors").read_bytes() == weights
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_a_run_leaves_weights_that_load_and_an_interrupted_one_ends_the_same(
    tmp_path: Path, road: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainingConfig.model_validate(SMALL)
    whole = train(config, [road], tmp_path / "whole", validation=[road])
    assert re.search(r"loss [\d.]+, \d+ s left", capsys.readouterr().err)
    network, found = load_network(whole)
    assert found == config
    assert not network.training
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 16, 24)
    assert {"config.yaml", "command.txt", "last.ckpt", "logs", "model.safetensors"} <= {
        path.name for path in (tmp_path / "whole").iterdir()
    }
    assert load_config(tmp_path / "whole" / "config.yaml") == config

    train(config.model_copy(update={"epochs": 1}), [road], tmp_path / "broken")
    half = read_weights(tmp_path / "broken" / "model.safetensors")
    resumed = read_weights(train(config, [road], tmp_path / "broken", resume=True))
    expected = read_weights(whole)
    assert any(not torch.equal(half[name], expected[name]) for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-5, atol=1e-6, msg=name)

    for name, sort in (("whole", "held out"), ("broken", "learned from")):
        page = (tmp_path / name / "report.html").read_text(encoding="utf-8")
        captions = re.findall(r"after epoch (\d+), ([a-z ]+)", page)
        assert {(int(n), said) for n, said in captions} == {(n + 1, sort) for n in range(config.epochs)}
        assert "train/loss" in page


def test_samples_are_prepared_by_no_more_processes_than_there_are_cores() -> None:
    config = TrainingConfig.model_validate({**SMALL, "workers": 10_000})
    dataset = torch.utils.data.TensorDataset(torch.zeros(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = training_loader(config, RunData(dataset, MixtureSampler([4], [1.0], 4, 0)))
    assert 1 <= loader.num_workers < 10_000


@pytest.mark.slow
def test_rendered_and_real_frames_mix(tmp_path: Path, road: Path) -> None:
    data = {"rendered_seeds": [3, 5], "rendered_size": [90, 160], "rendered_share": 0.5}
    config = TrainingConfig.model_validate({**SMALL, "data": data, "epochs": 1})
    train(config, [road], tmp_path / "run", cache=tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").glob("*.jpg")) == ["0000003.jpg", "0000004.jpg"]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_gone_on_from_is_told_and_nothing_written(tmp_path: Path, road: Path) -> None:
    config = TrainingConfig.model_validate({**SMALL, "epochs": 1})
    out = tmp_path / "run"
    train(config, [road], out)
    checkpoint, settings = out / "last.ckpt", (out / "config.yaml").read_bytes()
    left = checkpoint.read_bytes()
    foreign = io.BytesIO()
    torch.save({"epoch": 0, "state_dict": {}}, foreign)
    for damaged in (b"", left[: len(left) // 2], bytes(1000), pickle.dumps(print), foreign.getvalue()):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"checkpoint in .*last\.ckpt: .*; remove it"):
            train(config, [road], out, resume=True)
        with pytest.raises(ConfigError, match=r"checkpoint in .*last\.ckpt: .*; remove it"):
            epochs_done(checkpoint)
    checkpoint.write_bytes(left)
    wider = config.model_copy(update={"network": config.network.model_copy(update={"channels": 32})})
    with pytest.raises(ConfigError, match=r"got another: .* for \(32, "):
        train(wider, [road], out, resume=True)
    assert (out / "config.yaml").read_bytes() == settings
    for saved in ("a: [", None):
        (out / "config.yaml").unlink() if saved is None else (out / "config.yaml").write_text(saved)
        with pytest.raises(ConfigError, match="configuration"):
            train(config, [road], out, resume=True, deadline=Deadline.of(60.0))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    config = TrainingConfig.model_validate(SMALL)
    with pytest.raises(ConfigError, match="--data"):
        train(config, [], tmp_path / "run")
    with pytest.raises(ConfigError, match="resume"):
        train(config, [tmp_path], tmp_path / "run", resume=True)
    with pytest.raises(ModelError, match="safetensors"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="safetensors"):
        read_weights(tmp_path / "broken.safetensors")


def test_average_forgets_the_start_and_then_moves_slowly() -> None:
    average, net = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    start = average.weight.detach().clone()
    update_average(average, net, 0.99, step=0)
    torch.testing.assert_close(average.weight, 0.1 * start + 0.9 * net.weight)
    before = average.weight.detach().clone()
    update_average(average, net, 0.99, step=100_000)
    torch.testing.assert_close(average.weight, 0.99 * before + 0.01 * net.weight)


@pytest.mark.slow
def test_a_run_goes_on_from_a_bundled_model(tmp_path: Path, road: Path) -> None:
    config = load_config("lanes-lite")
    assert isinstance(config, TrainingConfig)
    short = {"epochs": 1, "samples_per_epoch": 4, "batch": 2, "precision": "fp32", "ema": 0.0, "workers": 0}
    nothing_rendered = config.data.model_copy(update={"rendered_share": 0.0, "sets": ()})
    slow = config.optimizer.model_copy(update={"rate": 1e-9})
    config = config.model_copy(update={**short, "data": nothing_rendered, "optimizer": slow})
    weights = train(config, [road], tmp_path / "run", start="lanes-lite")
    assert "--start lanes-lite" in (tmp_path / "run" / "command.txt").read_text()
    network, loaded = load_network(weights)
    assert loaded.start == "lanes-lite"
    network.lower_background(config.line_bias)
    shipped = bundled_models_folder() / "lanes-lite" / "model-fp32.onnx"
    image = torch.randn(1, 3, config.input.height, config.input.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(image).numpy()
    # Hardly any step was taken; BatchNorm's running statistics have seen four more pictures.
    expected = run_maps(shipped, image.numpy())["logits"]
    assert np.abs(logits - expected).mean() < 0.1 * expected.std()


@pytest.mark.slow
def test_blended_weights_lie_between_the_start_and_the_trained_ones(tmp_path: Path, road: Path) -> None:
    config = TrainingConfig.model_validate({**SMALL, "epochs": 1})
    start = train(config, [road], tmp_path / "start")
    further = config.model_copy(update={"seed": 6})
    trained = read_weights(train(further, [road], tmp_path / "trained", start=str(start)))
    partly = further.model_copy(update={"blend": 0.25})
    blended = read_weights(train(partly, [road], tmp_path / "blended", start=str(start)))
    begun = read_weights(start)
    assert any((trained[name] != begun[name]).any() for name in begun)
    for name, value in blended.items():
        expected = torch.lerp(begun[name], trained[name], 0.25) if value.is_floating_point() else trained[name]
        torch.testing.assert_close(value, expected)
    with pytest.raises(ConfigError, match="something to start from"):
        train(partly, [road], tmp_path / "none")


@pytest.mark.slow
def test_a_student_comes_closer_to_its_teacher(tmp_path: Path, road: Path) -> None:
    network = {"backbone": "resnet18-half", "channels": 8, "lanes": 6}
    alone = TrainingConfig.model_validate({**SMALL, "network": network, "epochs": 4, "line_bias": 1.0})
    taught = alone.model_copy(update={"distil": DistilConfig(teacher="lanes-lite", weight=20.0)})
    samples = LaneDataset(load_real([road]), lane_shape(alone, build_network(alone)))
    images = torch.stack([samples[i][0] for i in range(len(samples))])
    divergences = []
    for name, config in (("alone", alone), ("taught", taught)):
        net, loaded = load_network(train(config, [road], tmp_path / name))
        assert loaded == config
        teacher = LaneTeacher("lanes-lite", 6, net.mean, net.std, 1.0, torch.device("cpu"))
        with torch.no_grad():
            divergences.append(float(distillation_loss(net(images), teacher(images))))
    assert divergences[1] < 0.9 * divergences[0]


def test_weights_of_another_network_are_refused(tmp_path: Path, road: Path) -> None:
    config = TrainingConfig.model_validate({**SMALL, "epochs": 1})
    weights = train(config, [road], tmp_path / "run")
    other = config.model_copy(update={"network": config.network.model_copy(update={"channels": 16})})
    with pytest.raises(ModelError, match="not of this network"):
        train(other, [road], tmp_path / "other", start=str(weights))


@pytest.mark.parametrize("fault", ["data", "labels", "picture", "validation", "start", "start file"])
def test_mistakes_are_told_before_anything_is_rendered(tmp_path: Path, road: Path, fault: str) -> None:
    data = {"rendered_seeds": [3, 9999], "rendered_size": [90, 160], "rendered_share": 0.5}
    config = TrainingConfig.model_validate({**SMALL, "data": data})
    folder, validation, start = road, [road], None
    if fault == "data":
        folder = tmp_path / "nosuch"
    elif fault == "labels":
        (road / "labels.json").write_text("{")
    elif fault == "picture":
        (road / "2.png").unlink()
    elif fault == "validation":
        validation = [tmp_path / "nosuch"]
    else:
        start = str(tmp_path / ("nosuch.safetensors" if fault == "start file" else "nosuch"))
    with pytest.raises((DatasetError, ModelError), match=r"nosuch|labels\.json|2\.png"):
        train(config, [folder], tmp_path / "run", validation=validation, start=start)
    assert not (tmp_path / "run").exists()


def test_a_quick_run_is_short_and_renders_little(tmp_path: Path) -> None:
    whole = load_config("lanes-lite-finetune")
    short = shortened(whole)
    assert isinstance(short, TrainingConfig)
    first, last = short.data.rendered_seeds
    assert last - first <= 64
    assert short.epochs * short.samples_per_epoch <= 1000
    assert shortened(short) == short
    objects = shortened(load_config("instances-lite"))
    assert objects.epochs * objects.samples_per_epoch <= 400 < load_config("instances-lite").samples_per_epoch


@pytest.mark.slow
def test_two_machines_train_one_network(tmp_path: Path, road: Path) -> None:
    config, out = tmp_path / "small.yaml", tmp_path / "run"
    config.write_text(json.dumps(SMALL))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    meet = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    work = ["-m", "rtseg.cli", "train", str(config), "--data", str(road), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    machines = [
        subprocess.Popen([*start, "--node-rank", str(rank), *meet, *work], env=environment, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        said = [machine.communicate(timeout=250)[1].decode(errors="replace") for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # one alone would wait for the other, long after this test
    assert [machine.returncode for machine in machines] == [0, 0], said[0][-2000:]
    network, trained = load_network(out / "model.safetensors")
    assert trained.processes == 2
    assert all(bool(torch.isfinite(weight).all()) for weight in network.state_dict().values())
    checkpoint = torch.load(out / "last.ckpt", weights_only=True)
    # 8 samples in batches of 4 are two steps an epoch, however many machines share them.
    assert checkpoint["global_step"] == SMALL["epochs"] * 2


@pytest.mark.slow
def test_a_run_ends_in_the_hours_it_is_given_and_goes_on_in_those_given_then(
    road: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = TrainingConfig.model_validate({**SMALL, "epochs": 40, "samples_per_epoch": 400}), tmp_path / "run"
    begun = time.monotonic()
    train(config, [road], out, deadline=Deadline.of(8.0))
    assert time.monotonic() - begun < 30, "it would take minutes"
    plan = load_config(out / "config.yaml")
    steps = torch.load(out / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < steps <= plan.epochs * -(-plan.samples_per_epoch // plan.batch)
    assert f" of {plan.samples_per_epoch} samples, " in capsys.readouterr().err
    train(config, [road], out, resume=True, deadline=Deadline.of(4.0))
    more = load_config(out / "config.yaml")
    assert more.samples_per_epoch == plan.samples_per_epoch
    assert torch.load(out / "last.ckpt", weights_only=True)["global_step"] > steps
    with pytest.raises(ConfigError, match="one process"):
        train(config.model_copy(update={"processes": 2}), [road], tmp_path / "two", deadline=Deadline.of(1.0))


def test_plans_fit_the_time_and_keep_the_shape_of_the_schedule() -> None:
    config = TrainingConfig.model_validate(
        {**SMALL, "epochs": 10, "samples_per_epoch": 800, "optimizer": {"warmup_steps": 100, "step_epochs": 5}}
    )
    half = planned(config, 0.1, 100.0)  # 1,000 steps of 4 samples; the configuration has 2,000
    assert (half.epochs, half.samples_per_epoch) == (5, 800)
    assert (half.optimizer.warmup_steps, half.optimizer.step_epochs) == (50, 2)
    short = planned(config, 0.1, 10.0)
    assert (short.epochs, short.samples_per_epoch) == (5, 80)
    assert planned(config, 0.1, 1e6).epochs == 20, "at most twice"
    least = planned(config, 60.0, 1.0)
    assert (least.epochs, least.samples_per_epoch) == (1, 4)
