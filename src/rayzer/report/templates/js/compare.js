// The range input of a comparison moves the border between its two pictures.

for (const root of document.querySelectorAll("[data-compare]")) {
  const range = root.querySelector("input");
  const update = () => {
    const first = Math.round(range.value);
    root.style.setProperty("--split", `${range.value}%`);
    const { first: firstLabel, second: secondLabel } = root.dataset;
    range.setAttribute("aria-valuetext", `${first} % ${firstLabel}, ${100 - first} % ${secondLabel}`);
  };
  range.addEventListener("input", update);
  update();
}
