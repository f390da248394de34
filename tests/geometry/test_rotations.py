import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rayzer.geometry.rotations import (
    cross_matrix,
    look_rotation,
    quaternion_from_rotation,
    rotation_angle,
    rotation_from_6d,
    rotation_from_quaternion,
    rotation_from_vector,
)

fast = settings(max_examples=12, deadline=None, derandomize=True)
batch = pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
seeds = st.integers(0, 2**31)

TINY = {torch.float32: 3e-6, torch.float64: 1e-12}
MAKERS = {"6d": (rotation_from_6d, 6), "quaternion": (rotation_from_quaternion, 4), "vector": (rotation_from_vector, 3)}
makers = pytest.mark.parametrize("name", MAKERS)

AXES = torch.nn.functional.normalize(  # [12, 3]: along, between and beside the coordinate axes
    torch.tensor(
        [
            *[(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)],
            *[(1, 1, 0), (1, 0, -1), (0, -1, 1), (1, 1, 1), (1, -1, 1), (0.1, -0.2, 3)],
        ],
        dtype=torch.float64,
    ),
    dim=-1,
)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def about(axes, angle):
    """The slow twin: the matrix exponential of the cross product matrix."""
    x, y, z = (axes * angle).unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.matrix_exp(torch.stack(rows, -2))


def assert_rotation(matrix):
    eye = torch.eye(3, dtype=matrix.dtype).expand_as(matrix)
    assert_close(matrix @ matrix.mT, eye, atol=TINY[matrix.dtype], rtol=0)
    assert_close(torch.linalg.det(matrix), torch.ones_like(matrix[..., 0, 0]), atol=TINY[matrix.dtype], rtol=0)


# Documentation by example


def test_a_quarter_turn_about_z_carries_x_to_y():
    turn = rotation_from_vector(torch.tensor([0.0, 0.0, math.pi / 2]))
    assert_close(turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))


def test_quaternions_have_w_first():
    half = math.sqrt(0.5)
    quarter_about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert_close(rotation_from_quaternion(torch.tensor([half, 0, 0, half])), quarter_about_z)
    assert_close(quaternion_from_rotation(quarter_about_z), torch.tensor([half, 0, 0, half]))


def test_six_numbers_are_the_first_two_columns():
    rotation = rotation_from_6d(torch.tensor([0.0, 2.0, 0.0, 0.0, 7.0, 3.0]))
    assert rotation.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # columns y, z, x


def test_the_identity_in_each_representation():
    eye = torch.eye(3)
    assert torch.equal(rotation_from_6d(torch.tensor([1.0, 0, 0, 0, 1, 0])), eye)
    assert torch.equal(rotation_from_quaternion(torch.tensor([1.0, 0, 0, 0])), eye)
    assert torch.equal(rotation_from_vector(torch.zeros(3)), eye)
    assert torch.equal(quaternion_from_rotation(eye), torch.tensor([1.0, 0, 0, 0]))
    assert rotation_angle(eye) == 0


def test_look_rotation_has_columns_right_down_forward():
    rotation = look_rotation(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.5, 1.0, 0.0]))
    assert rotation.mT.tolist() == [[0, 0, -1], [0, 1, 0], [1, 0, 0]]


# Group laws


@batch
@dtypes
@makers
def test_every_representation_gives_rotations(name, shape, dtype):
    make, size = MAKERS[name]
    rotation = make(random(*shape, size, dtype=dtype))
    assert rotation.shape == (*shape, 3, 3)
    assert rotation.dtype == dtype
    assert_rotation(rotation)


@batch
@dtypes
@makers
def test_products_and_inverses_are_rotations_and_make_the_identity(name, shape, dtype):
    make, size = MAKERS[name]
    a, b, c = (make(random(*shape, size, seed=seed, dtype=dtype)) for seed in range(3))
    assert_rotation(a @ b)
    assert_close((a @ b) @ c, a @ (b @ c), atol=TINY[dtype], rtol=0)
    assert_close(a @ a.mT, torch.eye(3, dtype=dtype).expand_as(a), atol=TINY[dtype], rtol=0)
    assert_close(rotation_angle(a @ a.mT), torch.zeros(shape, dtype=dtype), atol=TINY[dtype], rtol=0)


@makers
def test_batches_are_computed_element_by_element(name):
    make, size = MAKERS[name]
    values = random(2, 3, size)
    one_by_one = torch.stack([torch.stack([make(value) for value in row]) for row in values])
    assert_close(make(values), one_by_one, atol=1e-15, rtol=0)


@given(seeds)
@fast
def test_inverse_rotations_come_from_the_conjugate_and_the_opposite(seed):
    quaternion, vector = random(4, seed=seed), random(3, seed=seed)
    conjugate = quaternion * quaternion.new_tensor([1, -1, -1, -1])
    assert_close(rotation_from_quaternion(conjugate), rotation_from_quaternion(quaternion).mT)
    assert_close(rotation_from_vector(-vector), rotation_from_vector(vector).mT)


@given(seeds)
@fast
def test_the_quaternion_product_is_the_matrix_product(seed):
    a, b = random(2, 4, seed=seed)
    product = torch.cat(
        [(a[0] * b[0] - a[1:] @ b[1:])[None], a[0] * b[1:] + b[0] * a[1:] + torch.linalg.cross(a[1:], b[1:])]
    )
    assert_close(rotation_from_quaternion(product), rotation_from_quaternion(a) @ rotation_from_quaternion(b))


@given(seeds, st.floats(1e-6, 1e6))
@fast
def test_length_does_not_matter(seed, factor):
    six, four = random(6, seed=seed), random(4, seed=seed)
    assert_close(rotation_from_6d(six * factor), rotation_from_6d(six))
    assert_close(rotation_from_quaternion(four * factor), rotation_from_quaternion(four))


@given(seeds, st.floats(0.01, 100), st.floats(-5, 5))
@fast
def test_6d_ignores_the_second_vectors_length_and_its_part_along_the_first(seed, factor, shear):
    a1, a2 = random(2, 3, seed=seed)
    sheared = torch.cat([a1, factor * a2 + shear * a1])
    assert_close(rotation_from_6d(sheared), rotation_from_6d(torch.cat([a1, a2])), atol=1e-9, rtol=0)


def test_6d_of_a_rotations_first_two_columns_is_the_rotation(random_rotations):
    rotation = random_rotations(50)
    assert_close(rotation_from_6d(rotation[..., :2].mT.flatten(-2)), rotation)


# Quaternion <-> matrix


@given(seeds)
@fast
def test_quaternion_round_trip_up_to_sign(seed):
    quaternion = torch.nn.functional.normalize(random(4, seed=seed), dim=-1)
    back = quaternion_from_rotation(rotation_from_quaternion(quaternion))
    assert back[0] >= 0
    assert_close(back, quaternion if quaternion[0] > 0 else -quaternion)


def test_a_quaternion_and_its_opposite_are_one_rotation():
    quaternion = random(20, 4)
    assert torch.equal(rotation_from_quaternion(quaternion), rotation_from_quaternion(-quaternion))


@batch
@dtypes
def test_matrix_round_trip(shape, dtype, random_rotations):
    rotation = random_rotations(*shape, dtype=dtype)
    quaternion = quaternion_from_rotation(rotation)
    assert quaternion.shape == (*shape, 4)
    assert_close(quaternion.norm(dim=-1), torch.ones(shape, dtype=dtype))
    assert_close(rotation_from_quaternion(quaternion), rotation, atol=TINY[dtype], rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi / 2, math.pi - 1e-4, math.pi - 1e-9, math.pi])
@dtypes
def test_matrix_round_trip_at_special_angles_about_every_axis(angle, dtype):
    rotation = about(AXES, angle).to(dtype)
    quaternion = quaternion_from_rotation(rotation)
    w, vector = quaternion.double().split([1, 3], -1)
    half = AXES * math.sin(angle / 2)
    either_sign = torch.minimum((vector - half).abs().amax(-1), (vector + half).abs().amax(-1))  # at half turns
    assert_close(rotation_from_quaternion(quaternion), rotation, atol=TINY[dtype], rtol=0)
    assert_close(w, torch.full_like(w, math.cos(angle / 2)), atol=TINY[dtype], rtol=0)
    assert either_sign.max() < TINY[dtype]


# Rotation vectors


@given(seeds, st.sampled_from([1e-12, 1e-6, 0.99e-4, 1.01e-4, 1e-2, 1.0, 3.0, 20.0]))
@fast
def test_rotation_from_vector_is_the_matrix_exponential(seed, length):
    vector = length * torch.nn.functional.normalize(random(3, seed=seed), dim=-1)
    assert_close(rotation_from_vector(vector), torch.matrix_exp(cross_matrix(vector)), atol=1e-13, rtol=0)


def test_cross_matrix_is_the_cross_product():
    a, b = random(2, 4, 5, 3)
    assert_close((cross_matrix(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


@pytest.mark.parametrize("length", [1e-7, 0.9e-4, 1.1e-4, 3e-4, 1e-3, 1e-2, 0.1])
@dtypes
def test_gradient_of_rotation_from_vector_near_zero_is_that_in_high_precision(length, dtype):
    weight = random(3, 3)
    ours = (AXES * length).to(dtype).requires_grad_()
    twin = (AXES * length).requires_grad_()
    (rotation_from_vector(ours) * weight.to(dtype)).sum().backward()
    (torch.matrix_exp(cross_matrix(twin)) * weight).sum().backward()
    assert_close(ours.grad.double(), twin.grad, atol=TINY[dtype], rtol=0)


# Angles


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-5, 1e-3, 0.5, 2.0, math.pi - 1e-3, math.pi - 1e-5, math.pi])
def test_rotation_angle_is_the_constructed_angle(angle):
    expected = torch.full((12,), angle, dtype=torch.float64)
    assert_close(rotation_angle(about(AXES, angle)), expected, atol=1e-12, rtol=0)
    assert_close(rotation_angle(about(AXES, angle).float()), expected.float(), atol=1e-6, rtol=0)


@given(seeds)
@fast
def test_rotation_angle_is_a_distance(seed):
    a, b, c = rotation_from_quaternion(random(3, 4, seed=seed))
    ab, bc, ac = rotation_angle(a @ b.mT), rotation_angle(b @ c.mT), rotation_angle(a @ c.mT)
    assert 0 <= ab <= math.pi
    assert_close(rotation_angle(b @ a.mT), ab)
    assert_close(rotation_angle(c @ a @ (c @ b).mT), ab)  # the same from every side
    assert ac <= ab + bc + 1e-12


# Gradients


@makers
def test_gradcheck_of_makers(name):
    make, size = MAKERS[name]
    assert torch.autograd.gradcheck(make, random(2, size).requires_grad_())


def test_gradcheck_of_rotation_vectors_at_zero():
    vectors = torch.tensor([[0.0, 0, 0], [1e-6, 0, 0], [0, -2e-4, 1e-4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(rotation_from_vector, vectors.requires_grad_())


@pytest.mark.parametrize("angle", [1e-3, 1.0, math.pi - 1e-3, math.pi])
def test_gradcheck_of_quaternions_from_matrices(angle):
    rotation = about(AXES[-1], angle).requires_grad_()

    def up_to_sign(matrix):  # q and -q are one rotation; their outer product does not jump where w changes sign
        quaternion = quaternion_from_rotation(matrix)
        return quaternion[:, None] * quaternion[None]

    assert torch.autograd.gradcheck(up_to_sign, rotation)


@pytest.mark.parametrize("angle", [1e-3, 1.0, math.pi - 1e-3])
def test_gradcheck_of_the_angle(angle):
    assert torch.autograd.gradcheck(rotation_angle, about(AXES[-1], angle).requires_grad_())


@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-8, math.pi / 2, math.pi - 1e-8, math.pi])
@dtypes
def test_gradients_are_finite_at_the_identity_and_at_half_turns(angle, dtype):
    rotation = about(AXES, angle)
    exact_half_turn = 2 * AXES[:, :, None] * AXES[:, None] - torch.eye(3)
    quaternion = torch.cat([torch.full((12, 1), math.cos(angle / 2)), AXES * math.sin(angle / 2)], -1)
    cases = [
        (rotation_from_vector, AXES * angle),
        (rotation_from_quaternion, quaternion),
        (rotation_from_6d, rotation[..., :2].mT.flatten(-2)),
        (quaternion_from_rotation, rotation),
        (quaternion_from_rotation, exact_half_turn),
        (rotation_angle, rotation),
        (rotation_angle, exact_half_turn),
    ]
    for function, value in cases:
        value = value.to(dtype).detach().requires_grad_()
        result = function(value)
        (result * random(*result.shape, dtype=dtype)).sum().backward()
        assert result.isfinite().all()
        assert value.grad.abs().max() < 100  # and so finite, too


# look_rotation


@given(seeds)
@fast
def test_look_rotation_looks_forward_with_down_in_the_lower_half(seed):
    forward, down = random(2, 4, 3, seed=seed)
    rotation = look_rotation(forward, down)
    assert_rotation(rotation)
    assert_close(rotation[..., 2], torch.nn.functional.normalize(forward, dim=-1))
    assert_close((rotation[..., 0] * down).sum(-1), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    assert ((rotation[..., 1] * down).sum(-1) > 0).all()


def test_look_rotation_shares_one_of_its_arguments():
    many = random(2, 5, 3)
    assert_close(
        look_rotation(many, many[0, 0] * 0 + random(3, seed=3))[1, 2], look_rotation(many[1, 2], random(3, seed=3))
    )
    assert_close(look_rotation(random(3, seed=3), many)[1, 2], look_rotation(random(3, seed=3), many[1, 2]))
