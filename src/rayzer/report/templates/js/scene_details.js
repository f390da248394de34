// Shows one scene: its scores, a comparison of one of its views, its cameras, its fly-through, its input photos.

class SceneDetails {
  constructor(root) {
    this.root = root;
    this.title = root.querySelector("h2");
    const compare = root.querySelector("[data-compare]");
    this.comparison = compare && comparisons.get(compare);
    this.video = root.querySelector("video");
  }

  show(number, position) {
    const scene = JSON.parse(document.getElementById(`scene-${number}`).textContent);
    this.root.hidden = false;
    this.part("[data-position]").textContent = position;
    this.part("h2 [data-name]").textContent = scene.name;
    this.part("[data-figures]").replaceChildren(...scene.figures.map((figure) => this.figure(figure)));
    this.showViews(scene);
    this.showContext(scene);
    this.showPlot(scene);
    this.showVideo(scene);
    const cameras = this.part('[data-part="cameras"]');
    if (cameras) cameras.hidden = !scene.plot && !scene.video;
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  figure([label, text]) {
    const figure = this.part("[data-figure-template]").content.firstElementChild.cloneNode(true);
    figure.querySelector("dt").textContent = label;
    figure.querySelector("dd").textContent = text;
    return figure;
  }

  // A button with a picture (or without, where it is missing) and a line under it.
  tile({ name, picture, caption }, [width, height]) {
    const item = this.part("[data-view-template]").content.firstElementChild.cloneNode(true);
    const image = item.querySelector("img");
    if (picture) Object.assign(image, { src: picture, alt: name, width, height });
    else image.remove();
    item.querySelector("span").textContent = caption;
    item.querySelector("button").title = name;
    return item;
  }

  showViews(scene) {
    const tiles = scene.views.map((view) =>
      this.tile({ name: view.name, picture: view.render ?? view.choices[0]?.picture, caption: view.psnr }, scene.size),
    );
    this.part("[data-views]").replaceChildren(...tiles);
    const buttons = tiles.map((tile) => tile.querySelector("button"));
    const choose = (chosen) => {
      buttons.forEach((button, index) => button.setAttribute("aria-pressed", index === chosen));
      this.showView(scene, scene.views[chosen]);
    };
    buttons.forEach((button, index) => button.addEventListener("click", () => choose(index)));
    if (tiles.length) choose(0);
  }

  showView(scene, view) {
    this.part("[data-view-name]").textContent = view.name;
    this.part("[data-view-scores]").textContent = view.scores;
    if (!this.comparison) return;
    const canCompare = Boolean(view.render) && view.choices.some(Boolean);
    this.part("[data-comparison]").hidden = !canCompare;
    if (!canCompare) return;
    this.comparison.show(view.name, scene.size, view.render, view.choices);
    this.comparison.choose(Number(this.part("[data-segments] :checked").value));
  }

  // An input photo points out its camera in the plot.
  showContext(scene) {
    const tiles = scene.context.map(({ name, camera, picture }) => {
      const tile = this.tile({ name, picture, caption: name }, scene.size);
      const button = tile.querySelector("button");
      button.removeAttribute("aria-pressed");
      if (camera === null) button.disabled = true;
      else button.dataset.selectCamera = camera;
      return tile;
    });
    this.part('[data-part="context"]').hidden = !tiles.length;
    this.part("[data-context]").replaceChildren(...tiles);
  }

  showPlot(scene) {
    const part = this.part("[data-plot-part]");
    if (!part) return;
    part.hidden = !scene.plot;
    if (!scene.plot) return;
    const source = scene.given ? "As given with the photos." : "As predicted from the photos.";
    const aligned = "The true ones were moved, turned and scaled as a whole to lie on them as well as possible.";
    this.part("[data-plot-note]").textContent = scene.aligned && !scene.given ? `${source} ${aligned}` : source;
    cameraPlots[0].show(scene.plot);
  }

  showVideo(scene) {
    const part = this.part("[data-video-part]");
    if (!part) return;
    part.hidden = !scene.video;
    if (scene.video) {
      this.video.poster = scene.video.poster ?? "";
      this.video.src = scene.video.video;
    } else {
      this.video.removeAttribute("src");
    }
  }
}
