// A photo of the contact sheet points out its camera in the plot.

for (const button of document.querySelectorAll("[data-select-camera]")) {
  const detail = Number(button.dataset.selectCamera);
  button.addEventListener("click", () =>
    document.dispatchEvent(new CustomEvent("rayzer:select-camera", { detail })),
  );
}
