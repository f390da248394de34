// A perspective camera that turns around a point: view coordinates are x right, y up, z towards the eye.

const MARGIN = { side: 20, top: 56, bottom: 16 }; // pixels; buttons lie along the top
const middleY = (height) => (height + MARGIN.top - MARGIN.bottom) / 2;

class Orbit {
  constructor(axes) {
    this.axes = axes;
    this.reset();
  }

  reset() {
    this.yaw = -0.5;
    this.pitch = 0.42;
    this.zoom = 1;
    this.target = [0, 0, 0];
    this.distance = 4;
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = clamp(this.pitch + pitch, -1.5, 1.5);
  }

  zoomBy(factor) {
    this.zoom = clamp(this.zoom * factor, 0.3, 8);
  }

  basis() {
    const { up, forward } = this.axes;
    const level = add(scaled(forward, -Math.cos(this.yaw)), scaled(cross(forward, up), Math.sin(this.yaw)));
    const back = add(scaled(level, Math.cos(this.pitch)), scaled(up, Math.sin(this.pitch)));
    const right = unit(cross(up, back));
    return { right, up: cross(back, right), back };
  }

  // Look at the middle of `points` from as near as keeps them all in a picture of `width` x `height`.
  fit(points, width, height) {
    const { right, up } = this.basis();
    for (let round = 0; round < 4; round += 1) {
      this.distance = this.distanceFor(points, width, height);
      const seen = points.map(this.projector(width, height));
      const [x, y] = [seen.map((point) => point.x), seen.map((point) => point.y)].map(
        (values) => (Math.min(...values) + Math.max(...values)) / 2,
      );
      const size = this.distance / this.focal(width, height); // of one pixel at the target
      this.target = sum([this.target, scaled(right, (x - width / 2) * size), scaled(up, (middleY(height) - y) * size)]);
    }
    this.distance = this.distanceFor(points, width, height);
  }

  // How far the eye must be from the target to see all points.
  distanceFor(points, width, height) {
    const { right, up, back } = this.basis();
    const halves = [width / 2 - MARGIN.side, middleY(height) - MARGIN.top];
    const [mx, my] = halves.map((half) => this.focal(width, height) / Math.max(half, 1));
    const needed = points.map((point) => {
      const q = subtract(point, this.target);
      return dot(q, back) + Math.max(Math.abs(dot(q, right)) * mx, Math.abs(dot(q, up)) * my);
    });
    return Math.max(...needed, 0.1);
  }

  focal(width, height) {
    return 1.3 * Math.min(width, height);
  }

  // A function from a point of the scene to { x, y, depth } on the picture, depth <= 0 behind the eye.
  projector(width, height) {
    const { right, up, back } = this.basis();
    const focal = this.focal(width, height);
    return (point) => {
      const q = subtract(point, this.target);
      const depth = this.distance / this.zoom - dot(q, back);
      const ratio = focal / Math.max(depth, 1e-3);
      return { x: width / 2 + ratio * dot(q, right), y: middleY(height) - ratio * dot(q, up), depth };
    };
  }
}
