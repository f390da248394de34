"""The shapes that rooms are made of, each in its own local frame.

A local frame has its origin in the middle of the shape, y down and metres as units; `half_size` holds half
the extents along x, y, z. Vectors are component-first, [3, ...], because reducing over a leading axis of
three is several times faster than over a trailing one. A new shape is one more entry of `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST_M = 1e-3  # hits closer than this are the surface that a ray starts from
_TINY = 1e-9
_NEWTON_STEPS = 12
_QUARTIC_ROUNDING = 1e-5


@dataclass(frozen=True)
class Shape:
    """What the ray caster needs to know about one kind of shape; all tensors broadcast.

    Attributes:
        distance: (origin [3, ...], unit direction [3, ...], half_size [3, ...]) -> [...] metres along the ray
            to where it enters the shape from outside (leaves it, for a room), infinity where it does not.
        signed_distance: (point [3, ...], half_size [3, ...]) -> [...] metres to the surface, negative where
            a camera must not be: inside a thing, outside a room.
        surface: (point on the surface [3, ...], half_size [3, ...]) -> unit normal [3, ...] towards the free
            side and surface coordinates [2, ...] in metres: v is down on upright faces.
    """

    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    signed_distance: Callable[[Tensor, Tensor], Tensor]
    surface: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def length(vectors: Tensor) -> Tensor:
    """Lengths [...] of vectors [3 | 2, ...]; on CPUs `Tensor.norm` takes ten times as long over a leading axis."""
    return vectors.square().sum(0).sqrt()


def dominant_axis(vectors: Tensor) -> Tensor:
    """Axis 0, 1, 2 [...] of the largest component of [3, ...]; several times as fast as `argmax`."""
    x, y, z = vectors
    return torch.where((x >= y) & (x >= z), 0, torch.where(y >= z, 1, 2))


def _slabs(origin: Tensor, direction: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the slabs |axis| < half_size, axis by axis (shapes of the arguments)."""
    inverse = (direction + _TINY).reciprocal()  # rounds to the same direction, unless that is exactly zero
    middle, reach = -origin * inverse, half_size * inverse.abs()
    return middle - reach, middle + reach


def _entry(near: Tensor, far: Tensor) -> Tensor:
    """`near` [...] where the interval is not empty and begins in front of the ray, else infinity."""
    return torch.where((near < far) & (near > NEAREST_M), near, torch.inf)


def _box_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    near, far = _slabs(origin, direction, half_size)
    return _entry(near.amax(0), far.amin(0))


def _box_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    excess = point.abs() - half_size
    return length(excess.clamp(min=0)) + excess.amax(0).clamp(max=0)


def _box_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    axis = dominant_axis(point.abs() - half_size)
    on_face = torch.stack([axis == 0, axis == 1, axis == 2])
    x, y, z = point
    uv = torch.stack([torch.where(axis == 0, z, x), torch.where(axis == 1, z, y)])
    return on_face * point.sign(), uv


def _room_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    return _slabs(origin, direction, half_size)[1].amin(0)


def _room_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    return -_box_signed_distance(point, half_size)


def _room_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    normal, uv = _box_surface(point, half_size)
    return -normal, uv


def _sphere_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    along = -(origin * direction).sum(0)
    # The squared miss distance from the closest point, not |o|^2 - along^2: that would lose all digits.
    miss = (origin + along * direction).square().sum(0)
    reach = (half_size[0].square() - miss).clamp(min=0).sqrt()  # zero where missed: nothing to enter
    return _entry(along - reach, along + reach)


def _sphere_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    return length(point) - half_size[0]


def _sphere_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    normal = point / length(point).clamp(min=_TINY)
    x, y, z = normal
    return normal, torch.stack([torch.atan2(x, z), torch.asin(y.clamp(-1, 1))]) * half_size[0]


def _cylinder_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    flat_origin, flat_direction = origin[::2], direction[::2]
    speed = flat_direction.square().sum(0).clamp(min=_TINY)
    middle = -(flat_origin * flat_direction).sum(0) / speed
    miss = (flat_origin + middle * flat_direction).square().sum(0)
    reach = ((half_size[0].square() - miss).clamp(min=0) / speed).sqrt()  # zero where missed: nothing to enter
    near, far = _slabs(origin[1], direction[1], half_size[1])
    return _entry(torch.maximum(near, middle - reach), torch.minimum(far, middle + reach))


def _cylinder_excess(point: Tensor, half_size: Tensor) -> Tensor:
    """[2, ...] how far points lie outside the mantle and outside the two caps, metres."""
    return torch.stack([length(point[::2]) - half_size[0], point[1].abs() - half_size[1]])


def _cylinder_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    excess = _cylinder_excess(point, half_size)
    return length(excess.clamp(min=0)) + excess.amax(0).clamp(max=0)


def _cylinder_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = point
    mantle_excess, cap_excess = _cylinder_excess(point, half_size)
    on_cap = cap_excess > mantle_excess
    zero = torch.zeros_like(x)
    cap = torch.stack([zero, y.sign(), zero])
    mantle = torch.stack([x, zero, z]) / length(point[::2]).clamp(min=_TINY)
    around = torch.stack([torch.atan2(x, z) * half_size[0], y])
    return torch.where(on_cap, cap, mantle), torch.where(on_cap, torch.stack([x, z]), around)


def _cone_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    """Between base and apex, a point is inside where x^2 + z^2 is less than (slope * distance below the apex)^2."""
    along = -(origin * direction).sum(0)
    x, y, z = origin + along * direction  # seen from its point closest to the middle, so that no digits are lost
    below = y + half_size[1]  # the apex
    slope = half_size[0] / (2 * half_size[1]).clamp(min=_TINY)
    dx, dy, dz = direction
    a = dx.square() + dz.square() - (slope * dy).square()
    b = x * dx + z * dz - slope.square() * below * dy
    c = x.square() + z.square() - (slope * below).square()
    discriminant = b.square() - a * c
    # Of the two usual formulas for each root, the one that adds values of one sign.
    larger = -(b + torch.copysign(discriminant.clamp(min=0).sqrt(), b))
    one = larger / torch.where(a.abs() < _TINY, _TINY, a)
    other = c / torch.where(larger.abs() < _TINY, _TINY, larger)
    first, last = torch.minimum(one, other), torch.maximum(one, other)
    # A ray steeper than the mantle stays inside after its last root going down, before its first going up.
    near, far = _slabs(y, dy, half_size[1])
    flat, down = a > 0, dy > 0
    enters = torch.where(flat, first, torch.where(down, last, -torch.inf))
    leaves = torch.where(flat, last, torch.where(down, torch.inf, first))
    near, far = torch.maximum(near, enters), torch.minimum(far, leaves)
    return _entry(along + near, along + far).where(discriminant > 0, torch.inf)


def _cone_profile(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(metres outside the mantle, below the base; sine and cosine of the mantle against the axis)."""
    slant = length(torch.stack([half_size[0], 2 * half_size[1]])).clamp(min=_TINY)
    sine, cosine = half_size[0] / slant, 2 * half_size[1] / slant
    outside = cosine * length(point[::2]) - sine * (point[1] + half_size[1])
    return outside, point[1] - half_size[1], sine, cosine


def _cone_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    outside, below, sine, cosine = _cone_profile(point, half_size)
    radius, height = length(point[::2]), point[1] + half_size[1]
    # Distances to the mantle and to the base as the segments that they are in the plane through the axis.
    along = (
        (sine * radius + cosine * height).clamp(min=0).minimum(length(torch.stack([half_size[0], 2 * half_size[1]])))
    )
    mantle = length(torch.stack([radius - sine * along, height - cosine * along]))
    base = length(torch.stack([(radius - half_size[0]).clamp(min=0), below]))
    inside = torch.maximum(outside, below)
    return torch.where(inside < 0, inside, torch.minimum(mantle, base))


def _cone_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    outside, below, sine, cosine = _cone_profile(point, half_size)
    x, y, z = point
    on_base = below.abs() < outside.abs()
    radius = length(point[::2]).clamp(min=_TINY)
    zero = torch.zeros_like(x)
    base = torch.stack([zero, zero + 1, zero])
    mantle = torch.stack([cosine * x / radius, zero - sine, cosine * z / radius])
    around = torch.stack([torch.atan2(x, z) * half_size[0], y])
    return torch.where(on_base, base, mantle), torch.where(on_base, torch.stack([x, z]), around)


def _torus_distance(origin: Tensor, direction: Tensor, half_size: Tensor) -> Tensor:
    """Newton's method on the quartic of the ray, t^4 + p t^2 + q t + s (in outer radii from its middle point).

    The quartic falls from plus infinity, is convex outside of +-bend and concave between: a ray that enters the
    tube does so before -bend, where Newton's method from the left cannot overshoot, or after it, where it cannot
    when it starts at +bend. A slope that turns positive on the way says that there is no entry.
    """
    outer = half_size[0].clamp(min=_TINY)
    along = -(origin * direction).sum(0)
    x, y, z = (origin + along * direction) / outer
    tube = half_size[1] / outer
    ring = 1 - tube
    k = x.square() + y.square() + z.square() + ring.square() - tube.square()
    ring4 = 4 * ring.square()
    p = 2 * k - ring4 * (direction[0].square() + direction[2].square())
    q = -2 * ring4 * (x * direction[0] + z * direction[2])
    s = k.square() - ring4 * (x.square() + z.square())
    bend = (-p / 6).clamp(min=0).sqrt()
    t = torch.stack([-torch.ones_like(bend), bend])
    enters = torch.ones_like(t, dtype=torch.bool)
    for _ in range(_NEWTON_STEPS):
        slope = (4 * t.square() + 2 * p) * t + q
        enters = enters & (slope < 0)
        t = t - (((t.square() + p) * t + q) * t + s) / slope.clamp(max=-_TINY)
    found = (((t.square() + p) * t + q) * t + s).abs() < _QUARTIC_ROUNDING
    enters = enters & found & (t > torch.stack([-torch.ones_like(bend), -bend]))
    distance = along + t * outer
    free = _torus_signed_distance(origin, half_size) > 0
    return distance.where(enters & (distance > NEAREST_M) & free, torch.inf).amin(0)


def _torus_signed_distance(point: Tensor, half_size: Tensor) -> Tensor:
    from_ring = length(point[::2]) - (half_size[0] - half_size[1])
    return (from_ring.square() + point[1].square()).sqrt() - half_size[1]


def _torus_surface(point: Tensor, half_size: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = point
    from_axis = length(point[::2]).clamp(min=_TINY)
    from_ring = from_axis - (half_size[0] - half_size[1])
    normal = torch.stack([from_ring * x / from_axis, y, from_ring * z / from_axis])
    normal = normal / length(normal).clamp(min=_TINY)
    return normal, torch.stack([torch.atan2(x, z) * half_size[0], torch.atan2(y, from_ring) * half_size[1]])


SHAPES = {
    "room": Shape(_room_distance, _room_signed_distance, _room_surface),
    "box": Shape(_box_distance, _box_signed_distance, _box_surface),
    "sphere": Shape(_sphere_distance, _sphere_signed_distance, _sphere_surface),
    "cylinder": Shape(_cylinder_distance, _cylinder_signed_distance, _cylinder_surface),
    "cone": Shape(_cone_distance, _cone_signed_distance, _cone_surface),
    "torus": Shape(_torus_distance, _torus_signed_distance, _torus_surface),
}
"""Axes are along y. Round shapes read their outer radius from half_size[0]; half_size[2] repeats it.

A cone stands on its base at y = half_size[1] with its apex at y = -half_size[1]; the tube of a torus has the
radius half_size[1].
"""
