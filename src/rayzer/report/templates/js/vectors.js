// Vectors are arrays [x, y, z]; poses are rows of 4x4 `world_from_camera`, OpenCV axes.
const add = (a, b) => a.map((value, i) => value + b[i]);
const subtract = (a, b) => a.map((value, i) => value - b[i]);
const scaled = (a, factor) => a.map((value) => value * factor);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const norm = (a) => Math.hypot(...a);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => scaled(a, 1 / (norm(a) || 1));
const column = (pose, k) => [pose[0][k], pose[1][k], pose[2][k]];
const sum = (vectors) => vectors.reduce(add, [0, 0, 0]);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// `a` without its part along the unit vector `axis`.
const across = (a, axis) => subtract(a, scaled(axis, dot(a, axis)));
