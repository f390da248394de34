// The interactive plot: listens to pointer, wheel, keys, buttons and the video, and has the scene painted.

class CameraPlot {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.card = root.querySelector("[data-card]");
    this.status = root.querySelector("[data-status]");
    this.pointers = new Map();
    this.load(JSON.parse(root.querySelector("script").textContent));
    this.listen();
  }

  // Take other cameras, seen from where the plot starts.
  show(data) {
    this.load(data);
    this.select(null);
    this.resized();
  }

  load(data) {
    this.scene = buildScene(data);
    this.orbit = new Orbit(this.scene.axes);
    this.painter = new CameraPainter(this.canvas, this.scene);
    this.selected = this.hovered = null;
    this.frame = 0;
    this.untouched = true;
    this.canvas.setAttribute("aria-label", `3D plot of ${this.scene.cameras.length} cameras`);
    this.loadLegend();
    this.loadPictures();
  }

  // Only what is there can be switched off.
  loadLegend() {
    const present = new Set(["pictures", ...this.scene.cameras.map((camera) => camera.kind)]);
    if (this.scene.path.length) present.add("path");
    const boxes = [...this.root.querySelectorAll("input")];
    for (const box of boxes) box.closest("label").hidden = !present.has(box.value);
    this.shown = new Set(boxes.filter((box) => box.checked && present.has(box.value)).map((box) => box.value));
  }

  loadPictures() {
    for (const camera of this.scene.cameras.filter((camera) => camera.picture)) {
      camera.image = new Image();
      camera.image.addEventListener("load", () => this.requestDraw());
      camera.image.src = camera.picture;
    }
  }

  // ---- Listening

  listen() {
    const on = (type, handler, options) => this.canvas.addEventListener(type, handler.bind(this), options);
    on("pointerdown", this.pressed);
    on("pointermove", this.moved);
    for (const type of ["pointerup", "pointercancel"]) on(type, this.released);
    on("pointerleave", () => this.hover(null));
    on("wheel", this.wheeled, { passive: false });
    on("keydown", this.keyed);
    this.root.addEventListener("change", (event) => this.toggle(event.target));
    this.root.addEventListener("click", (event) => this.act(event.target.closest("[data-action]")?.dataset.action));
    document.addEventListener("rayzer:select-camera", (event) => this.present(event.detail));
    document.addEventListener("rayzer:fly-through", (event) => this.follow(event.detail));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.requestDraw());
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  pressed(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.canvas.setPointerCapture(event.pointerId);
    this.travel = 0;
  }

  // One pointer turns; two turn by their mean movement and zoom by their distance.
  moved(event) {
    const now = [event.offsetX, event.offsetY];
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.hover(this.pick(now));
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    if (others.length) {
      const apart = (point) => Math.hypot(point[0] - others[0][0], point[1] - others[0][1]) || 1;
      this.orbit.zoomBy(apart(now) / apart(before));
    }
    this.pointers.set(event.pointerId, now);
    this.travel += Math.hypot(dx, dy);
    const speed = 0.008 / this.pointers.size;
    return this.turn(-dx * speed, dy * speed);
  }

  released(event) {
    const clicked = event.type === "pointerup" && this.pointers.has(event.pointerId) && this.travel < 5;
    this.pointers.delete(event.pointerId);
    if (clicked) this.select(this.pick([event.offsetX, event.offsetY]));
  }

  // The page scrolls on unless the plot has the focus or this is a pinch on a touch pad.
  wheeled(event) {
    if (document.activeElement !== this.canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)));
  }

  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 0.12;
    const action = {
      ArrowLeft: () => this.turn(step, 0),
      ArrowRight: () => this.turn(-step, 0),
      ArrowUp: () => this.turn(0, -step),
      ArrowDown: () => this.turn(0, step),
      "+": () => this.act("in"),
      "=": () => this.act("in"),
      "-": () => this.act("out"),
      Home: () => this.act("reset"),
      Escape: () => this.select(null),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  act(name) {
    const actions = {
      in: () => this.zoom(1.25),
      out: () => this.zoom(0.8),
      reset: () => this.reset(),
      next: () => this.step(1),
      previous: () => this.step(-1),
    };
    actions[name]?.();
  }

  toggle(input) {
    if (input.checked) this.shown.add(input.value);
    else this.shown.delete(input.value);
    this.requestDraw();
  }

  // ---- Changing what is seen

  turn(yaw, pitch) {
    this.untouched = false;
    this.orbit.turn(yaw, pitch);
    this.requestDraw();
  }

  zoom(factor) {
    this.untouched = false;
    this.orbit.zoomBy(factor);
    this.requestDraw();
  }

  reset() {
    this.orbit.reset();
    this.untouched = true;
    this.selected = null;
    this.resized();
  }

  hover(camera) {
    if (camera === this.hovered) return;
    this.hovered = camera;
    this.requestDraw();
  }

  select(camera) {
    this.selected = camera;
    this.status.textContent = camera ? `${camera.name}, ${describe(camera)}` : "";
    this.requestDraw();
  }

  step(by) {
    const cameras = this.visibleCameras();
    if (!cameras.length) return;
    const at = cameras.indexOf(this.selected);
    const next = at < 0 ? (by > 0 ? 0 : cameras.length - 1) : (at + by + cameras.length) % cameras.length;
    this.select(cameras[next]);
  }

  present(index) {
    const camera = this.scene.cameras[index];
    if (!camera) return;
    this.shown.add(camera.kind);
    this.root.querySelector(`input[value="${camera.kind}"]`).checked = true;
    this.select(camera);
    this.root.scrollIntoView({ block: "center" });
    this.canvas.focus({ preventScroll: true });
  }

  follow(fraction) {
    if (!this.scene.path.length) return;
    const frame = clamp(Math.floor(fraction * this.scene.path.length), 0, this.scene.path.length - 1);
    if (frame === this.frame) return;
    this.frame = frame;
    this.requestDraw();
  }

  resized() {
    this.painter.resize();
    const { width, height } = this.painter;
    const points = pointsOf([...this.scene.cameras, ...this.scene.path]);
    if (this.untouched && points.length) this.orbit.fit(points, width, height);
    this.draw();
  }

  visibleCameras() {
    return this.scene.cameras.filter((camera) => this.shown.has(camera.kind));
  }

  // The nearest camera whose picture or centre lies under a point of the canvas.
  pick([x, y]) {
    const project = this.orbit.projector(this.painter.width, this.painter.height);
    const hit = (camera) => {
      const center = project(camera.center);
      const near = Math.hypot(center.x - x, center.y - y) < 9;
      return center.depth > 0 && (near || insideQuad(camera.corners.map(project), x, y));
    };
    const hits = this.visibleCameras().filter(hit);
    const depth = (camera) => project(camera.corners[0]).depth;
    return hits.sort((a, b) => depth(a) - depth(b))[0] ?? null;
  }

  // ---- Showing it

  requestDraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.pending = null;
    if (!this.painter.width) return;
    const active = this.hovered ?? this.selected;
    const shown = active && this.shown.has(active.kind) ? active : null;
    this.painter.paint(this.orbit, { shown: this.shown, active: shown, frame: this.frame });
    this.showCard(shown);
  }

  // Name and picture of one camera, beside it and inside the plot.
  showCard(camera) {
    this.card.hidden = !camera;
    if (!camera) return;
    if (this.card.camera !== camera) this.fillCard(camera);
    const { width, height } = this.painter;
    const { x, y } = this.orbit.projector(width, height)(middleOf(camera));
    const { offsetWidth, offsetHeight } = this.card;
    const beside = x + 28 + offsetWidth < width ? x + 28 : x - 28 - offsetWidth;
    const left = clamp(beside, 8, width - offsetWidth - 8);
    const top = clamp(y - offsetHeight / 2, 8, height - offsetHeight - 8);
    this.card.style.transform = `translate(${left}px, ${top}px)`;
  }

  fillCard(camera) {
    const image = this.card.querySelector("img");
    image.hidden = !camera.picture;
    if (camera.picture) image.src = camera.picture;
    this.card.querySelector("[data-name]").textContent = camera.name;
    this.card.querySelector("[data-role]").textContent = describe(camera);
    this.card.camera = camera;
  }
}

const describe = (camera) => [camera.role, camera.note].filter(Boolean).join(", ");

// Whether a point lies in a convex quadrilateral: on the same side of all its edges.
function insideQuad(quad, x, y) {
  const sides = quad.map((p, i) => {
    const q = quad[(i + 1) % 4];
    return (q.x - p.x) * (y - p.y) - (q.y - p.y) * (x - p.x);
  });
  return quad.every((point) => point.depth > 0) && (Math.min(...sides) > 0 || Math.max(...sides) < 0);
}

const cameraPlots = [...document.querySelectorAll("[data-camera-plot]")].map((root) => new CameraPlot(root));
