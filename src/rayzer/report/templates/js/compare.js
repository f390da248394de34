// The range input of a comparison moves the border between its two pictures; segments choose the first of them.

class Comparison {
  constructor(root) {
    this.root = root;
    this.range = root.querySelector("input");
    this.second = root.querySelector(".compare-pictures > img");
    this.layer = root.querySelector(".compare-first");
    this.first = this.layer.querySelector("img");
    this.choices = JSON.parse(root.dataset.choices ?? "[]");
    this.range.addEventListener("input", () => this.update());
    this.update();
  }

  update() {
    const first = Math.round(this.range.value);
    const { first: firstLabel, second: secondLabel } = this.root.dataset;
    this.root.style.setProperty("--split", `${this.range.value}%`);
    this.range.setAttribute("aria-valuetext", `${first} % ${firstLabel}, ${100 - first} % ${secondLabel}`);
  }

  // Other pictures: `second` is a URL, `choices` what may lie beside it.
  show(name, size, second, choices) {
    this.root.dataset.name = name;
    [this.first.width, this.first.height] = [this.second.width, this.second.height] = size;
    this.second.src = second;
    this.second.alt = `${this.root.dataset.second}: ${name}`;
    this.choices = choices;
  }

  // The first of `choices` where that of this number is missing.
  choose(number) {
    const choice = this.choices[number] ?? this.choices.find(Boolean);
    if (!choice) return;
    const { name, second } = this.root.dataset;
    this.root.dataset.first = choice.label;
    this.first.src = choice.picture;
    this.first.alt = `${choice.label}: ${name}`;
    this.layer.classList.toggle("shows-error", Boolean(choice.error));
    this.layer.replaceChildren(this.first, ...(choice.error ? [this.second.cloneNode()] : []));
    this.root.querySelector(".compare-label").textContent = choice.label;
    this.range.setAttribute("aria-label", `${choice.label} against ${second.toLowerCase()}: ${name}`);
    this.update();
  }
}

const comparisons = new Map([...document.querySelectorAll("[data-compare]")].map((root) => [root, new Comparison(root)]));

for (const segments of document.querySelectorAll("[data-segments]")) {
  segments.addEventListener("change", (event) => {
    for (const root of segments.closest("section").querySelectorAll("[data-choices]"))
      comparisons.get(root).choose(Number(event.target.value));
  });
}
