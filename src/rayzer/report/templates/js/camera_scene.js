// Cameras of any scale, put into a unit ball around the origin, with frusta of a size that can be seen.

function buildScene(data) {
  const poses = [...data.cameras.map((camera) => camera.pose), ...data.path];
  const place = placement(poses.map((pose) => column(pose, 3)));
  const size = frustumSize(data.cameras.map((camera) => place(column(camera.pose, 3))));
  const frustumOf = (pose, intrinsics) => frustum(pose, intrinsics, place, size);
  const lens = data.cameras.length ? data.cameras[0].intrinsics : [1, 1, 0.5, 0.5];
  return {
    size,
    axes: sceneAxes(poses),
    cameras: data.cameras.map((camera) => ({ ...camera, ...frustumOf(camera.pose, camera.intrinsics) })),
    path: data.path.map((pose) => frustumOf(pose, lens)),
  };
}

const pointsOf = (cameras) => cameras.flatMap(({ center, corners }) => [center, ...corners]);
const middleOf = (camera) => scaled(sum(camera.corners), 0.25);

// A function that moves the box around the centres to the origin and its farthest centre to distance 1.
function placement(centers) {
  const range = [0, 1, 2].map((axis) => {
    const values = centers.map((center) => center[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const middle = range.map(([low, high]) => low / 2 + high / 2);
  const radius = Math.max(...centers.map((center) => norm(subtract(center, middle))));
  const magnitude = Math.max(...range.flat().map(Math.abs));
  const factor = radius > 1e-9 * magnitude ? 1 / radius : 0; // nothing but rounding: all cameras in one point
  return (point) => scaled(subtract(point, middle), factor);
}

// A little more than the usual distance between neighbours, within limits.
function frustumSize(centers) {
  const nearest = centers.map((a) =>
    Math.min(...centers.filter((b) => b !== a).map((b) => norm(subtract(a, b)))),
  );
  const median = nearest.sort((a, b) => a - b)[nearest.length >> 1];
  return clamp(1.3 * median, 0.16, 0.42);
}

// The camera's centre and the four corners of its picture: top left, top right, bottom right, bottom left.
function frustum(pose, [fx, fy, cx, cy], place, size) {
  const center = place(column(pose, 3));
  const directions = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([u, v]) => [(u - cx) / fx, (v - cy) / fy, 1]);
  const reach = size / Math.max(...directions.map(norm));
  const corners = directions.map((direction) =>
    add(center, sum(direction.map((value, axis) => scaled(column(pose, axis), value * reach)))),
  );
  return { center, corners };
}

// Mean up and mean forward direction of the cameras (forward is level), or some directions if they cancel out.
function sceneAxes(poses) {
  const meanAxis = (k) => scaled(sum(poses.map((pose) => unit(column(pose, k)))), 1 / (poses.length || 1));
  const down = meanAxis(1);
  const up = norm(down) > 0.1 ? unit(scaled(down, -1)) : [0, -1, 0];
  const level = [meanAxis(2), [0, 0, 1], [1, 0, 0]].map((direction) => across(direction, up));
  return { up, forward: unit(level.find((direction) => norm(direction) > 0.1)) };
}
