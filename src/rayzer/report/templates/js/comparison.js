// One view of one scene in every run, beside the truth.

class Pictures {
  constructor(root) {
    this.root = root;
    this.scenes = root.querySelector("[data-scene-select]");
    this.views = root.querySelector("[data-view-select]");
    this.scenes.addEventListener("change", () => this.showScene());
    this.views.addEventListener("change", () => this.showView());
    root.querySelector("[data-segments]").addEventListener("change", (event) =>
      root.querySelector("[data-renders]").classList.toggle("shows-errors", event.target.value === "error"),
    );
    root.querySelector(".stepper").addEventListener("click", (event) =>
      this.step({ next: 1, previous: -1 }[event.target.closest("[data-action]")?.dataset.action]),
    );
    this.showScene();
  }

  step(by) {
    if (!by) return;
    const count = this.scenes.options.length;
    this.scenes.selectedIndex = (this.scenes.selectedIndex + by + count) % count;
    this.showScene();
  }

  showScene() {
    this.scene = JSON.parse(document.getElementById(`scene-${this.scenes.value}`).textContent);
    this.views.replaceChildren(...this.scene.views.map((view, index) => new Option(view.name, index)));
    this.views.disabled = !this.scene.views.length;
    this.showView();
  }

  showView() {
    const view = this.scene.views[this.views.selectedIndex] ?? { name: "", truth: null, renders: [] };
    this.fill(this.root.querySelector("[data-truth] img"), view.truth);
    this.root.querySelectorAll("[data-render]").forEach((item, index) => {
      const render = view.renders[index] ?? { picture: null, scores: "no view in common" };
      const [truth, picture] = item.querySelectorAll("img");
      this.fill(truth, view.truth);
      this.fill(picture, render.picture);
      item.querySelector("[data-scores]").textContent = render.picture ? render.scores : `${render.scores}, no picture`;
    });
    this.root.querySelector("[data-status]").textContent = `${this.scene.name}, ${view.name}`;
  }

  fill(image, url) {
    [image.width, image.height] = this.scene.size;
    image.hidden = !url;
    if (url) image.src = url;
    else image.removeAttribute("src");
  }
}

const pictures = document.querySelector("[data-pictures]");
if (pictures) new Pictures(pictures);
