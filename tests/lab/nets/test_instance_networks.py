"""The instance networks: maps and their shapes, parameter names, and the parts that have a reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rtseg.errors import ModelError
from rtseg.lab.nets.backbones import build_backbone, first_stages
from rtseg.lab.nets.daffnet import DaffNet, of_pairs
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, SamePadConv
from rtseg.lab.nets.gmis import GMIS
from rtseg.lab.nets.heads import ExportedMaps, InstanceNetwork
from rtseg.lab.nets.l2c_instances import L2CInstances, PyramidPooling
from rtseg.lab.nets.resnet import ResNet

NETWORKS = {
    "daffnet": lambda backbone: DaffNet(3, backbone, channels=16, head_channels=8, embedding=5),
    "daffnet-coarse-embedding": lambda backbone: DaffNet(3, backbone, channels=16, embedding=5, finest_embedding=8),
    "daffnet-fine": lambda backbone: DaffNet(3, backbone, channels=16, embedding=5, coarsest=8),
    "daffnet-paper-fine": lambda backbone: DaffNet(3, backbone, "deconvolution", channels=16, coarsest=16),
    "daffnet-paper": lambda backbone: DaffNet(
        3, backbone, "deconvolution", channels=16, head_channels=8, head_layers=2, embedding=5, dilation=4
    ),
    "gmis": lambda backbone: GMIS(3, backbone, channels=16),
    "gmis-skip": lambda backbone: GMIS(3, backbone, 8, channels=16, shared=True, skip=True),
    "l2c": lambda backbone: L2CInstances(3, backbone, channels=16, colors=8),
}


@pytest.mark.parametrize(
    ("kind", "backbone"),
    [(kind, "resnet18-half") for kind in NETWORKS]
    + [("daffnet", "efficientnet-lite0"), ("gmis", "efficientnet-lite0")],
)
def test_maps_are_what_the_network_announces(kind: str, backbone: str) -> None:
    net: InstanceNetwork = NETWORKS[kind](backbone).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = net(image)
        exported = ExportedMaps(net)(image)
    assert list(maps) == [entry.name for entry in net.maps]
    for entry, value in zip(net.maps, exported, strict=True):
        assert maps[entry.name].shape == (2, entry.channels, 64 // entry.stride, 96 // entry.stride)
        expected = torch.sigmoid(maps[entry.name]) if entry.name.startswith("affinity") else maps[entry.name]
        assert torch.equal(value, expected)


def test_a_network_without_the_finest_embedding_is_otherwise_the_same() -> None:
    whole = DaffNet(3, "resnet18-half", channels=16, embedding=5).eval()
    less = DaffNet(3, "resnet18-half", channels=16, embedding=5, finest_embedding=8).eval()
    less.load_state_dict({name: value for name, value in whole.state_dict().items() if name in less.state_dict()})
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 96)
        every, some = whole(image), less(image)
    assert set(every) - set(some) == {"embedding_s4"}
    assert all(torch.equal(value, every[name]) for name, value in some.items())
    assert sum(p.numel() for p in less.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("pyramid", ["narrow", "deconvolution"])
def test_maps_up_to_a_finer_stride_are_those_of_the_whole_network(pyramid: str) -> None:
    whole, fine = (DaffNet(3, "resnet18-half", pyramid, channels=16, coarsest=s).eval() for s in (32, 8))  # type: ignore[arg-type]
    fine.load_state_dict({name: value for name, value in whole.state_dict().items() if name in fine.state_dict()})
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 96)
        every, some = whole(image), fine(image)
    assert list(some) == [name for name in every if name.endswith(("_s4", "_s8"))]
    assert all(torch.equal(value, every[name]) for name, value in some.items())


def test_names_and_channels_are_the_contracts() -> None:
    maps = {entry.name: (entry.channels, entry.stride) for entry in DaffNet(8, "resnet18-half", embedding=16).maps}
    assert maps == {
        f"{kind}_s{s}": (channels, s)
        for kind, channels in (("semantic", 9), ("affinity", 2), ("embedding", 16))
        for s in (4, 8, 16, 32)
    }
    gmis = GMIS(8, "resnet18-half", channels=8, shared=True)
    assert {entry.name: (entry.channels, entry.stride) for entry in gmis.maps} == {
        "semantic": (9, 4),
        "affinity": (56, 4),
    }
    l2c = L2CInstances(8, "resnet18-half", channels=8)
    assert {entry.name: (entry.channels, entry.stride) for entry in l2c.maps} == {
        "colors": (9, 4),
        "semantic": (9, 4),
        "centers": (2, 4),
    }


@pytest.mark.parametrize(("depth", "parameters"), [(34, 21_284_672), (50, 23_508_032), (101, 42_500_160)])
def test_resnets_have_torchvisions_parameters(depth: int, parameters: int) -> None:
    # Published facts of torchvision's resnets without their classifier.
    with torch.device("meta"):
        net = ResNet(depth)
    assert sum(value.numel() for value in net.parameters()) == parameters
    state = net.state_dict()
    if depth >= 50:
        assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
        assert state["layer3.0.conv2.weight"].shape == (256, 256, 3, 3)
        assert state["layer4.2.bn3.running_mean"].shape == (2048,)
        assert net.get_submodule("layer2.0.conv2").stride == (2, 2)
        assert net.get_submodule("layer2.0.conv1").stride == (1, 1)


def test_bottlenecks_stride_where_they_are_told() -> None:
    with torch.device("meta"):
        net = ResNet(50, stride_first=True)
    assert net.get_submodule("layer2.0.conv1").stride == (2, 2)
    assert net.get_submodule("layer2.0.conv2").stride == (1, 1)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("make", [lambda s: ResNet(18, 0.5, output_stride=s), EfficientNetLite])
def test_dense_features_agree_with_strided_ones_where_both_are(make: object, output_stride: int) -> None:
    """Dilation in place of stride computes the same values at the positions that striding keeps (a trous)."""
    torch.manual_seed(0)
    strided, dense = make(32).eval(), make(output_stride).eval()  # type: ignore[operator]
    dense.load_state_dict(strided.state_dict())
    assert dense.strides == tuple(min(s, output_stride) for s in (4, 8, 16, 32))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        few, many = strided(image), dense(image)
    torch.testing.assert_close(many[0], few[0])
    for a, b, stride in zip(many, few, dense.strides, strict=True):
        assert a.shape == (1, b.shape[1], 64 // stride, 96 // stride)
    if isinstance(strided, ResNet):
        # Kernels are centerd on the pixels kept, so only what zero padding hides beyond the border could differ.
        torch.testing.assert_close(many[-1][..., :: 32 // output_stride, :: 32 // output_stride], few[-1])


def test_dilated_same_padding_keeps_the_size() -> None:
    conv = SamePadConv(1, 1, 5, dilation=2)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, 2, 2] = 1.0
    image = torch.randn(1, 1, 9, 12)
    torch.testing.assert_close(conv(image), image)


@pytest.mark.slow
def test_first_stages_are_what_the_first_outputs_need() -> None:
    for name in ("resnet18-half", "efficientnet-lite0"):
        net = build_backbone(name)  # type: ignore[arg-type]
        for stages in range(5):
            parts = {id(p) for module in first_stages(net, stages) for p in module.parameters()}
            features = net(torch.randn(2, 3, 32, 32))
            net.zero_grad()
            used: set[int] = set()
            if stages:
                features[stages - 1].sum().backward()
                used = {id(p) for p in net.parameters() if p.grad is not None}
                net.zero_grad(set_to_none=True)
            assert parts == used


@pytest.mark.parametrize("size", [(2, 3), (10, 20), (7, 9)])
def test_pyramid_pooling_is_pooling_upsampling_and_a_sum(size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *size)
    expected = x.clone()
    for scale in (1, 2, 3, 6):
        pooled = F.adaptive_avg_pool2d(x, scale)
        expected += F.interpolate(pooled, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(PyramidPooling()(x), expected)


def test_affinities_are_means_of_both_sides() -> None:
    logits = torch.randn(2, 4, 5, 6)
    right, lower = of_pairs(logits).unbind(1)
    torch.testing.assert_close(right[0, 2, 3], 0.5 * (logits[0, 0, 2, 3] + logits[0, 2, 2, 4]))
    torch.testing.assert_close(lower[1, 1, 3], 0.5 * (logits[1, 1, 1, 3] + logits[1, 3, 2, 3]))
    assert torch.equal(right[..., -1], logits[:, 0, :, -1])
    assert torch.equal(lower[..., -1, :], logits[:, 1, -1])


def test_missing_imagenet_weights_are_said(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="weights"):
        build_backbone("resnet18", pretrained=True)
    with pytest.raises(ModelError, match="no-such-file"):
        build_backbone("resnet18", pretrained=True, weights="no-such-file.safetensors")
    with pytest.raises(ModelError, match="state dict"):
        ResNet(18).load_imagenet({"conv1.weight": torch.zeros(1)})
