// Draws a scene of cameras on a canvas. Colours are the CSS variables named like the kinds of cameras.

class CameraPainter {
  constructor(canvas, scene) {
    this.canvas = canvas;
    this.scene = scene;
    this.context = canvas.getContext("2d");
  }

  // One canvas pixel for each pixel of the screen; drawing is in CSS pixels.
  resize() {
    const ratio = window.devicePixelRatio || 1;
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.scale(ratio, ratio);
  }

  // `shown`: a set of kinds and "pictures"; `active`: the camera to point out; `frame`: where on the path.
  paint(orbit, { shown, active, frame }) {
    this.shown = shown;
    this.style = getComputedStyle(this.canvas);
    this.project = orbit.projector(this.width, this.height);
    this.context.clearRect(0, 0, this.width, this.height);
    this.drawGround();
    if (shown.has("path")) this.drawPath();
    const depth = (camera) => this.project(camera.center).depth;
    const others = this.scene.cameras.filter((camera) => shown.has(camera.kind) && camera !== active);
    for (const camera of others.sort((a, b) => depth(b) - depth(a))) this.drawCamera(camera, false);
    if (shown.has("path")) this.drawMarker(this.scene.path[frame]);
    if (active) this.drawCamera(active, true);
  }

  colour(name) {
    return this.style.getPropertyValue(`--${name}`);
  }

  // A line through points of the scene; parts behind the eye are left out.
  line(points) {
    let previous = null;
    for (const point of points.map(this.project)) {
      if (point.depth > 0.02 && previous) this.context.lineTo(point.x, point.y);
      else if (point.depth > 0.02) this.context.moveTo(point.x, point.y);
      previous = point.depth > 0.02 ? point : null;
    }
  }

  // A square net under the lowest camera, so that the eye sees which way is up.
  drawGround() {
    const { up, forward } = this.scene.axes;
    const right = cross(forward, up);
    const heights = pointsOf(this.scene.cameras).map((point) => dot(point, up));
    const floor = scaled(up, Math.min(...heights, 0) - 0.05);
    const at = (a, b) => add(floor, add(scaled(right, a), scaled(forward, b)));
    this.context.beginPath();
    for (let k = -6; k <= 6; k += 1) {
      this.line([at(k / 4, -1.5), at(k / 4, 1.5)]);
      this.line([at(-1.5, k / 4), at(1.5, k / 4)]);
    }
    this.stroke("line", 1);
  }

  drawPath() {
    this.context.beginPath();
    this.line(this.scene.path.map(({ center }) => center));
    this.stroke("path", 2);
  }

  drawMarker({ center, corners }) {
    this.context.beginPath();
    this.line([...corners, corners[0]]);
    this.context.globalAlpha = 0.35;
    this.context.fillStyle = this.colour("path");
    this.context.fill();
    this.context.globalAlpha = 1;
    for (const corner of corners) this.line([center, corner]);
    this.stroke("path", 2);
  }

  drawCamera(camera, active) {
    const sides = () => this.drawSides(camera, active);
    const picture = () => this.drawPicture(camera, active);
    const seenFromBehind = this.project(camera.center).depth < this.project(middleOf(camera)).depth;
    this.context.setLineDash(camera.kind === "true" ? [4, 3] : []);
    for (const draw of seenFromBehind ? [picture, sides] : [sides, picture]) draw();
    this.context.setLineDash([]);
  }

  drawSides({ kind, center, corners }, active) {
    this.context.beginPath();
    for (const corner of corners) this.line([center, corner]);
    this.context.globalAlpha = active ? 1 : 0.55;
    this.stroke(kind, active ? 2 : 1);
    this.context.globalAlpha = 1;
  }

  drawPicture({ kind, image, corners }, active) {
    const inFront = corners.every((corner) => this.project(corner).depth > 0.05);
    if (inFront && image?.naturalWidth && this.shown.has("pictures")) this.drawImage(image, corners);
    this.context.beginPath();
    this.line([...corners, corners[0]]);
    this.stroke(kind, active ? 3 : 1.5);
  }

  // A canvas draws parallelograms only: a picture that perspective bends is drawn as several.
  drawImage(image, [topLeft, topRight, bottomRight, bottomLeft]) {
    const [a, b, c, d] = [topLeft, topRight, bottomRight, bottomLeft].map(this.project);
    const bend = Math.hypot(a.x + c.x - b.x - d.x, a.y + c.y - b.y - d.y);
    const tiles = clamp(Math.ceil(bend / 2), 1, 10);
    const [toRight, toBottom] = [subtract(topRight, topLeft), subtract(bottomLeft, topLeft)];
    const at = (u, v) => this.project(add(topLeft, add(scaled(toRight, u / tiles), scaled(toBottom, v / tiles))));
    const [width, height] = [image.naturalWidth / tiles, image.naturalHeight / tiles];
    for (let v = 0; v < tiles; v += 1) {
      for (let u = 0; u < tiles; u += 1) {
        const source = [u * width, v * height, width, height];
        this.drawTile(image, source, at(u, v), at(u + 1, v), at(u, v + 1), tiles > 1 ? 0.02 : 0);
      }
    }
  }

  // One part of a picture, `overlap` wider than its place so that no seam shows.
  drawTile(image, source, origin, right, below, overlap) {
    this.context.save();
    this.context.transform(
      right.x - origin.x, right.y - origin.y, below.x - origin.x, below.y - origin.y, origin.x, origin.y,
    );
    this.context.drawImage(image, ...source, 0, 0, 1 + overlap, 1 + overlap);
    this.context.restore();
  }

  stroke(colour, width) {
    this.context.strokeStyle = this.colour(colour);
    this.context.lineWidth = width;
    this.context.lineJoin = this.context.lineCap = "round";
    this.context.stroke();
  }
}
