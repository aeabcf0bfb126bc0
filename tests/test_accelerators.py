"""What an accelerator does otherwise: TF32, products in half precision, sums in any order, streams.

Every test of it runs on every device, as far as the device has such a thing. Which devices a machine has is played.
"""

import sys
from types import SimpleNamespace

import pytest
import torch

from crosscheck import crosscheck, devices
from crosscheck.verdict.precision import dtypes_of, place_of_oracle
from manual_bp import Network
from manual_bp.commands.subjects import network
from manual_bp.training import settle


@pytest.fixture(params=["highest", "high", "medium"])
def precision(request):
    """Of matrix products in float32: whole; TF32, where there is TF32; bfloat16, where the device has such products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


def batch(device: torch.device, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(device)


def layer(x, w):
    return torch.tanh(x @ w)


def right(grad_out, out, x, w):
    delta = grad_out * (1 - out**2)
    return delta @ w.T, x.T @ delta


def without_the_square(grad_out, out, x, w):
    delta = grad_out * (1 - out)
    return delta @ w.T, x.T @ delta


def test_deltas_and_updates_agree_in_any_precision_of_the_products(precision, device):
    net = Network.random([32, 48, 40, 8], activation="tanh", cost="softmax_cross_entropy", device=device)
    z = torch.arange(64, device=device) % 8
    network(net, batch(device, 64, 32), z, 0.5, device, dtypes_of(device), 0).raise_on_mismatch()


def test_the_judge_is_right_in_any_precision_of_the_products(precision, device):
    inputs = batch(device, 64, 32), batch(device, 32, 48) / 6
    crosscheck(layer, right, inputs).raise_on_mismatch()
    report = crosscheck(layer, without_the_square, inputs)
    assert not report.ok
    assert report.formula == "wrong in x, w"


@pytest.mark.parametrize("size", [64, 1000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_products_in_half_precision_alone(dtype, size, device):
    inputs = batch(device, 96, size).to(dtype), (batch(device, size, 33) / size**0.5).to(dtype)
    crosscheck(layer, right, inputs, dtypes=[dtype]).raise_on_mismatch()
    assert not crosscheck(layer, without_the_square, inputs, dtypes=[dtype]).ok


def test_sums_in_any_order_are_no_mistake(device):
    """index_add_ on CUDA adds as the threads come: determinism is a verdict of its own."""
    index = torch.arange(20_000, device=device) % 7

    def gather(table):
        return table[index.to(table.device)]  # the oracle may be on the CPU

    def scatter(grad_out, out, table):
        return (torch.zeros_like(table).index_add_(0, index, grad_out),)

    def without_the_last(grad_out, out, table):
        return (torch.zeros_like(table).index_add_(0, index[:-7], grad_out[:-7]),)

    table = batch(device, 7, 3)
    report = crosscheck(gather, scatter, (table,))
    assert report.formula.startswith("right"), report
    assert report.ok, report
    assert crosscheck(gather, without_the_last, (table,)).formula == "wrong in table"


@pytest.mark.device_except("cpu", "mps", "xla", reason="has no streams")
def test_on_a_stream_of_its_own(device):
    module = torch.get_device_module(device)
    inputs = batch(device, 64, 32), batch(device, 32, 48) / 6
    stream = module.Stream()
    stream.wait_stream(module.current_stream())
    with module.stream(stream):
        crosscheck(layer, right, inputs).raise_on_mismatch()
        assert not crosscheck(layer, without_the_square, inputs).ok
        net = Network.random([32, 8], device=device)
        network(net, inputs[0], torch.rand(64, 8, device=device), 0.5, device, dtypes_of(device), 0).raise_on_mismatch()


@pytest.fixture
def play(monkeypatch):
    """Plays a machine with so many devices of each kind; of a kind that is not given torch is built without it."""

    def play(**counts):
        monkeypatch.setattr(devices, "_registered", list)
        for kind in ("cuda", "mps", "xpu"):
            monkeypatch.setattr(getattr(torch, kind), "device_count", lambda kind=kind: counts[kind])
        for where, name, kind in (
            (torch.backends.cuda, "is_built", "cuda"), (torch.backends.mps, "is_built", "mps"),
            (torch.xpu, "_is_compiled", "xpu"),
        ):  # fmt: skip
            monkeypatch.setattr(where, name, lambda kind=kind: kind in counts)

    return play


@pytest.mark.parametrize(
    ("name", "counts", "reason"),
    [
        ("cpu", {}, ""),
        ("cpu:0", {}, ""),
        ("cpu:3", {}, "there is one CPU, of index 0, not 3"),
        ("cuda", {"mps": 1}, "torch {} is built without cuda"),
        ("mps", {"xpu": 1}, "torch {} is built without mps"),
        ("xpu:1", {"cuda": 2}, "torch {} is built without xpu"),
        ("xpu", {"xpu": 0}, "torch {} finds no xpu device: is there one, and its driver?"),
        ("cuda:0", {"cuda": 1}, ""),
        ("cuda", {"cuda": 1}, ""),
        ("mps", {"mps": 1}, ""),
        ("xpu:3", {"xpu": 4}, ""),
        ("cuda:1", {"cuda": 1}, "there is 1, of index 0, not 1"),
        ("cuda:12", {"cuda": 2}, "there are 2, of index 0 to 1, not 12"),
    ],
)
def test_why_a_device_is_not_here(name, counts, reason, play):
    play(**counts)
    reason = reason.format(torch.__version__)
    assert devices.missing(name) == reason
    if reason:
        here = ", ".join(["cpu", *(kind for kind, count in counts.items() if count)])
        with pytest.raises(ValueError, match="is not here") as raised:
            devices.device(name)
        assert str(raised.value) == f"device {name} is not here: {reason}; here: {here}"
    else:
        assert devices.device(name) == torch.device(name)


def test_the_devices_of_a_machine(play, monkeypatch):
    play(cuda=2, mps=0, xpu=1)
    assert list(map(str, devices.available())) == ["cpu", "cuda", "xpu"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"NVIDIA {place.index}")
    titles = [devices.title(torch.device(name)) for name in ("cpu", "cuda:1", "mps")]
    assert titles == ["cpu", "cuda:1 (NVIDIA 1)", "mps"]
    assert devices.of_kind("cuda") == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert devices.of_kind("cpu") == devices.of_kind("npu") == []


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:01", "cuda:-1", "cuda:²", " cpu", "cpu\n", "CUDA", ""])
def test_what_is_no_name_of_a_device(name):
    with pytest.raises(ValueError, match="^device: expected one of ") as raised:
        devices.missing(name)
    known = "cpu, cuda, mps, xpu, hpu, mlu, musa, npu, xla"
    assert str(raised.value) == f"device: expected one of {known}, as in cuda or cuda:0, got {name!r}"


@pytest.fixture
def xla(monkeypatch):
    """Plays torch_xla, which has no module in torch: two devices that know one seed."""
    seeds = []
    module = SimpleNamespace(device_count=lambda: 2, manual_seed=seeds.append, seeds=seeds)
    monkeypatch.setitem(sys.modules, "torch_xla", module)
    return module


def test_a_kind_without_a_module_in_torch(xla):
    assert not hasattr(torch, "xla")
    assert str(devices.available()[-1]) == "xla"
    assert devices.missing("xla:1") == ""
    assert devices.missing("xla:2") == "there are 2, of index 0 to 1, not 2"
    state = torch.get_rng_state()
    with devices.random_kept(*devices.of_kind("xla")):
        devices.set_seed(torch.device("xla", 1), 7)
        torch.rand(1)
    assert xla.seeds == [7]
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "is not installed"),
        ("raise OSError('no driver')", "cannot be imported: OSError: no driver"),
        ("", "is imported, and torch still has no mlu"),
        ("import torch; torch.mlu = type('mlu', (), {'device_count': lambda: 1})", ""),
    ],
)
def test_the_package_of_a_kind_is_imported_where_it_is_named(source, reason, tmp_path, monkeypatch):
    if source is not None:
        (tmp_path / "torch_mlu.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch, "mlu", None, raising=False)
    assert "mlu" in devices.kinds()
    assert "mlu" not in devices.here()
    assert devices.missing("mlu") == (reason and f"the package torch_mlu, which brings mlu, {reason}")
    sys.modules.pop("torch_mlu", None)


def test_a_driver_that_cannot_be_asked(play, monkeypatch):
    def broken():
        raise OSError("version mismatch")

    play(cuda=1)
    monkeypatch.setattr(torch.cuda, "device_count", broken)
    assert devices.missing("cuda") == "its driver cannot be asked: OSError: version mismatch"


def test_what_a_lazy_device_is_asked_for_is_computed_at_once(monkeypatch):
    """It would compile anew for each value that is read; XLA's package has `sync` for it."""
    synced = []
    lazy = SimpleNamespace(sync=lambda: synced.append("all"))
    monkeypatch.setattr(devices, "_module", lambda kind: lazy if kind == "meta" else None)
    values = {"w": torch.ones(2, device="meta"), "b": torch.ones(3, device="meta"), "missing": None}
    assert devices.computed(values) is values
    assert synced == ["all"]
    devices.computed({"w": torch.ones(2)})
    assert synced == ["all"]


def test_a_step_on_a_lazy_device_is_computed_before_the_next(monkeypatch):
    synced = []
    monkeypatch.setitem(sys.modules, "torch_xla", SimpleNamespace(sync=lambda: synced.append("all")))
    settle(torch.device("cpu"))
    assert synced == []
    settle(torch.device("xla"))
    assert synced == ["all"]


@pytest.mark.parametrize(("name", "place"), [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("xla:0", "cpu"), ("mps", "cpu")])
def test_the_oracle_is_where_float64_is_torchs_own(name, place):
    assert place_of_oracle(torch.device(name)) == torch.device(place)
