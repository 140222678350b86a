import pytest
from harness.shapes import RESOLUTIONS, bytes_moved, layer_shape


def test_layers_have_the_channels_of_the_paper():
    assert [layer_shape(r, 4)[1] for r in RESOLUTIONS] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert layer_shape(1024, 4) == (4, 16, 1024, 1024)
    assert layer_shape(64, 2, channels_of=32) == (2, 512, 64, 64)


@pytest.mark.parametrize(
    ("op", "x", "y", "forward", "backward"),
    [
        ("adain", 100, 100, 200, 300),  # x -> y; x, dy -> dx
        ("bias_act", 100, 100, 200, 300),  # x -> y; dy, y -> dx
        ("upfirdn2d", 100, 400, 500, 500),  # the adjoint swaps the two
    ],
)
def test_an_ideal_kernel_touches_every_plane_sized_tensor_once(op: str, x: int, y: int, forward: int, backward: int):
    assert bytes_moved(op, "fwd", x, y) == forward
    assert bytes_moved(op, "bwd", x, y) == backward
    assert bytes_moved(op, "fwdbwd", x, y) == forward + backward


def test_adain_reads_its_inputs_twice_where_a_plane_does_not_fit():
    assert bytes_moved("adain", "fwd", 100, 100, resident=False) == 300
    assert bytes_moved("adain", "bwd", 100, 100, resident=False) == 500
